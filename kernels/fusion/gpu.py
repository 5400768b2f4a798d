"""Triton kernels of the fusion layer: forward in one, and backward of the global half; the mid-level half of backward
is two products over pixels, those of `kernels/gpu/matrices.py`."""

from ltbc.kernels.fusion import OP
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import gradients
from ltbc.kernels.gpu.derivative import derivative_and_sums
from ltbc.kernels.gpu.fragments import activate
from ltbc.kernels.gpu.launch import cdiv, tl, triton
from ltbc.kernels.gpu.matrices import backward_data, backward_weights, load_tile, store_tile

TILES = launch.tiles(OP)


# y of BLOCK_P pixels of one image and BLOCK_O channels a program; programs of the same pixels are neighbors and share
# them in L2. The global half of z is a vector times a matrix, computed once a program in float32, and joins the bias;
# the mid-level half is a matrix product. Bound by memory.
@triton.jit
def forward_kernel(
    mid, global_, w, b, y,
    PIXELS, TILES,
    CG: tl.constexpr, CM: tl.constexpr, COUT: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    o0, tile = tl.program_id(0) % O_TILES * BLOCK_O, tl.program_id(0) // O_TILES
    image = tile // TILES
    p0, end = image * PIXELS + tile % TILES * BLOCK_P, (image + 1) * PIXELS
    products = tl.zeros((BLOCK_C, BLOCK_O), tl.float32)  # [BLOCK_C, BLOCK_O]
    for g0 in range(0, CG, BLOCK_C):
        g = g0 + tl.arange(0, BLOCK_C)
        vector = tl.load(global_ + image * CG + g, mask=g < CG, other=0.0).to(tl.float32)
        products += vector[:, None] * load_tile(w, g0, o0, CG, COUT, BLOCK_C, BLOCK_O).to(tl.float32)
    o = o0 + tl.arange(0, BLOCK_O)
    bias = tl.load(b + o, mask=o < COUT, other=0.0) + tl.sum(products, 0)  # [BLOCK_O]
    z = tl.zeros((BLOCK_P, BLOCK_O), tl.float32)  # [BLOCK_P, BLOCK_O]
    for c0 in range(0, CM, BLOCK_C):
        pixels = load_tile(mid, p0, c0, end, CM, BLOCK_P, BLOCK_C)  # [BLOCK_P, BLOCK_C]
        weights = load_tile(w + CG * COUT, c0, o0, CM, COUT, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        z = tl.dot(pixels, weights, z, input_precision=PRECISION)
    store_tile(y, activate(z + bias, ACTIVATION), p0, o0, end, COUT, BLOCK_P, BLOCK_O)


@triton.jit
def load_sums(
    sums, n0, o0, N, TILES: tl.constexpr, COUT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_O: tl.constexpr
):
    """[BLOCK_N, BLOCK_O]: s[n, o], the sum over an image's tiles, in order, of sums [N, TILES, COUT]."""
    n, o = n0 + tl.arange(0, BLOCK_N), o0 + tl.arange(0, BLOCK_O)
    at, inside = (n * TILES)[:, None] * COUT + o, (n < N)[:, None] & (o < COUT)
    total = tl.zeros((BLOCK_N, BLOCK_O), tl.float32)
    for t in range(TILES):
        total += tl.load(sums + at + t * COUT, mask=inside, other=0.0)
    return total


# The global half of backward. The first programs compute dglobal = s w[:CG]^T of BLOCK_N images and BLOCK_G channels,
# the others dw[:CG] = global_^T s of BLOCK_G x BLOCK_O channels. s stays in float32: 16 bits may not hold an image's
# sum. Small; bound by latency.
@triton.jit
def backward_global_kernel(
    sums, global_, w, dglobal, dw,
    N, TILES: tl.constexpr,
    CG: tl.constexpr, COUT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_G: tl.constexpr, BLOCK_O: tl.constexpr,
):
    G_TILES: tl.constexpr = (CG + BLOCK_G - 1) // BLOCK_G
    program, n_tiles = tl.program_id(0), (N + BLOCK_N - 1) // BLOCK_N
    g0, rest = program % G_TILES * BLOCK_G, program // G_TILES
    if rest < n_tiles:
        n0 = rest * BLOCK_N
        dvector = tl.zeros((BLOCK_N, BLOCK_G), tl.float32)  # [BLOCK_N, BLOCK_G]
        for o0 in range(0, COUT, BLOCK_O):
            s = load_sums(sums, n0, o0, N, TILES, COUT, BLOCK_N, BLOCK_O)  # [BLOCK_N, BLOCK_O]
            weights = load_tile(w, g0, o0, CG, COUT, BLOCK_G, BLOCK_O).to(tl.float32)  # [BLOCK_G, BLOCK_O]
            dvector = tl.dot(s, weights.T, dvector, input_precision=PRECISION)
        store_tile(dglobal, dvector, n0, g0, N, CG, BLOCK_N, BLOCK_G)
    else:
        o0 = (rest - n_tiles) * BLOCK_O
        total = tl.zeros((BLOCK_G, BLOCK_O), tl.float32)  # [BLOCK_G, BLOCK_O]
        for n0 in range(0, N, BLOCK_N):
            s = load_sums(sums, n0, o0, N, TILES, COUT, BLOCK_N, BLOCK_O)  # [BLOCK_N, BLOCK_O]
            vectors = load_tile(global_, n0, g0, N, CG, BLOCK_N, BLOCK_G).to(tl.float32)  # [BLOCK_N, BLOCK_G]
            total = tl.dot(vectors.T, s, total, input_precision=PRECISION)
        store_tile(dw, total, g0, o0, CG, COUT, BLOCK_G, BLOCK_O)


def prepare(w, *, out=None):
    return None  # the kernels read w as it is


def forward(mid, global_, w, b, activation, *, out=None, prepared=None):
    (n, h, width, cm), cg, cout = mid.shape, global_.shape[1], w.shape[1]
    y = launch.empty((n, h, width, cout), mid.dtype) if out is None else out
    launch.check(OP, mid=mid, global_=global_, w=w, b=b, y=y)
    tile = pick("forward", mid, y)
    tiles = cdiv(h * width, tile["BLOCK_P"])
    launch.run(
        forward_kernel, (n * tiles * cdiv(cout, tile["BLOCK_O"]),), mid, global_, w, b, y, h * width, tiles,
        CG=cg, CM=cm, COUT=cout, ACTIVATION=activation, PRECISION=launch.precision(), **tile,
    )
    return y


def backward(dy, mid, global_, w, y, activation, *, out=(None,) * 4, prepared=None):
    launch.check(OP, dy=dy, mid=mid, global_=global_, w=w, y=y, dmid=out[0], dglobal=out[1], dw=out[2], db=out[3])
    dmid, dglobal = (launch.empty(x.shape, x.dtype) if o is None else o for x, o in zip((mid, global_), out))
    dw, db = gradients(w, *out[2:])
    n, cg, cout = mid.shape[0], global_.shape[1], w.shape[1]
    dz, sums = derivative_and_sums(dy, y, activation, mid.dtype)
    flat_dz, pixels, flat_dmid = (a.reshape(-1, a.shape[3]) for a in (dz, mid, dmid))
    backward_data(pick("backward_data", mid, dz, dmid), flat_dz, w[cg:], flat_dmid)
    backward_weights(OP, pick("backward_weights", mid, dz), flat_dz, pixels, dw[cg:], db)
    tile = pick("backward_global")
    programs = cdiv(cg, tile["BLOCK_G"]) * (cdiv(n, tile["BLOCK_N"]) + cdiv(cout, tile["BLOCK_O"]))
    launch.run(
        backward_global_kernel, (programs,), sums, global_, w, dglobal, dw, n,
        TILES=sums.shape[1], CG=cg, COUT=cout, PRECISION=launch.precision(), **tile,
    )
    return dmid, dglobal, dw, db


def pick(kernel, *arrays):
    """The table's tile for arrays of those dtypes; without any, of the smallest."""
    pixels = arrays[0].size // arrays[0].shape[3] if arrays else 0
    return launch.pick(TILES[kernel], bytes=max((a.dtype.itemsize for a in arrays), default=0), pixels=pixels)
