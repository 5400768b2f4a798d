"""The products of upsampling + convolution as Triton kernels, on x as it is: the upsampled image is never written.

The four phases (p, q) of output pixels are 2x2 convolutions with weights v of their own, [phase, u, v, CIN, COUT]; tap
t = ((2 p + q) 2 + u) 2 + v in 0..15. Row 2 i + p of y sees x through rows i + p + u - 1: place p + u of the window that
`load_window` knows. Descriptors see y and dz as [N, H, 2, W, 2 COUT], phases apart. For the rest see `conv3x3`.
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


# v, 16 sums of 1, 2 or 4 weights; BLOCK pairs of channels, all taps, a program. Row r of w counts for u = (r+1-p)//2.
@triton.jit
def phase_weights_kernel(
    w, v,
    SIZE,
    BLOCK: tl.constexpr,
):
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # of [CIN, COUT]
    for tap in tl.static_range(16):
        p, q, a, c = tap // 8, tap // 4 % 2, tap // 2 % 2, tap % 2
        total = tl.zeros((BLOCK,), tl.float32)
        for r in tl.static_range(3):
            for s in tl.static_range(3):
                if (r + 1 - p) // 2 == a and (s + 1 - q) // 2 == c:
                    total += tl.load(w + (r * 3 + s) * SIZE + k, mask=k < SIZE, other=0.0).to(tl.float32)
        tl.store(v + tap * SIZE + k, total.to(v.dtype.element_ty), mask=k < SIZE)


# One phase of y, for one box of pixels of x and BLOCK_O channels, a program; the phases of a box are neighbors. The
# product is that of conv3x3's forward_kernel, with 4 taps. Bound by tensor cores, from 64 channels on.
@triton.jit
def forward_kernel(
    x, v, b, y,
    N, H, W, I_TILES, J_TILES,
    CIN: tl.constexpr, COUT: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    o0, phase = program % O_TILES * BLOCK_O, program // O_TILES % 4
    p, q = phase // 2, phase % 2
    n0, i0, j0 = box_corner(program // O_TILES // 4, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
    z = tl.zeros((BLOCK_O, BLOCK_N * BLOCK_H * BLOCK_W), tl.float32)  # [BLOCK_O, BLOCK_P]
    for k in range(4 * C_TILES):
        tap, c0 = k // C_TILES, k % C_TILES * BLOCK_C
        weights = load_weights(v, phase * 4 + tap, c0, o0, CIN, COUT, BOXES, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        pixels = load_window(  # [BLOCK_P, BLOCK_C]
            x, n0, i0, j0, p + tap // 2, q + tap % 2, c0, N, H, W, CIN, 1, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        z = tl.dot(weights.T, pixels.T, z, input_precision=PRECISION)
    o = o0 + tl.arange(0, BLOCK_O)
    z = activate(z + tl.load(b + o, mask=o < COUT, other=0.0)[:, None], ACTIVATION)
    store_pixels(
        y, z.T, n0, i0, j0, p, q, o0, N, 2 * H, 2 * W, COUT, 2, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
    )


# dx of one box of pixels and BLOCK_C channels a program. A pixel of x is seen from 4 x 4 pixels of y, rows 2 i - 1 to
# 2 i + 2: places r = 0..3 of a window at stride 2, of phase p = (r + 1) % 2 and tap u = 1 - r // 2. Operands, THROUGH
# and x as in conv3x3's. Bound by tensor cores; dz comes from L2 four times.
@triton.jit
def backward_data_kernel(
    dz, v, x, dx,
    N, H, W, I_TILES, J_TILES,
    CIN: tl.constexpr, COUT: tl.constexpr, THROUGH: tl.constexpr, PRECISION: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    c0 = program % C_TILES * BLOCK_C
    n0, i0, j0 = box_corner(program // C_TILES, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
    sums = tl.zeros((BLOCK_C, BLOCK_N * BLOCK_H * BLOCK_W), tl.float32)  # [BLOCK_C, BLOCK_P]
    for k in range(16 * O_TILES):
        r, s, o0 = k // O_TILES // 4, k // O_TILES % 4, k % O_TILES * BLOCK_O
        tap = (((r + 1) % 2 * 2 + (s + 1) % 2) * 2 + 1 - r // 2) * 2 + 1 - s // 2
        weights = load_weights(v, tap, c0, o0, CIN, COUT, BOXES, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        pixels = load_window(  # [BLOCK_P, BLOCK_O]
            dz, n0, i0, j0, r, s, o0, N, 2 * H, 2 * W, COUT, 2, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
        )
        sums = tl.dot(weights, pixels.T, sums, input_precision=PRECISION)
    values = sums.T
    if THROUGH != "none":
        before = load_window(  # [BLOCK_P, BLOCK_C]
            x, n0, i0, j0, 1, 1, c0, N, H, W, CIN, 1, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        values = activation_backward(values, before, THROUGH)
    store_pixels(
        dx, values, n0, i0, j0, 0, 0, c0, N, H, W, CIN, 1, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
    )


# Partial sums of dv, or of db, over one split of the boxes of x, as in conv3x3's backward_weights_kernel, with 16 taps.
@triton.jit
def backward_weights_kernel(
    dz, x, dv, db,
    N, H, W, BOX_TILES, BOXES_A_SPLIT, STEP, I_TILES: tl.constexpr, J_TILES: tl.constexpr,
    CIN: tl.constexpr, COUT: tl.constexpr, PRECISION: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    PROGRAMS: tl.constexpr = O_TILES * (16 * C_TILES + 1)  # a split
    split, program = tl.program_id(0) // PROGRAMS, tl.program_id(0) % PROGRAMS
    o0 = program % O_TILES * BLOCK_O
    tap, c0 = program // O_TILES // C_TILES, program // O_TILES % C_TILES * BLOCK_C
    first, last = split * BOXES_A_SPLIT, tl.minimum(split * BOXES_A_SPLIT + BOXES_A_SPLIT, BOX_TILES)
    o, c = o0 + tl.arange(0, BLOCK_O), c0 + tl.arange(0, BLOCK_C)
    if tap == 16:
        column = tl.zeros((BLOCK_N * BLOCK_H * BLOCK_W, BLOCK_O), tl.float32)  # [BLOCK_P, BLOCK_O]
        for t in range(first * 4, last * 4):  # box by box, four phases each
            n0, i0, j0 = box_corner(t // 4, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
            column += load_pixels(
                dz, n0, i0, j0, t // 2 % 2, t % 2, o0, N, 2 * H, 2 * W, COUT, 2, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
            ).to(tl.float32)
        tl.store(db + split * STEP + o, tl.sum(column, 0).to(db.dtype.element_ty), mask=o < COUT)
        return
    p, q = tap // 8, tap // 4 % 2
    r, s = p + tap // 2 % 2, q + tap % 2
    sums = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)  # [BLOCK_O, BLOCK_C]
    for t in range(first, last):
        n0, i0, j0 = box_corner(t, I_TILES, J_TILES, BLOCK_N, BLOCK_H, BLOCK_W)
        gradients = load_pixels(  # [BLOCK_P, BLOCK_O]
            dz, n0, i0, j0, p, q, o0, N, 2 * H, 2 * W, COUT, 2, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_O
        )
        pixels = load_window(  # [BLOCK_P, BLOCK_C]
            x, n0, i0, j0, r, s, c0, N, H, W, CIN, 1, BOXES, BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C
        )
        sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION)
    at = split * STEP + (tap * CIN + c)[:, None] * COUT + o
    tl.store(dv + at, sums.T, mask=(c < CIN)[:, None] & (o < COUT))


# dw[r, s] = the gradients of the four v, one a phase, that w[r, s] was added into, over all splits in order; db alike.
# parts is [SPLITS, 16 * SIZE + COUT]; BLOCK elements of dw and then of db a program. Bound by memory.
@triton.jit
def fold_kernel(
    parts, dw, db,
    SPLITS, SIZE, COUT,
    BLOCK: tl.constexpr,
):
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    r, s, of_w, of_b = k // SIZE // 3, k // SIZE % 3, k < 9 * SIZE, (k >= 9 * SIZE) & (k < 9 * SIZE + COUT)
    row, total = parts, tl.zeros((BLOCK,), tl.float32)
    for _ in range(SPLITS):
        for phase in tl.static_range(4):
            p, q = phase // 2, phase % 2
            tap = phase * 4 + (r + 1 - p) // 2 * 2 + (s + 1 - q) // 2
            total += tl.load(row + tap * SIZE + k % SIZE, mask=of_w, other=0.0)
        total += tl.load(row + 7 * SIZE + k, mask=of_b, other=0.0)  # element 16 * SIZE + k - 9 * SIZE
        row += 16 * SIZE + COUT
    tl.store(dw + k, total.to(dw.dtype.element_ty), mask=of_w)
    tl.store(db + k - 9 * SIZE, total.to(db.dtype.element_ty), mask=of_b)
