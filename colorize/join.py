"""Luminance and chroma become pixels again: chroma to full size, colors into the gamut, codes.

A color that sRGB cannot show at its luminance is pulled towards grey, in linear light, where luminance is linear:

    rgb = Y + t (rgb - Y),  the largest t <= 1 that keeps each channel in [0, 1]

so that Y stays as it is, and with it the grey code of each saved pixel, up to the rounding of its three codes. Row
bands are worked on a few at a time; what is held at full size is the luminance and the result.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ltbc.colorize.luminance import Y_OF_RGB, bands, lightness
from ltbc.kernels import color
from ltbc.kernels.color.reference import lab_to_linear, linear_to_rgb, rgb_to_linear
from ltbc.kernels.cpu.cores import cores

THREADS = 8  # at most: each holds some 20 MB while it works
# of grey codes, in `guided`: better than bilinear in each figure of colorize/experiments/upsampling.py, as 0.2 is not
SPREAD = 0.3
TINY = 1e-300
UNTOUCHED = 0.999  # a color that keeps this share of its distance from grey does not count as forced


class Chroma(NamedTuple):
    """What the network predicts, and the part of it that the picture covers.

    values: `[h, w, C]`, in [0, 1]; extent: height and width of the picture in these samples (h and w may be larger,
    by the padding to multiples of 8); space: the color space. guide: `[h, w]`, the picture's grey codes at the samples.
    """

    values: np.ndarray
    extent: tuple[float, float]
    space: str
    guide: np.ndarray | None = None


Upsample = Callable[[Chroma, np.ndarray, slice, int], np.ndarray]


def join(
    luminance: np.ndarray, chroma: Chroma, dtype: np.dtype, white: float, upsample: Upsample | None = None
) -> tuple[np.ndarray, int]:
    """(pixels `[H, W, 3]` of that dtype, codes 0..white; how many of them the gamut forced towards grey).

    luminance: `[H, W]`, grey codes in [0, 1]. upsample(chroma, luminance, rows, width) gives the chroma of a band of
    rows at full size, `[rows, W, C]`; by default `guided`, or `bilinear` where the chroma has no guide.
    """
    height, width = luminance.shape
    pixels = np.empty((height, width, 3), dtype)
    upsample = upsample or (bilinear if chroma.guide is None else guided)

    def band(rows: slice) -> int:
        grey = luminance[rows].astype(np.float64)
        full = upsample(chroma, luminance, rows, width)
        linear, forced = into_gamut(rgb_to_linear(grey), to_linear(grey, full, chroma.space))
        codes = linear_to_rgb(linear) * white
        pixels[rows] = codes if dtype.kind == "f" else np.rint(codes)
        return forced

    with ThreadPoolExecutor(min(THREADS, cores())) as pool:
        return pixels, sum(pool.map(band, bands(height, width)))


def bilinear(chroma: Chroma, luminance: np.ndarray, rows: slice, width: int) -> np.ndarray:
    """Rows of the chroma at full size, between the centers of its samples."""
    above, below, part = neighbours(np.arange(rows.start, rows.stop), len(luminance), chroma.extent[0])
    upper, lower = (chroma.values[at].astype(np.float64) for at in (above, below))
    band = upper + part[:, None, None] * (lower - upper)
    left, right, part = neighbours(np.arange(width), width, chroma.extent[1])
    return band[:, left] + part[:, None] * (band[:, right] - band[:, left])


def guided(chroma: Chroma, luminance: np.ndarray, rows: slice, width: int) -> np.ndarray:
    """Rows of the chroma at full size, its samples weighted by how near they are in place and in luminance:

        weight = bilinear weight * exp(-(grey - guide)^2 / (2 SPREAD^2)),  divided by the sum over the four samples

    so that color does not bleed over edges: joint bilateral upsampling (Kopf et al., SIGGRAPH 2007).
    """
    if chroma.guide is None:
        raise ValueError("colorize: guided upsampling needs the grey codes at the chroma's samples")
    above, below, down = neighbours(np.arange(rows.start, rows.stop), len(luminance), chroma.extent[0])
    left, right, across = (x.astype(np.float32) if x.dtype.kind == "f" else x
                           for x in neighbours(np.arange(width), width, chroma.extent[1]))
    grey, down = luminance[rows], down.astype(np.float32)[:, None]
    total = np.zeros((*grey.shape, chroma.values.shape[2]), np.float32)
    sum_of_weights = np.zeros_like(grey)
    for i, vertical in ((above, 1 - down), (below, down)):
        guide, values = chroma.guide[i], chroma.values[i]
        for j, horizontal in ((left, 1 - across), (right, across)):
            away = (grey - guide[:, j]) / SPREAD
            weight = vertical * horizontal * np.exp(-0.5 * away * away)
            total += weight[..., None] * values[:, j]
            sum_of_weights += weight
    return total / sum_of_weights[..., None]


def halved(codes: np.ndarray) -> np.ndarray:
    """Means over 2 x 2 pixels of grey codes `[H, W]`, `[ceil(H/2), ceil(W/2)]`: the guide of a network's chroma."""
    height, width = codes.shape
    guide = np.empty(((height + 1) // 2, (width + 1) // 2), np.float32)
    for rows in bands(*guide.shape):
        block = codes[2 * rows.start : 2 * rows.stop]
        block = np.pad(block, ((0, len(block) % 2), (0, width % 2)), mode="edge")
        guide[rows] = block.reshape(len(block) // 2, 2, -1, 2).mean((1, 3))
    return guide


def neighbours(positions: np.ndarray, size: int, extent: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of `extent` samples stretched over `size` pixels: the two samples around each position, and the way between."""
    last = int(np.ceil(extent)) - 1
    at = np.clip((positions + 0.5) * extent / size - 0.5, 0, last)
    first = at.astype(int)
    return first, np.minimum(first + 1, last), at - first


def saturate(values: np.ndarray, space: str, factor: float) -> np.ndarray:
    """Chroma `[..., C]` with its distance from grey multiplied by factor."""
    grey = values @ np.asarray(color.LUMA, values.dtype) if space == "rgb" else np.full(values.shape[:-1], 0.5)
    return (grey[..., None] + factor * (values - grey[..., None])).astype(values.dtype)


def to_linear(grey: np.ndarray, chroma: np.ndarray, space: str) -> np.ndarray:
    """Linear sRGB `[h, w, 3]`, not cut off, of grey codes `[h, w]` and chroma `[h, w, C]`."""
    if space == "lab":
        return lab_to_linear(np.concatenate([lightness(grey)[..., None], chroma * 220 - 110], -1))
    rgb = color.decode((2 * grey - 1)[None, ..., None], chroma[None], space)
    return rgb_to_linear(rgb[0])


def into_gamut(y: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, int]:
    """(linear sRGB in [0, 1] of luminance y `[h, w]`; how many pixels had to be pulled towards grey)."""
    offset = linear - (linear @ Y_OF_RGB)[..., None]  # its luminance is 0, whatever the color space promised
    t = np.ones_like(y)
    for channel in range(3):
        part = offset[..., channel]
        room = np.where(part > 0, 1 - y, y)
        t = np.minimum(t, room / np.maximum(np.abs(part), TINY))
    return np.clip(y[..., None] + t[..., None] * offset, 0, 1), int(np.count_nonzero(t < UNTOUCHED))
