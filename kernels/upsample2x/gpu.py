"""Nearest-neighbor upsampling by two as two Triton kernels. The network does without: see `upsample2x_conv3x3`."""

from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import cdiv, tl, triton
from ltbc.kernels.upsample2x import OP

TILES = launch.tiles(OP)


@triton.jit
def positions(PIXELS, W, C: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Of a program's tile [BLOCK_P, BLOCK_C]: where it lies in x [PIXELS, C] and, with its block's first pixel, in y
    [N, 2H, 2W, C]; and whether it lies inside."""
    C_TILES: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    pixel = tl.program_id(0) // C_TILES * BLOCK_P + tl.arange(0, BLOCK_P)  # (n * H + i) * W + j
    c = tl.program_id(0) % C_TILES * BLOCK_C + tl.arange(0, BLOCK_C)
    first = pixel // W * (4 * W) + pixel % W * 2  # (n * 2H + 2i) * 2W + 2j
    return pixel[:, None] * C + c, first[:, None] * C + c, (pixel < PIXELS)[:, None] & (c < C)


# Each program copies BLOCK_P pixels of x to the four of each in y. Bound by memory.
@triton.jit
def forward_kernel(
    x, y,
    PIXELS, W,
    C: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):
    small, large, inside = positions(PIXELS, W, C, BLOCK_P, BLOCK_C)
    value = tl.load(x + small, mask=inside, other=0.0).to(y.dtype.element_ty)  # [BLOCK_P, BLOCK_C]
    for k in tl.static_range(4):
        tl.store(y + large + (k // 2 * 2 * W + k % 2) * C, value, mask=inside)


# Each program adds up the four pixels of dy for BLOCK_P pixels of dx, in float32. Bound by memory.
@triton.jit
def backward_kernel(
    dy, dx,
    PIXELS, W,
    C: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):
    small, large, inside = positions(PIXELS, W, C, BLOCK_P, BLOCK_C)
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)  # [BLOCK_P, BLOCK_C]
    for k in tl.static_range(4):
        total += tl.load(dy + large + (k // 2 * 2 * W + k % 2) * C, mask=inside, other=0.0).to(tl.float32)
    tl.store(dx + small, total.to(dx.dtype.element_ty), mask=inside)


def forward(x, *, out=None):
    n, h, w, c = x.shape
    y = launch.empty((n, 2 * h, 2 * w, c), x.dtype) if out is None else out
    launch.check(OP, x=x, y=y)
    run(forward_kernel, x, y, x.shape)
    return y


def backward(dy, *, out=None):
    n, h, w, c = dy.shape
    dx = launch.empty((n, h // 2, w // 2, c), dy.dtype) if out is None else out
    launch.check(OP, dy=dy, dx=dx)
    run(backward_kernel, dy, dx, dx.shape)
    return dx


def run(kernel, source, result, small):
    """Starts the kernel on tiles of `small`, the shape [N, H, W, C] of x."""
    n, h, w, c = small
    tile = launch.pick(TILES["copy"], channels=c)
    programs = cdiv(n * h * w, tile["BLOCK_P"]) * cdiv(c, tile["BLOCK_C"])
    launch.run(kernel, (programs,), source, result, n * h * w, w, C=c, **tile)
