"""Colors as two Triton kernels: pixels to luminance and half-size chroma with crop and flip, and back. All arithmetic
is float32; a power is 2^(exponent log2)."""

import numpy as np

from ltbc.kernels.color import CHANNELS, LUMA, OP, RGB_TO_XYZ, U_RANGE, U_SCALE, V_RANGE, V_SCALE, WHITE
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import cdiv, tl, triton

TILES = launch.tiles(OP)
FULL = {"uint8": 255, "uint16": 65535}  # the code of 1.0

TO_XYZ = tl.constexpr(tuple((RGB_TO_XYZ / WHITE[:, None]).ravel().tolist()))
FROM_XYZ = tl.constexpr(tuple((np.linalg.inv(RGB_TO_XYZ) * WHITE).ravel().tolist()))
LUMA_OF = tl.constexpr(LUMA)
U, V = tl.constexpr((U_SCALE, U_RANGE)), tl.constexpr((V_SCALE, V_RANGE))
DELTA = tl.constexpr(6 / 29)


@triton.jit
def product(M: tl.constexpr, ROW: tl.constexpr, a, b, c):
    return M[3 * ROW] * a + M[3 * ROW + 1] * b + M[3 * ROW + 2] * c


@triton.jit
def linear(s):
    """Linear light of sRGB: equation (1)."""
    curve = tl.exp2(2.4 * tl.log2(tl.maximum(s + 0.055, 0.0) / 1.055))
    return tl.where(s <= 0.04045, s / 12.92, curve)


@triton.jit
def gamma(v):
    """The inverse of `linear`."""
    curve = 1.055 * tl.exp2(tl.log2(tl.maximum(v, 0.0031308)) / 2.4) - 0.055
    return tl.where(v <= 0.0031308, v * 12.92, curve)


@triton.jit
def f(t):
    """Equation (2)."""
    root = tl.exp2(tl.log2(tl.maximum(t, DELTA * DELTA * DELTA)) / 3)
    return tl.where(t > DELTA * DELTA * DELTA, root, t / (3 * DELTA * DELTA) + 4 / 29)


@triton.jit
def f_inverse(f):
    return tl.where(f > DELTA, f * f * f, 3 * DELTA * DELTA * (f - 4 / 29))


@triton.jit
def convert(r, g, b, SPACE: tl.constexpr):
    """(luminance, three channels of chroma), the third only for rgb."""
    if SPACE == "lab":
        r, g, b = linear(r), linear(g), linear(b)
        x, y, z = f(product(TO_XYZ, 0, r, g, b)), f(product(TO_XYZ, 1, r, g, b)), f(product(TO_XYZ, 2, r, g, b))
        return (116 * y - 16) / 50 - 1, (500 * (x - y) + 110) / 220, (200 * (y - z) + 110) / 220, z
    luma = product(LUMA_OF, 0, r, g, b)
    if SPACE == "yuv":
        return 2 * luma - 1, U[0] / U[1] * (b - luma) + 0.5, V[0] / V[1] * (r - luma) + 0.5, luma
    return 2 * luma - 1, r, g, b


# BLOCK pixels of chroma a program: each converts the four pixels of its 2x2 block, writes their luminance and the mean
# of their chroma. A pixel of a crop that reaches out of the picture is NaN: nobody looks at corners that lie on the
# GPU. Bound by memory.
@triton.jit
def encode_kernel(
    rgb, top, left, flip, luminance, chroma,
    N, H, W, h, w,
    FULL: tl.constexpr, SPACE: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    half_h, half_w = h // 2, w // 2
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    n, inside = p // (half_h * half_w), p < N * half_h * half_w
    row, column = p // half_w % half_h * 2, p % half_w * 2
    zero = tl.zeros((BLOCK,), tl.float32)
    c0, c1, c2 = zero, zero, zero
    for k in tl.static_range(4):
        i, j = row + k // 2, column + k % 2
        to = (n * h + i) * w + j
        if flip is not None:
            j = tl.where(tl.load(flip + n, mask=inside, other=0) != 0, w - 1 - j, j)
        if top is not None:
            i += tl.load(top + n, mask=inside, other=0).to(tl.int32)
        if left is not None:
            j += tl.load(left + n, mask=inside, other=0).to(tl.int32)
        seen = inside & (i >= 0) & (i < H) & (j >= 0) & (j < W)
        at = rgb + ((n * H + i) * W + j) * 3
        r, g = tl.load(at, mask=seen, other=0).to(tl.float32), tl.load(at + 1, mask=seen, other=0).to(tl.float32)
        b = tl.load(at + 2, mask=seen, other=0).to(tl.float32)
        light, a0, a1, a2 = convert(r / FULL, g / FULL, b / FULL, SPACE)
        light = tl.where(seen, light, float("nan"))
        tl.store(luminance + to, light.to(luminance.dtype.element_ty), mask=inside)
        c0, c1, c2 = c0 + tl.where(seen, a0, float("nan")), c1 + a1, c2 + a2
    broken = c0 - c0  # 0, or NaN
    to = chroma + p * CHANNELS
    dtype: tl.constexpr = chroma.dtype.element_ty
    tl.store(to, (c0 / 4).to(dtype), mask=inside)
    tl.store(to + 1, (c1 / 4 + broken).to(dtype), mask=inside)
    if CHANNELS == 3:
        tl.store(to + 2, (c2 / 4 + broken).to(dtype), mask=inside)


# BLOCK pixels a program. Bound by memory.
@triton.jit
def decode_kernel(
    luminance, chroma, rgb,
    PIXELS,
    SPACE: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    inside, at = p < PIXELS, chroma + p * CHANNELS
    light = tl.load(luminance + p, mask=inside, other=0.0).to(tl.float32)
    c0 = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    c1 = tl.load(at + 1, mask=inside, other=0.0).to(tl.float32)
    luma = (light + 1) / 2
    if SPACE == "lab":
        fy = (50 * (light + 1) + 16) / 116
        x, z = f_inverse(fy + (220 * c0 - 110) / 500), f_inverse(fy - (220 * c1 - 110) / 200)
        y = f_inverse(fy)
        r, g = gamma(product(FROM_XYZ, 0, x, y, z)), gamma(product(FROM_XYZ, 1, x, y, z))
        b = gamma(product(FROM_XYZ, 2, x, y, z))
    elif SPACE == "yuv":
        r, b = luma + (c1 - 0.5) * (V[1] / V[0]), luma + (c0 - 0.5) * (U[1] / U[0])
        g = (luma - LUMA_OF[0] * r - LUMA_OF[2] * b) / LUMA_OF[1]
    else:
        c2 = tl.load(at + 2, mask=inside, other=0.0).to(tl.float32)
        shift = luma - product(LUMA_OF, 0, c0, c1, c2)
        r, g, b = c0 + shift, c1 + shift, c2 + shift
    to = rgb + p * 3
    dtype: tl.constexpr = rgb.dtype.element_ty
    tl.store(to, r.to(dtype), mask=inside)
    tl.store(to + 1, g.to(dtype), mask=inside)
    tl.store(to + 2, b.to(dtype), mask=inside)


def encode(rgb, space, top, left, flip, size, *, dtype=np.float32, out=None):
    (n, height, width), (h, w), channels = rgb.shape[:3], size, CHANNELS[space]
    if out is None:
        out = launch.empty((n, h, w, 1), dtype), launch.empty((n, h // 2, w // 2, channels), dtype)
    launch.check(OP, rgb=rgb, top=top, left=left, flip=flip, luminance=out[0], chroma=out[1])
    flip = None if flip is None else flip.view(np.uint8)  # Triton has no pointers to bool
    tile = launch.pick(TILES["encode"])
    launch.run(
        encode_kernel, (cdiv(n * h * w // 4, tile["BLOCK"]),), rgb, top, left, flip, *out, n, height, width, h, w,
        FULL=FULL.get(rgb.dtype.name, 1), SPACE=space, CHANNELS=channels, **tile,
    )
    return out


def decode(luminance, chroma, space):
    rgb = launch.empty((*luminance.shape[:3], 3), np.result_type(luminance.dtype, chroma.dtype))
    launch.check(OP, luminance=luminance, chroma=chroma, rgb=rgb)
    tile = launch.pick(TILES["decode"])
    launch.run(
        decode_kernel, (cdiv(luminance.size, tile["BLOCK"]),), luminance, chroma, rgb, luminance.size,
        SPACE=space, CHANNELS=CHANNELS[space], **tile,
    )
    return rgb
