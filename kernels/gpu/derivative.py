"""dz = dy act'(z) as one Triton kernel, before the products of backward read it, each several times. Then they have two
operands that nothing is done to on the way: these go from memory to shared memory to tensor cores, past all registers.
"""

from typing import Any

from ltbc.kernels.arrays import Array
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.fragments import activation_backward
from ltbc.kernels.gpu.launch import cdiv, tl, triton

BLOCK_P, BLOCK_O = 64, 64


# dz of BLOCK_P rows of one image and BLOCK_O channels a program; where `sums` [images, TILES, COUT] is there, it gets
# the sums over these rows, of what is not rounded yet. Bound by memory.
@triton.jit
def derivative_kernel(
    dy, y, dz, sums,
    ROWS, TILES,
    COUT: tl.constexpr, ACTIVATION: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    o, tile = tl.program_id(0) % O_TILES * BLOCK_O + tl.arange(0, BLOCK_O), tl.program_id(0) // O_TILES
    r = tile % TILES * BLOCK_P + tl.arange(0, BLOCK_P)  # of the image
    at, inside = (tile // TILES * ROWS + r)[:, None] * COUT + o, (r < ROWS)[:, None] & (o < COUT)
    values = tl.load(dy + at, mask=inside, other=0.0)  # [BLOCK_P, BLOCK_O]
    if ACTIVATION != "none":
        values = activation_backward(values, tl.load(y + at, mask=inside, other=0.0), ACTIVATION)
    tl.store(dz + at, values.to(dz.dtype.element_ty), mask=inside)
    if sums is not None:
        tl.store(sums + tile * COUT + o, tl.sum(values.to(tl.float32), 0), mask=o < COUT)


def derivative(dy: Array, y: Array, activation: str, dtype: Any) -> Array:
    """dz in dtype, that of the products' other side: dy itself where it is that already."""
    return dy if activation == "none" and dy.dtype == dtype else run(dy, y, activation, dtype, 1, None)


def derivative_and_sums(dy: Array, y: Array, activation: str, dtype: Any) -> tuple[Array, Array]:
    """dz, and its sums over tiles of pixels, `[N, tiles, Cout]`; dy and y are `[N, H, W, Cout]`."""
    n, h, w, cout = dy.shape
    sums = launch.workspace("dz.sums", (n, cdiv(h * w, BLOCK_P), cout))
    return run(dy, y, activation, dtype, n, sums), sums


def run(dy: Array, y: Array, activation: str, dtype: Any, images: int, sums: Array | None) -> Array:
    dz, cout = launch.workspace("dz", dy.shape, dtype), dy.shape[-1]
    rows = dy.size // max(1, cout) // max(1, images)
    tiles = cdiv(rows, BLOCK_P)
    launch.run(
        derivative_kernel, (images * tiles * cdiv(cout, BLOCK_O),), dy, y, dz, sums, rows, tiles,
        COUT=cout, ACTIVATION=activation, BLOCK_P=BLOCK_P, BLOCK_O=BLOCK_O, num_warps=4,
    )
    return dz
