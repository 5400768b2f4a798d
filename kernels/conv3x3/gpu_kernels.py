"""The three products of a 3x3 convolution as Triton kernels: y; dx; dw with db.

Each is an implicit matrix product over boxes of pixels (see `kernels/gpu/fragments.py`) with sums in float32. With
BOXES images and w are tensor descriptors, whose zeros out of bounds are the padding; without, pointers with masks:
for GPUs before sm_90, odd sizes at stride 2, and channels that no box fits.
"""

from ltbc.kernels.gpu.fragments import (
    activate,
    activation_backward,
    box_corner,
    load_pixels,
    load_weights,
    load_window,
    store_pixels,
)
from ltbc.kernels.gpu.launch import tl, triton


# y of one box of pixels and BLOCK_O channels a program; programs of the same pixels are neighbors and share them in L2.
# The loop runs over the 9 taps and, within, over the input channels. Pixels are the second operand of the product and
# the accumulator is [channel, pixel]: so both operands stay in shared memory, whereas as the first operand a box of
# pixels would pass through registers. Bound by tensor cores from 64 channels on.
@triton.jit
def forward_kernel(
    x, w, b, y,
    N, H, W, OH, OW, I_TILES, J_TILES,
    CIN: tl.constexpr, COUT: tl.constexpr, STRIDE: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr,
    BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    o0 = program % O_TILES * BLOCK_O
    n0, i0, j0 = box_corner(program // O_TILES, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
    z = tl.zeros((BLOCK_O, BLOCK_N * BLOCK_H * BLOCK_W), tl.float32)  # [BLOCK_O, BLOCK_P]
    for k in range(9 * C_TILES):
        tap, c0 = k // C_TILES, k % C_TILES * BLOCK_C
        r = tap * 11 >> 5  # tap // 3, in fewer instructions
        weights = load_weights(w, tap, c0, o0, CIN, COUT, BOXES, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        pixels = load_window(  # [BLOCK_P, BLOCK_C]
            x, n0, i0, j0, r, tap - 3 * r, c0, N, H, W, CIN, STRIDE, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        z = tl.dot(weights.T, pixels.T, z, input_precision=PRECISION)
    o = o0 + tl.arange(0, BLOCK_O)
    z = activate(z + tl.load(b + o, mask=o < COUT, other=0.0)[:, None], ACTIVATION)
    store_pixels(
        y, z.T, n0, i0, j0, 0, 0, o0, N, OH, OW, COUT, 1, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
    )


# dx of one box of pixels and BLOCK_C channels a program. At stride 1 the loop runs over the 9 taps, flipped. At stride
# 2 the pixels of dx fall into four phases (row even or odd, column even or odd), which 1, 2, 2 and 4 taps reach: the
# box holds pixels of one phase, and the phase of 4 taps comes first. Operands as in forward_kernel. dx is times the
# derivative THROUGH the activation that made x, and may lie over x: a program reads of it what it writes. Bound by
# tensor cores; dz comes from L2 once a tap.
@triton.jit
def backward_data_kernel(
    dz, w, x, dx,
    N, H, W, OH, OW, BOX_TILES, I_TILES, J_TILES,
    CIN: tl.constexpr, COUT: tl.constexpr, STRIDE: tl.constexpr, THROUGH: tl.constexpr, PRECISION: tl.constexpr,
    BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    c0 = program % C_TILES * BLOCK_C
    n0, i0, j0 = box_corner(program // C_TILES % BOX_TILES, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
    phase = STRIDE * STRIDE - 1 - program // C_TILES // BOX_TILES
    p, q = phase // STRIDE, phase % STRIDE
    taps = 9
    if STRIDE == 2:
        taps = (1 + p) * (1 + q)
    sums = tl.zeros((BLOCK_C, BLOCK_N * BLOCK_H * BLOCK_W), tl.float32)  # [BLOCK_C, BLOCK_P]
    for k in range(taps * O_TILES):
        tap, o0 = k // O_TILES, k % O_TILES * BLOCK_O
        if STRIDE == 1:
            r = tap * 11 >> 5  # tap // 3, in fewer instructions
            s = tap - 3 * r
            i, j = 1 - r, 1 - s
        else:  # row 2 i of x is what tap 1 of row i of y sees; row 2 i + 1 tap 0 of row i + 1, and tap 2 of row i
            r, s = 1 - p + 2 * (tap >> q), 1 - q + 2 * (tap & q)
            i, j = p - (tap >> q), q - (tap & q)
        weights = load_weights(w, r * 3 + s, c0, o0, CIN, COUT, BOXES, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        pixels = load_window(  # [BLOCK_P, BLOCK_O]
            dz, n0, i0, j0, 1 + i, 1 + j, o0, N, OH, OW, COUT, 1, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
        )
        sums = tl.dot(weights, pixels.T, sums, input_precision=PRECISION)
    values = sums.T
    if THROUGH != "none":
        before = load_window(  # [BLOCK_P, BLOCK_C]: x[n, i * STRIDE + p, j * STRIDE + q]
            x, n0, i0, j0, 1 + p, 1 + q, c0, N, H, W, CIN, STRIDE, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        values = activation_backward(values, before, THROUGH)
    store_pixels(
        dx, values, n0, i0, j0, p, q, c0, N, H, W, CIN, STRIDE, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
    )


# Partial sums of dw, or of db. A program runs over BOXES_A_SPLIT boxes of BLOCK_P pixels, one split, for one tap and
# BLOCK_C x BLOCK_O channels; after the nine taps of a split come its programs for db, which need no product. Programs
# of one split are neighbors and share its pixels in L2. A split writes its own row of dw and db, STEP elements apart,
# and sum_splits_kernel adds the rows in order: no atomics, the same bits on every run. dz, which no window moves, comes
# by pointers and is the first operand. Bound by tensor cores; the sizes in tiles are constants, since dividing by them
# in the loop costs more.
@triton.jit
def backward_weights_kernel(
    dz, x, dw, db,
    N, H, W, OH, OW, BOX_TILES, BOXES_A_SPLIT, STEP, I_TILES: tl.constexpr, J_TILES: tl.constexpr,
    CIN: tl.constexpr, COUT: tl.constexpr, STRIDE: tl.constexpr, PRECISION: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    PROGRAMS: tl.constexpr = O_TILES * (9 * C_TILES + 1)  # a split
    split, program = tl.program_id(0) // PROGRAMS, tl.program_id(0) % PROGRAMS
    o0 = program % O_TILES * BLOCK_O
    tap, c0 = program // O_TILES // C_TILES, program // O_TILES % C_TILES * BLOCK_C
    first, last = split * BOXES_A_SPLIT, tl.minimum(split * BOXES_A_SPLIT + BOXES_A_SPLIT, BOX_TILES)
    o, c = o0 + tl.arange(0, BLOCK_O), c0 + tl.arange(0, BLOCK_C)
    if tap == 9:
        column = tl.zeros((BLOCK_N * BLOCK_H * BLOCK_W, BLOCK_O), tl.float32)  # [BLOCK_P, BLOCK_O]
        for t in range(first, last):
            n0, i0, j0 = box_corner(t, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
            column += load_pixels(
                dz, n0, i0, j0, 0, 0, o0, N, OH, OW, COUT, 1, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
            ).to(tl.float32)
        tl.store(db + split * STEP + o, tl.sum(column, 0).to(db.dtype.element_ty), mask=o < COUT)
        return
    sums = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)  # [BLOCK_O, BLOCK_C]
    for t in range(first, last):
        n0, i0, j0 = box_corner(t, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
        gradients = load_pixels(  # [BLOCK_P, BLOCK_O]
            dz, n0, i0, j0, 0, 0, o0, N, OH, OW, COUT, 1, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
        )
        pixels = load_window(  # [BLOCK_P, BLOCK_C]
            x, n0, i0, j0, tap // 3, tap % 3, c0, N, H, W, CIN, STRIDE, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION)
    at = split * STEP + (tap * CIN + c)[:, None] * COUT + o
    tl.store(dw + at, sums.T.to(dw.dtype.element_ty), mask=(c < CIN)[:, None] & (o < COUT))
