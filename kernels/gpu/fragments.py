"""What Triton kernels of several operations share: activations, boxes of pixels, the ordered sum of partial results.

The pixels that a program computes form a box [BLOCK_N images, BLOCK_H rows, BLOCK_W columns], numbered
p = (n * BLOCK_H + i) * BLOCK_W + j: what tensor descriptors can move in one piece, and what costs pointers only shifts,
because the sides are powers of two.
"""

from ltbc.kernels.gpu.launch import tl, triton


@triton.jit
def activate(z, ACTIVATION: tl.constexpr):
    """act(z) of float32 z. The maximum keeps NaN, as NumPy's does: a broken value shall not turn into 0."""
    if ACTIVATION == "relu":
        z = tl.maximum(z, 0.0, propagate_nan=tl.PropagateNan.ALL)
    elif ACTIVATION == "sigmoid":
        z = tl.sigmoid(z)
    return z


@triton.jit
def activation_backward(dy, y, ACTIVATION: tl.constexpr):
    """dz = dy act'(z), the derivative taken from y; in dy's dtype for relu (exact), else float32."""
    if ACTIVATION == "relu":
        dy = tl.where(y > 0, dy, 0.0)
    elif ACTIVATION == "sigmoid":
        y = y.to(tl.float32)
        dy = dy.to(tl.float32) * (y * (1.0 - y))
    return dy


@triton.jit
def box_corner(t, I_TILES, J_TILES, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr):
    """First image, row and column of box number t; columns run fastest."""
    return t // (I_TILES * J_TILES) * BLOCK_N, t // J_TILES % I_TILES * BLOCK_H, t % J_TILES * BLOCK_W


@triton.jit
def box_pixels(n, i, j, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr):
    """Image, row and column, each [BLOCK_P], of the pixels of the box whose corner is (n, i, j)."""
    p = tl.arange(0, BLOCK_N * BLOCK_H * BLOCK_W)
    return n + p // (BLOCK_H * BLOCK_W), i + p // BLOCK_W % BLOCK_H, j + p % BLOCK_W


@triton.jit
def load_window(
    x, n0, i0, j0, r, s, c0, N, H, W, C: tl.constexpr, STRIDE: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):
    """[BLOCK_P, BLOCK_C]: what the pixels (n, i, j) of a box see through place (r, s) of their windows, that is
    x[n, i * STRIDE + r - 1, j * STRIDE + s - 1, c0...], 0 outside. With BOXES x is a descriptor, at STRIDE 2 one of
    [N, H/2, 2, W/2, 2 C]: place 0 is the second member of the pair before, 1 and 2 are this pair, 3 begins the next."""
    BLOCK_P: tl.constexpr = BLOCK_N * BLOCK_H * BLOCK_W
    if not BOXES:
        n, i, j = box_pixels(n0, i0, j0, BLOCK_N, BLOCK_H, BLOCK_W)
        h, v = i * STRIDE + r - 1, j * STRIDE + s - 1
        inside = (n < N) & (h >= 0) & (h < H) & (v >= 0) & (v < W)
        c = c0 + tl.arange(0, BLOCK_C)
        at = ((n * H + h) * W + v)[:, None] * C + c  # [BLOCK_P, BLOCK_C]
        return tl.load(x + at, mask=inside[:, None] & (c < C), other=0.0)
    elif STRIDE == 1:
        return x.load([n0, i0 + r - 1, j0 + s - 1, c0]).reshape(BLOCK_P, BLOCK_C)
    else:
        i, j = i0 + (r + 1) // 2 - 1, j0 + (s + 1) // 2 - 1
        return x.load([n0, i, (r + 1) % 2, j, (s + 1) % 2 * C + c0]).reshape(BLOCK_P, BLOCK_C)


@triton.jit
def load_pixels(
    x, n0, i0, j0, p, q, c0, N, H, W, C: tl.constexpr, STEP: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):
    """[BLOCK_P, BLOCK_C]: x[n, i * STEP + p, j * STEP + q, c0...] of a box, 0 outside, by pointers. What is loaded so
    can be the first operand of a product from shared memory; a box, whose tile is a reshaped one, would pass through
    registers. Loops over boxes change one number of it, the rest stays."""
    n, i, j = box_pixels(0, 0, 0, BLOCK_N, BLOCK_H, BLOCK_W)
    c = c0 + tl.arange(0, BLOCK_C)
    at = ((n * H + i * STEP) * W + j * STEP)[:, None] * C + c  # [BLOCK_P, BLOCK_C]
    start = ((n0 * H + i0 * STEP + p) * W + j0 * STEP + q) * C
    inside = (n < N - n0) & (i * STEP < H - i0 * STEP - p) & (j * STEP < W - j0 * STEP - q)
    return tl.load(x + start + at, mask=inside[:, None] & (c < C), other=0.0)


@triton.jit
def load_weights(
    w, tap, c0, o0, CIN: tl.constexpr, COUT: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    """[BLOCK_C, BLOCK_O]: w[tap, c0..., o0...] of w [taps, CIN, COUT]; 0 outside. With BOXES w is a descriptor of
    [taps * CIN, COUT], and rows beyond CIN are those of the next tap: whoever sums over c needs CIN % BLOCK_C == 0."""
    if BOXES:
        return w.load([tap * CIN + c0, o0])
    else:
        c, o = c0 + tl.arange(0, BLOCK_C), o0 + tl.arange(0, BLOCK_O)
        return tl.load(w + (tap * CIN + c)[:, None] * COUT + o, mask=(c < CIN)[:, None] & (o < COUT), other=0.0)


@triton.jit
def store_pixels(
    y, values, n0, i0, j0, p, q, c0, N, H, W, C: tl.constexpr, STEP: tl.constexpr, BOXES: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
):
    """y[n, i * STEP + p, j * STEP + q, c0...] = values [BLOCK_P, BLOCK_C], in y's dtype, where that lies inside. With
    BOXES y is a descriptor, at STEP 2 one of [N, H/2, 2, W/2, 2 C]; then C % BLOCK_C must be 0."""
    if not BOXES:
        n, i, j = box_pixels(n0, i0, j0, BLOCK_N, BLOCK_H, BLOCK_W)
        h, v, c = i * STEP + p, j * STEP + q, c0 + tl.arange(0, BLOCK_C)
        at = ((n * H + h) * W + v)[:, None] * C + c  # [BLOCK_P, BLOCK_C]
        inside = ((n < N) & (h < H) & (v < W))[:, None] & (c < C)
        tl.store(y + at, values.to(y.dtype.element_ty), mask=inside)
    elif STEP == 1:
        y.store([n0, i0, j0, c0], values.to(y.dtype).reshape(BLOCK_N, BLOCK_H, BLOCK_W, BLOCK_C))
    else:
        box = values.to(y.dtype).reshape(BLOCK_N, BLOCK_H, 1, BLOCK_W, BLOCK_C)
        y.store([n0, i0, p, j0, q * C + c0], box)


@triton.jit
def sum_splits_kernel(parts, dw, db, SPLITS, K, KB, BLOCK: tl.constexpr):
    """dw[k] = sum over splits, in order, of parts [SPLITS, K + KB], whose last KB columns are db's. Bound by memory."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, total = parts + k, tl.zeros((BLOCK,), tl.float32)
    for _ in range(SPLITS):
        total += tl.load(row, mask=k < K + KB, other=0.0)
        row += K + KB
    tl.store(dw + k, total.to(dw.dtype.element_ty), mask=k < K)
    tl.store(db + k - K, total.to(db.dtype.element_ty), mask=(k >= K) & (k < K + KB))
