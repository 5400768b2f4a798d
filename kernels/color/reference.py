"""Plain array code; the single conversions are public, for whoever needs one of them alone.

The color axis is the last one, sRGB is float in [0, 1] (not checked), and results have the input's float dtype.
"""

import numpy as np

from ltbc.kernels.arrays import array_module, is_float, sum_dtype
from ltbc.kernels.color import LUMA, RGB_TO_XYZ, U_RANGE, U_SCALE, V_RANGE, V_SCALE, WHITE

XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)
DELTA = 6 / 29


def encode(rgb, space, top, left, flip, size, *, dtype=np.float32, out=None):
    xp = array_module(rgb)
    rgb = to_float(crops(rgb, top, left, flip, size), sum_dtype(dtype))
    if space == "lab":
        lab = rgb_to_lab(rgb)
        luminance, chroma = lab[..., :1] / 50 - 1, (lab[..., 1:] + 110) / 220
    else:
        yuv = rgb_to_yuv(rgb)
        luminance = yuv[..., :1] * 2 - 1
        ranges = xp.asarray([U_RANGE, V_RANGE], yuv.dtype)
        chroma = rgb if space == "rgb" else yuv[..., 1:] / ranges + 0.5
    chroma = (chroma[:, ::2, ::2] + chroma[:, ::2, 1::2] + chroma[:, 1::2, ::2] + chroma[:, 1::2, 1::2]) / 4
    if out is None:
        return luminance.astype(dtype, copy=False), chroma.astype(dtype, copy=False)
    out[0][...], out[1][...] = luminance, chroma
    return out


def decode(luminance, chroma, space):
    xp = array_module(luminance)
    if space == "lab":
        return lab_to_rgb(xp.concatenate([(luminance + 1) * 50, chroma * 220 - 110], -1))
    luma = (luminance + 1) / 2
    if space == "rgb":
        return chroma + (luma - rgb_to_yuv(chroma)[..., :1])
    ranges = xp.asarray([U_RANGE, V_RANGE], chroma.dtype)
    return yuv_to_rgb(xp.concatenate([luma, (chroma - 0.5) * ranges], -1))


def crops(rgb, top, left, flip, size):
    """Each image's crop, mirrored where flip says so: [N, h, w, 3]."""
    h, w = size
    if top is None and left is None and flip is None and rgb.shape[1:3] == (h, w):
        return rgb
    xp, n = array_module(rgb), rgb.shape[0]
    top, left = (xp.zeros(n, int) if corner is None else corner for corner in (top, left))
    i = top[:, None] + xp.arange(h)
    j = xp.broadcast_to(xp.arange(w), (n, w))
    if flip is not None:
        j = xp.where(flip[:, None], w - 1 - j, j)
    j = left[:, None] + j
    return rgb[xp.arange(n)[:, None, None], i[:, :, None], j[:, None, :]]


def to_float(rgb, dtype):
    """sRGB codes as floats in [0, 1] of that dtype."""
    if is_float(rgb.dtype):
        return rgb.astype(dtype, copy=False)
    return rgb.astype(dtype) / (255 if rgb.dtype == np.uint8 else 65535)


def rgb_to_lab(rgb):
    xp = array_module(rgb)
    xyz = rgb_to_linear(rgb) @ xp.asarray((RGB_TO_XYZ / WHITE[:, None]).T, rgb.dtype)
    f = xp.where(xyz > DELTA**3, xp.cbrt(xyz), xyz / (3 * DELTA**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab):
    return linear_to_rgb(lab_to_linear(lab))


def lab_to_linear(lab):
    """Linear sRGB, not clipped."""
    xp = array_module(lab)
    y = (lab[..., 0] + 16) / 116
    f = xp.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = xp.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29))
    return xyz @ xp.asarray((XYZ_TO_RGB * WHITE).T, lab.dtype)


def rgb_to_linear(rgb):
    xp = array_module(rgb)
    return xp.where(rgb <= 0.04045, rgb / 12.92, (xp.maximum(rgb + 0.055, 0) / 1.055) ** 2.4)


def linear_to_rgb(linear):
    """Below 0 the straight part goes on, so that colors outside sRGB keep their order."""
    xp = array_module(linear)
    return xp.where(linear <= 0.0031308, linear * 12.92, 1.055 * xp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def rgb_to_yuv(rgb):
    xp = array_module(rgb)
    y = LUMA[0] * rgb[..., 0] + LUMA[1] * rgb[..., 1] + LUMA[2] * rgb[..., 2]
    return xp.stack([y, U_SCALE * (rgb[..., 2] - y), V_SCALE * (rgb[..., 0] - y)], -1)


def yuv_to_rgb(yuv):
    xp = array_module(yuv)
    y = yuv[..., 0]
    r, b = y + yuv[..., 2] / V_SCALE, y + yuv[..., 1] / U_SCALE
    return xp.stack([r, (y - LUMA[0] * r - LUMA[2] * b) / LUMA[1], b], -1)
