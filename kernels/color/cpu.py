"""One pass over the pixels: crop, mirror, convert, average 2x2 blocks. Codes of 8 and 16 bits go through a table."""

from functools import lru_cache

import numpy as np

from ltbc.kernels.color import CHANNELS, LUMA, RGB_TO_XYZ, U_RANGE, U_SCALE, V_RANGE, V_SCALE, WHITE
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.threads import forall

TO_F = RGB_TO_XYZ / WHITE[:, None]
FROM_F = np.linalg.inv(RGB_TO_XYZ) * WHITE
SPACES = tuple(CHANNELS)
DELTA = 6 / 29
LUMA_R, LUMA_G, LUMA_B = LUMA
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def encode(rgb, space, top, left, flip, size, *, dtype=np.float32, out=None):
    n, (h, w), corner = rgb.shape[0], size, np.zeros(rgb.shape[0], np.int64)
    dtype = np.dtype(dtype)
    wide = dtype if dtype in FLOATS else FLOATS[0]
    luminance, chroma = np.empty((n, h, w, 1), wide), np.empty((n, h // 2, w // 2, CHANNELS[space]), wide)
    codes = rgb.astype(np.uint16 if rgb.dtype.kind == "u" else wide, copy=False)  # one kernel for 8 and 16 bits
    top, left, flip = (corner if a is None else np.asarray(a).astype(np.int64) for a in (top, left, flip))
    forall(encode_rows, n * (h // 2), 0, np.ascontiguousarray(codes), table(rgb.dtype, wide), SPACES.index(space),
           top, left, flip, luminance, chroma)
    if out is None:
        return luminance.astype(dtype, copy=False), chroma.astype(dtype, copy=False)
    out[0][...], out[1][...] = luminance, chroma
    return out


def decode(luminance, chroma, space):
    dtype = np.result_type(luminance.dtype, chroma.dtype)
    wide = dtype if dtype in FLOATS else FLOATS[0]
    luminance, chroma = (np.ascontiguousarray(x, wide) for x in (luminance, chroma))
    rgb = np.empty((*luminance.shape[:3], 3), wide)
    forall(decode_rows, rgb.shape[0] * rgb.shape[1], 0, luminance, chroma, SPACES.index(space), rgb)
    return rgb.astype(dtype, copy=False)


@lru_cache(8)
def table(codes, dtype):
    """For each code its value in [0, 1] and its linear value; empty for floats."""
    if codes.kind != "u":
        return np.empty((2, 0), dtype)
    s = np.arange(np.iinfo(codes).max + 1) / np.iinfo(codes).max
    return np.array([s, np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)], dtype)


@inlined
def linear(s):
    return s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4


@inlined
def f(t):
    return np.cbrt(t) if t > DELTA**3 else t / (3 * DELTA**2) + 4 / 29


@inlined
def look_up(codes, n, i, j, channel, values, row):
    """The value in [0, 1] (row 0) or linear value (row 1) of a channel."""
    if values.shape[1]:
        return values[row, int(codes[n, i, j, channel])]
    s = values.dtype.type(codes[n, i, j, channel])
    return s if row == 0 else values.dtype.type(linear(s))


@compiled
def encode_rows(first, last, scratch, codes, values, space, top, left, flip, luminance, chroma):
    """Unit: two rows of pixels, one of chroma."""
    height, width = chroma.shape[1:3]
    for unit in range(first, last):
        n, i2 = unit // height, unit % height
        for j2 in range(width):
            c0, c1, c2 = 0.0, 0.0, 0.0
            for block in range(4):
                i, j = 2 * i2 + block // 2, 2 * j2 + block % 2
                at_i, at_j = top[n] + i, left[n] + (2 * width - 1 - j if flip[n] else j)
                row = 1 if space == 0 else 0
                r, g, b = (look_up(codes, n, at_i, at_j, 0, values, row), look_up(codes, n, at_i, at_j, 1, values, row),
                           look_up(codes, n, at_i, at_j, 2, values, row))
                if space == 0:
                    fx, fy, fz = (f(TO_F[0, 0] * r + TO_F[0, 1] * g + TO_F[0, 2] * b),
                                  f(TO_F[1, 0] * r + TO_F[1, 1] * g + TO_F[1, 2] * b),
                                  f(TO_F[2, 0] * r + TO_F[2, 1] * g + TO_F[2, 2] * b))
                    luminance[n, i, j, 0] = (116 * fy - 16) / 50 - 1
                    c0, c1 = c0 + (500 * (fx - fy) + 110) / 220, c1 + (200 * (fy - fz) + 110) / 220
                    continue
                luma = LUMA_R * r + LUMA_G * g + LUMA_B * b
                luminance[n, i, j, 0] = luma * 2 - 1
                if space == 1:
                    c0, c1 = c0 + U_SCALE * (b - luma) / U_RANGE + 0.5, c1 + V_SCALE * (r - luma) / V_RANGE + 0.5
                else:
                    c0, c1, c2 = c0 + r, c1 + g, c2 + b
            chroma[n, i2, j2, 0], chroma[n, i2, j2, 1] = c0 / 4, c1 / 4
            if space == 2:
                chroma[n, i2, j2, 2] = c2 / 4


@inlined
def inverse_f(t):
    return t * t * t if t > DELTA else 3 * DELTA**2 * (t - 4 / 29)


@inlined
def gamma(v):
    return v * 12.92 if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055


@compiled
def decode_rows(first, last, scratch, luminance, chroma, space, rgb):
    """Unit: a row of pixels."""
    height, width = rgb.shape[1:3]
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            light, c = luminance[n, i, j, 0], chroma[n, i, j]
            luma = (light + 1) / 2
            if space == 0:
                fy = ((light + 1) * 50 + 16) / 116
                x, y, z = (inverse_f(fy + (c[0] * 220 - 110) / 500), inverse_f(fy),
                           inverse_f(fy - (c[1] * 220 - 110) / 200))
                for k in range(3):
                    rgb[n, i, j, k] = gamma(FROM_F[k, 0] * x + FROM_F[k, 1] * y + FROM_F[k, 2] * z)
            elif space == 1:
                r, b = luma + (c[1] - 0.5) * V_RANGE / V_SCALE, luma + (c[0] - 0.5) * U_RANGE / U_SCALE
                rgb[n, i, j, 0], rgb[n, i, j, 2] = r, b
                rgb[n, i, j, 1] = (luma - LUMA_R * r - LUMA_B * b) / LUMA_G
            else:
                shift = luma - (LUMA_R * c[0] + LUMA_G * c[1] + LUMA_B * c[2])
                for k in range(3):
                    rgb[n, i, j, k] = c[k] + shift
