"""Color spaces: sRGB pixels to what the network sees and predicts, and back.

    linear = s/12.92 if s <= 0.04045 else ((s + 0.055)/1.055)^2.4                        sRGB, IEC 61966-2-1    (1)
    X, Y, Z = M linear;  f(t) = t^(1/3) if t > (6/29)^3 else t/(3 (6/29)^2) + 4/29                              (2)
    L* = 116 f(Y) - 16    a* = 500 (f(X/Xn) - f(Y))    b* = 200 (f(Y) - f(Z/Zn))         CIE 1976, D65          (3)
    Y' = 0.299 R + 0.587 G + 0.114 B    U = 0.492111 (B - Y')    V = 0.877283 (R - Y')   Rec. 601               (4)

The white point (Xn, 1, Zn) is M (1, 1, 1), so that grey has a* = b* = 0 exactly.

`encode` turns 8-bit, 16-bit or float sRGB into the network's input and target, with crop and flip, in one pass:

    space   luminance      chroma, each in [0, 1]
    lab     L*/50 - 1      (a* + 110)/220, (b* + 110)/220
    yuv     2 Y' - 1       U/0.872 + 0.5, V/1.23 + 0.5
    rgb     2 Y' - 1       R, G, B

The chroma is the mean over each 2x2 block of the full-size chroma (5): the sum over four pixels of (p - t_i)^2 is
4 (p - mean t)^2 plus a constant, so the half-size loss has the full-size gradient. `decode` is the inverse, for
chroma of the luminance's size: sRGB floats, not clipped; its luminance is the one given.

Source: the paper, sections 1 and 4.8. Errors: ValueError for wrong shapes, spaces and crops, TypeError for dtypes.
"""

from typing import Any

import numpy as np

from ltbc.kernels.arrays import Array, bind, buffers, check_choice, check_out, is_float, is_integer, shown
from ltbc.kernels.dispatch import implementation

OP = "color"
CHANNELS = {"lab": 2, "yuv": 2, "rgb": 3}  # chroma channels of each color space

RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = RGB_TO_XYZ.sum(1)
LUMA = (0.299, 0.587, 0.114)  # Rec. 601
U_SCALE, V_SCALE = 0.492111, 0.877283  # U = U_SCALE (B - Y'), V = V_SCALE (R - Y')
U_RANGE, V_RANGE = 0.872, 1.23  # from the smallest to the largest U and V of sRGB colors


def encode(
    rgb: Array, space: str = "lab", top: Array | None = None, left: Array | None = None, flip: Array | None = None,
    size: tuple[int, int] | None = None,
    *, dtype: Any = np.float32, out: tuple[Array, Array] | None = None, backend: str = "reference",
) -> tuple[Array, Array]:
    """(luminance `[N, h, w, 1]`, chroma `[N, h/2, w/2, C]`) of the crops of size (h, w), both even.

    rgb: `[N, H, W, 3]` of uint8, uint16 or a float dtype in [0, 1]. top, left: integer `[N]`, the crops' corners
    (default 0); flip: bool `[N]`, mirrored left to right (default no). Equations (1) to (5).
    """
    sizes = bind(OP, rgb=(rgb, "N H W 3"))
    if rgb.dtype not in (np.uint8, np.uint16) and not is_float(rgb.dtype):
        raise TypeError(f"{OP}: rgb must be uint8, uint16 or float, got {rgb.dtype}")
    check_space(space)
    check_float(dtype)
    n, (h, w) = sizes["N"], (sizes["H"], sizes["W"]) if size is None else crop_size(size)
    if h % 2 or w % 2 or h < 2 or w < 2:
        raise ValueError(f"{OP}: size must be even and at least 2 x 2, got {h} x {w}")
    for name, corner, limit in (("top", top, sizes["H"] - h), ("left", left, sizes["W"] - w)):
        if limit < 0:
            raise ValueError(f"{OP}: size must fit into rgb of {sizes['H']} x {sizes['W']}, got {h} x {w}")
        if corner is not None:
            bind(OP, rgb=(rgb, "N H W 3"), **{name: (corner, "N")})
            if corner.dtype.kind not in "iu":
                raise TypeError(f"{OP}: {name} must be integers, got {corner.dtype}")
            if isinstance(corner, np.ndarray) and not (0 <= corner.min() and corner.max() <= limit):
                raise ValueError(f"{OP}: {name} must lie in 0..{limit}, got {corner.min()}..{corner.max()}")
    if flip is not None:
        bind(OP, rgb=(rgb, "N H W 3"), flip=(flip, "N"))
        if flip.dtype.kind != "b":
            raise TypeError(f"{OP}: flip must be bool, got {flip.dtype}")
    luminance, chroma = buffers(OP, out, "luminance", "chroma")
    if (luminance is None) != (chroma is None):
        raise TypeError(f"{OP}: out must hold both luminance and chroma, got None for one of them")
    check_out(OP, {"rgb": rgb, "top": top, "left": left, "flip": flip}, luminance=(luminance, (n, h, w, 1)),
              chroma=(chroma, (n, h // 2, w // 2, CHANNELS[space])))
    return implementation(OP, backend, rgb).encode(rgb, space, top, left, flip, (h, w), dtype=dtype, out=out)


def decode(luminance: Array, chroma: Array, space: str = "lab", *, backend: str = "reference") -> Array:
    """sRGB `[N, H, W, 3]`, float and not clipped, from luminance `[N, H, W, 1]` and chroma `[N, H, W, C]`."""
    check_space(space)
    bind(OP, luminance=(luminance, "N H W 1"), chroma=(chroma, f"N H W {CHANNELS[space]}"))
    for name, x in (("luminance", luminance), ("chroma", chroma)):
        if not is_float(x.dtype):
            raise TypeError(f"{OP}: {name} must be of a float dtype, got {x.dtype}")
    return implementation(OP, backend, luminance).decode(luminance, chroma, space)


def check_space(space: str) -> None:
    """Raises ValueError unless `space` is one of `CHANNELS`."""
    check_choice(OP, "space", space, tuple(CHANNELS))


def check_float(dtype: Any) -> None:
    """Raises TypeError unless `dtype` names a float dtype."""
    try:
        known = dtype is not None and is_float(dtype)
    except TypeError:
        known = False
    if not known:
        raise TypeError(f"{OP}: dtype must be a float dtype, got {shown(dtype)}")


def crop_size(size: Any) -> tuple[int, int]:
    """(h, w); raises TypeError for anything but two integers."""
    if not isinstance(size, (tuple, list)) or len(size) != 2 or not all(map(is_integer, size)):
        said = [*map(shown, size)] if isinstance(size, (tuple, list)) else shown(size)
        raise TypeError(f"{OP}: size must be two integers (height, width), got {said}")
    return size[0], size[1]
