"""A picture of any size through the network, tile by tile, so that activations take no more memory than one tile's.

The local layers see no farther than `halo` pixels, so that a tile's inside is that of the whole picture:

    first, last  of an output's rows  ->  first s - 1, (last - 1) s + 2        conv3x3 with stride s              (1)
                                          floor((first - 1)/2), floor(last/2) + 1    upsample2x_conv3x3           (2)

followed from the chroma back to the luminance. Corners lie on multiples of `STEP` pixels, so that the kernels cut the
whole picture and its tiles into the same blocks.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ltbc.kernels import color
from ltbc.nn.architecture import Settings, layers

STEP = 64  # pixels: 8 rows of the smallest feature map, two of Winograd's largest blocks
LOCAL_PARTS = ("low", "mid", "fusion", "color")

Forward = Callable[[np.ndarray], np.ndarray]
Read = Callable[[slice, slice], np.ndarray]


class Cut(NamedTuple):
    """A piece of one axis: `keep` of the picture is taken from what is seen of it, `see`."""

    keep: slice
    see: slice


def halo(settings: Settings) -> int:
    """How many pixels to each side of a part of the picture its chroma depends on, by (1) and (2)."""
    rows = 1 << 16
    first, last = 0, rows // 2
    table = layers(settings)
    for spec in reversed([spec for part in LOCAL_PARTS for spec in table[part]]):
        if spec.op == "conv3x3":
            first, last = first * spec.stride - 1, (last - 1) * spec.stride + 2
        elif spec.op == "upsample2x_conv3x3":
            first, last = (first - 1) // 2, last // 2 + 1
    return max(-first, last - rows)


def cut(size: int, side: int, margin: int) -> list[Cut]:
    """An axis of `size` pixels in pieces of which none sees more than `side`: as few and as even as can be."""
    if size <= side:
        return [Cut(slice(0, size), slice(0, size))]
    room = (side - 2 * margin) // STEP * STEP
    if room < STEP:
        raise ValueError(f"tiles: a tile must see at least {STEP + 2 * margin} pixels, got {side}")
    step = -(-size // (-(-size // room) * STEP)) * STEP
    starts = range(0, size, step)
    return [
        Cut(slice(a, min(a + step, size)), slice(max(a - margin, 0), min(a + step + margin, size))) for a in starts
    ]


def margin_of(settings: Settings) -> int:
    """The halo in whole steps."""
    return -(-halo(settings) // STEP) * STEP


def smallest_side(settings: Settings) -> int:
    """The least side of what the network sees of a picture in tiles."""
    return STEP + 2 * margin_of(settings)


def colorize(settings: Settings, forward: Forward, read: Read, height: int, width: int, side: int) -> np.ndarray:
    """Chroma `[height/2, width/2, C]`, float32, of a picture whose sides are multiples of 8.

    forward: luminance `[1, h, w, 1]` -> chroma `[1, h/2, w/2, C]`. read(rows, columns): that part of the luminance,
    `[h, w]`. side: pixels that the network sees at once; ValueError where that is less than `smallest_side`.
    """
    margin = margin_of(settings)
    chroma = np.empty((height // 2, width // 2, color.CHANNELS[settings.color_space]), np.float32)
    for rows in cut(height, side, margin):
        for columns in cut(width, side, margin):
            part = forward(read(rows.see, columns.see)[None, ..., None])[0]
            inside = tuple(half(c.keep, c.see.start) for c in (rows, columns))
            chroma[half(rows.keep), half(columns.keep)] = part[inside]
    return chroma


def half(pixels: slice, origin: int = 0) -> slice:
    """The chroma samples of these pixels, counted from a tile's origin."""
    return slice((pixels.start - origin) // 2, (pixels.stop - origin) // 2)


def bytes_per_pixel(settings: Settings, itemsize: int) -> float:
    """What the local layers' input and outputs take for each pixel that the network sees."""
    shape: tuple[int, ...] = (STEP, STEP, 1)
    table, elements = layers(settings), STEP * STEP
    for spec in (spec for part in LOCAL_PARTS for spec in table[part]):
        height, width, _ = shape
        shape = spec.output_shape(shape) if "conv3x3" in spec.op else (height, width, spec.filters)
        elements += math.prod(shape)
    return elements * itemsize / STEP**2
