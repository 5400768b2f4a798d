"""The first and the last layer: one side has so few channels (1 luminance, 2 or 3 chroma) that all windows of a pixel
fit into one row of a matrix, its *columns*: 9 taps x FEW channels, filled up to BLOCK_K.

All three kernels are bound by memory: each reads its large side once and writes its result once. Windows overlap, but
what neighbors share comes from L1.
"""

from ltbc.kernels.conv3x3 import OP
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import finish, split, tiling
from ltbc.kernels.gpu.fragments import (
    activate,
    activation_backward,
    box_corner,
    load_weights,
    load_window,
    store_pixels,
)
from ltbc.kernels.gpu.launch import cdiv, tl, triton

FEW = 3  # channels
TILES = launch.tiles(OP)


def product(x, w, b, y, stride, activation):
    """y of few input channels: columns of x times w."""
    few, many = w.shape[2:]
    steps = {"TAP_STEP": few * many, "FEW_STEP": many, "MANY_STEP": 1}
    run_product(x, x, w, b, y, few, many, stride, activation, activation, False, steps)


def backward_data(dy, w, y, x, activation, through, dx):
    """dx of few output channels, stride 1: columns of dz, taps flipped, times w transposed; then times the derivative
    through the activation that made x."""
    many, few = w.shape[2:]
    steps = {"TAP_STEP": few * many, "FEW_STEP": 1, "MANY_STEP": few}
    run_product(dy, y, w, x, dx, few, many, 1, activation, through, True, steps)


def run_product(x, a, w, b, y, few, many, stride, activation_in, activation, flip, steps):
    (n, h, width), (oh, ow) = x.shape[:3], y.shape[1:3]
    tile = tile_of("columns", y, many)
    launch.run(
        columns_kernel, (cdiv(n * oh * ow, tile["BLOCK_P"]) * cdiv(many, tile["BLOCK_O"]),),
        x, a, w, b, y, n, h, width, oh, ow,
        FEW=few, MANY=many, STRIDE=stride, FLIP=flip, DERIVATIVE=activation_in if flip else "none",
        ACTIVATION=activation, PRECISION=launch.precision(), **steps, BLOCK_K=block_k(few), **tile,
    )


def tile_of(kernel, y, channels):
    tile = launch.pick(TILES[kernel], bytes=y.dtype.itemsize, channels=channels)
    tile["BLOCK_O"] = min(tile["BLOCK_O"], max(16, triton.next_power_of_2(channels)))
    return tile


def block_k(few):
    return max(16, triton.next_power_of_2(9 * few))


def backward_weights(dy, x, y, stride, activation, dw, db):
    """dw and db where x has few channels, or, at stride 1, y has: columns of x (or of dz, flipped) times dz (or x)."""
    flip = x.shape[3] > FEW
    (n, h, width, cin), (oh, ow, cout) = x.shape, y.shape[1:]
    few, many = (cout, cin) if flip else (cin, cout)
    steps = {"TAP_STEP": cin * cout, "FEW_STEP": 1 if flip else cout, "MANY_STEP": cout if flip else 1}
    tile = tile_of("columns_gradient", y, many)
    blocks, many_tiles = cdiv(n * oh * ow, tile["BLOCK_P"]), cdiv(many, tile["BLOCK_O"])
    splits = split(OP, dw.shape, cout, blocks, many_tiles, dw, db)
    launch.run(
        columns_gradient_kernel, (splits.number * many_tiles,),
        dy, y, x, splits.dw, splits.db, n, h, width, oh, ow, blocks, splits.boxes, splits.step,
        FEW=few, MANY=many, STRIDE=stride, FLIP=flip, ACTIVATION=activation, PRECISION=launch.precision(), **steps,
        BLOCK_K=block_k(few), **tile,
    )
    return finish(splits, dw, db)


def forward(x, w, b, y, activation):
    """y of few output channels, stride 1."""
    (n, h, width, cin), few = x.shape, w.shape[3]
    _, count, shape, tile = tiling(TILES["few_outputs"], (x, y), y.shape)
    launch.run(
        few_outputs_kernel, (count,), x, w, b, y, n, h, width, *shape,
        CIN=cin, FEW=few, ACTIVATION=activation, PRECISION=launch.precision(), BLOCK_K=16, **tile,
    )


@triton.jit
def load_columns(
    x, a, pixel, N, H, W, OH, OW, FEW: tl.constexpr, STRIDE: tl.constexpr, FLIP: tl.constexpr,
    DERIVATIVE: tl.constexpr, BLOCK_K: tl.constexpr,
):
    """[BLOCK_P, BLOCK_K]: all that output pixels see of x, or of dz = x act'(a); column tap * FEW + channel."""
    k = tl.arange(0, BLOCK_K)
    r, s = k // FEW // 3, k // FEW % 3
    if FLIP:
        r, s = 2 - r, 2 - s
    n, i, j = pixel // (OH * OW), pixel // OW % OH, pixel % OW
    h, v = i[:, None] * STRIDE + r - 1, j[:, None] * STRIDE + s - 1
    inside = (n < N)[:, None] & (k < 9 * FEW) & (h >= 0) & (h < H) & (v >= 0) & (v < W)
    at = ((n[:, None] * H + h) * W + v) * FEW + k % FEW
    columns = tl.load(x + at, mask=inside, other=0.0)
    if DERIVATIVE != "none":
        columns = activation_backward(columns, tl.load(a + at, mask=inside, other=0.0), DERIVATIVE)
    return columns


# BLOCK_P pixels and BLOCK_O of the MANY channels of y a program: one product, [BLOCK_P, BLOCK_K] x [BLOCK_K, BLOCK_O].
# Forward of few inputs (b, ACTIVATION), or, with FLIP, dx of few outputs (x is dy, a is y, and b what ACTIVATION made,
# which dx is taken through). Bound by writing y.
@triton.jit
def columns_kernel(
    x, a, w, b, y,
    N, H, W, OH, OW,
    FEW: tl.constexpr, MANY: tl.constexpr, STRIDE: tl.constexpr, FLIP: tl.constexpr, DERIVATIVE: tl.constexpr,
    ACTIVATION: tl.constexpr, PRECISION: tl.constexpr,
    TAP_STEP: tl.constexpr, FEW_STEP: tl.constexpr, MANY_STEP: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (MANY + BLOCK_O - 1) // BLOCK_O
    pixel = tl.program_id(0) // O_TILES * BLOCK_P + tl.arange(0, BLOCK_P)
    o, k = tl.program_id(0) % O_TILES * BLOCK_O + tl.arange(0, BLOCK_O), tl.arange(0, BLOCK_K)
    columns = load_columns(x, a, pixel, N, H, W, OH, OW, FEW, STRIDE, FLIP, DERIVATIVE, BLOCK_K)  # [BLOCK_P, BLOCK_K]
    weights = tl.load(  # [BLOCK_K, BLOCK_O]
        w + (k // FEW * TAP_STEP + k % FEW * FEW_STEP)[:, None] + o * MANY_STEP,
        mask=(k < 9 * FEW)[:, None] & (o < MANY), other=0.0,
    )
    z = tl.dot(columns.to(weights.dtype), weights, input_precision=PRECISION)  # [BLOCK_P, BLOCK_O]
    inside, at = (pixel < N * OH * OW)[:, None] & (o < MANY), pixel[:, None] * MANY + o
    if not FLIP:
        z = activate(z + tl.load(b + o, mask=o < MANY, other=0.0), ACTIVATION)
    elif ACTIVATION != "none":
        z = activation_backward(z, tl.load(b + at, mask=inside, other=0.0), ACTIVATION)
    tl.store(y + at, z.to(y.dtype.element_ty), mask=inside)


# Partial sums of dw and db over one split of the pixels, BLOCK_P at a time, for all 9 taps and FEW channels and BLOCK_O
# of the MANY: columnsᵀ x the other side. Without FLIP columns are of x and the other side is dz, with FLIP the other
# way round. A split writes its own rows, as in backward_weights_kernel. Bound by reading dy, y and x once.
@triton.jit
def columns_gradient_kernel(
    dy, y, x, dw, db,
    N, H, W, OH, OW, BLOCKS, BLOCKS_A_SPLIT, STEP,
    FEW: tl.constexpr, MANY: tl.constexpr, STRIDE: tl.constexpr, FLIP: tl.constexpr, ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr, TAP_STEP: tl.constexpr, FEW_STEP: tl.constexpr, MANY_STEP: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (MANY + BLOCK_O - 1) // BLOCK_O
    split = tl.program_id(0) // O_TILES
    o, k = tl.program_id(0) % O_TILES * BLOCK_O + tl.arange(0, BLOCK_O), tl.arange(0, BLOCK_K)
    sums = tl.zeros((BLOCK_K, BLOCK_O), tl.float32)  # [BLOCK_K, BLOCK_O]
    bias = tl.zeros((BLOCK_K if FLIP else BLOCK_O,), tl.float32)
    for block in range(split * BLOCKS_A_SPLIT, tl.minimum(split * BLOCKS_A_SPLIT + BLOCKS_A_SPLIT, BLOCKS)):
        pixel = block * BLOCK_P + tl.arange(0, BLOCK_P)
        inside, at = (pixel < N * OH * OW)[:, None] & (o < MANY), pixel[:, None] * MANY + o
        if FLIP:
            columns = load_columns(dy, y, pixel, N, OH, OW, OH, OW, FEW, 1, True, ACTIVATION, BLOCK_K)
            other = tl.load(x + at, mask=inside, other=0.0)
            bias += tl.sum(columns.to(tl.float32), 0)  # of every tap; db is that of the middle one
        else:
            columns = load_columns(x, x, pixel, N, H, W, OH, OW, FEW, STRIDE, False, "none", BLOCK_K)
            other = activation_backward(
                tl.load(dy + at, mask=inside, other=0.0), tl.load(y + at, mask=inside, other=0.0), ACTIVATION
            )
            bias += tl.sum(other.to(tl.float32), 0)
        dtype = x.dtype.element_ty
        sums = tl.dot(columns.to(dtype).T, other.to(dtype), sums, input_precision=PRECISION)
    at = split * STEP + (k // FEW * TAP_STEP + k % FEW * FEW_STEP)[:, None] + o * MANY_STEP
    tl.store(dw + at, sums.to(dw.dtype.element_ty), mask=(k < 9 * FEW)[:, None] & (o < MANY))
    if FLIP:
        tl.store(db + split * STEP + k - 4 * FEW, bias.to(db.dtype.element_ty), mask=k // FEW == 4)
    else:
        tl.store(db + split * STEP + o, bias.to(db.dtype.element_ty), mask=o < MANY)


# y of one box of pixels and all FEW channels, filled up to BLOCK_K, a program. No descriptor could store rows of so few
# bytes, and loads by pointers find the 9 overlapping boxes in L1. Bound by reading x.
@triton.jit
def few_outputs_kernel(
    x, w, b, y,
    N, H, W, I_TILES, J_TILES,
    CIN: tl.constexpr, FEW: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    n0, i0, j0 = box_corner(tl.program_id(0), I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
    o = tl.arange(0, BLOCK_K)
    z = tl.zeros((BLOCK_N * BLOCK_H * BLOCK_W, BLOCK_K), tl.float32)  # [BLOCK_P, BLOCK_K]
    for k in range(9 * C_TILES):
        tap, c0 = k % 9, k // 9 * BLOCK_C
        pixels = load_window(  # [BLOCK_P, BLOCK_C]
            x, n0, i0, j0, tap // 3, tap % 3, c0, N, H, W, CIN, 1, False, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        weights = load_weights(w, tap, c0, 0, CIN, FEW, False, BLOCK_C, BLOCK_K)  # [BLOCK_C, BLOCK_K]
        z = tl.dot(pixels, weights, z, input_precision=PRECISION)
    z = activate(z + tl.load(b + o, mask=o < FEW, other=0.0), ACTIVATION)
    store_pixels(y, z, n0, i0, j0, 0, 0, 0, N, H, W, FEW, 1, False, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_K)
