"""Luminance and chroma become pixels again: chroma to full size, colors into the gamut, codes.

A color that sRGB cannot show at its luminance is pulled towards grey, in linear light, where luminance is linear:

    rgb = Y + t (rgb - Y),  the largest t <= 1 that keeps each channel in [0, 1]

so that Y stays as it is, and with it the grey code of each saved pixel, up to the rounding of its three codes. Row
bands are worked on a few at a time; what is held at full size is the luminance and the result.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from colorize.luminance import Y_OF_RGB, bands, lightness
from kernels import color
from kernels.color.reference import lab_to_linear, linear_to_rgb, rgb_to_linear

THREADS = 8  # at most: each holds some 20 MB while it works
TINY = 1e-300
UNTOUCHED = 0.999  # a color that keeps this share of its distance from grey does not count as forced


class Chroma(NamedTuple):
    """What the network predicts, and the part of it that the picture covers.

    values: `[h, w, C]`, in [0, 1]; extent: height and width of the picture in these samples (h and w may be larger,
    by the padding to multiples of 8); space: the color space.
    """

    values: np.ndarray
    extent: tuple[float, float]
    space: str


Upsample = Callable[[Chroma, np.ndarray, slice, int], np.ndarray]


def join(
    luminance: np.ndarray, chroma: Chroma, dtype: np.dtype, white: float, upsample: Upsample | None = None
) -> tuple[np.ndarray, int]:
    """(pixels `[H, W, 3]` of that dtype, codes 0..white; how many of them the gamut forced towards grey).

    luminance: `[H, W]`, grey codes in [0, 1]. upsample(chroma, luminance, rows, width) gives the chroma of a band of
    rows at full size, `[rows, W, C]`; `bilinear` by default.
    """
    height, width = luminance.shape
    pixels = np.empty((height, width, 3), dtype)

    def band(rows: slice) -> int:
        grey = luminance[rows].astype(np.float64)
        full = (upsample or bilinear)(chroma, luminance, rows, width)
        linear, forced = into_gamut(rgb_to_linear(grey), to_linear(grey, full, chroma.space))
        codes = linear_to_rgb(linear) * white
        pixels[rows] = codes if dtype.kind == "f" else np.rint(codes)
        return forced

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        return pixels, sum(pool.map(band, bands(height, width)))


def bilinear(chroma: Chroma, luminance: np.ndarray, rows: slice, width: int) -> np.ndarray:
    """Rows of the chroma at full size, between the centers of its samples."""
    above, below, part = neighbours(np.arange(rows.start, rows.stop), len(luminance), chroma.extent[0])
    values = chroma.values.astype(np.float64)
    band = values[above] + part[:, None, None] * (values[below] - values[above])
    left, right, part = neighbours(np.arange(width), width, chroma.extent[1])
    return band[:, left] + part[:, None] * (band[:, right] - band[:, left])


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
