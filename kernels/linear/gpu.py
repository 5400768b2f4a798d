"""Triton kernels of a fully connected layer: forward, split over the inputs where outputs are few; backward's two
products are those of `kernels/gpu/matrices.py`."""

from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import PROGRAMS, gradients
from ltbc.kernels.gpu.derivative import derivative
from ltbc.kernels.gpu.fragments import activate
from ltbc.kernels.gpu.launch import cdiv, tl, triton
from ltbc.kernels.gpu.matrices import backward_data, backward_weights, load_tile, store_tile
from ltbc.kernels.linear import OP

TILES = launch.tiles(OP)
STEPS = 16  # of BLOCK_C inputs, at least, of a sum that is split
FINISH_BLOCK = 1024


# z = x w of BLOCK_P rows and BLOCK_O outputs a program, over STEPS blocks of inputs, one split. The only split adds
# bias and activation itself; of several each writes its own [N, COUT] of y, which then holds partial sums. Programs of
# one split are neighbors. Bound by reading w: at a batch of 1 all of it, for one row of outputs.
@triton.jit
def forward_kernel(
    x, w, b, y,
    N, STEPS,
    CIN: tl.constexpr, COUT: tl.constexpr, SPLITS: tl.constexpr, ACTIVATION: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    program, split = tl.program_id(0) // O_TILES, tl.program_id(0) // O_TILES % SPLITS
    o0, n0 = tl.program_id(0) % O_TILES * BLOCK_O, program // SPLITS * BLOCK_P
    first = split * STEPS * BLOCK_C
    z = tl.zeros((BLOCK_P, BLOCK_O), tl.float32)  # [BLOCK_P, BLOCK_O]
    for c0 in range(first, tl.minimum(first + STEPS * BLOCK_C, CIN), BLOCK_C):
        rows = load_tile(x, n0, c0, N, CIN, BLOCK_P, BLOCK_C)  # [BLOCK_P, BLOCK_C]
        weights = load_tile(w, c0, o0, CIN, COUT, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        z = tl.dot(rows, weights, z, input_precision=PRECISION)
    if SPLITS == 1:
        o = o0 + tl.arange(0, BLOCK_O)
        z = activate(z + tl.load(b + o, mask=o < COUT, other=0.0), ACTIVATION)
    store_tile(y + split * N * COUT, z, n0, o0, N, COUT, BLOCK_P, BLOCK_O)


# y = act(b + sum over splits, in order, of parts [SPLITS, K]), K = N * COUT. Bound by memory.
@triton.jit
def finish_kernel(parts, b, y, SPLITS, K, COUT: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr):
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(b + k % COUT, mask=k < K, other=0.0)  # [BLOCK]
    row = parts + k
    for _ in range(SPLITS):
        z += tl.load(row, mask=k < K, other=0.0)
        row += K
    tl.store(y + k, activate(z, ACTIVATION).to(y.dtype.element_ty), mask=k < K)


def prepare(w, *, out=None):
    return None  # the kernels read w as it is


def forward(x, w, b, activation, *, out=None, prepared=None):
    (n, cin), cout = x.shape, w.shape[1]
    y = launch.empty((n, cout), x.dtype) if out is None else out
    launch.check(OP, x=x, w=w, b=b, y=y)
    tile = pick("forward", n, x, y)
    programs, blocks = cdiv(n, tile["BLOCK_P"]) * cdiv(cout, tile["BLOCK_O"]), cdiv(cin, tile["BLOCK_C"])
    steps = cdiv(blocks, max(1, min(blocks // STEPS, PROGRAMS // programs)))
    splits = cdiv(blocks, steps)
    to = y if splits == 1 else launch.workspace("linear.forward", (splits, n, cout))
    launch.run(
        forward_kernel, (programs * splits,), x, w, b, to, n, steps,
        CIN=cin, COUT=cout, SPLITS=splits, ACTIVATION=activation, PRECISION=launch.precision(), **tile,
    )
    if splits > 1:
        launch.run(
            finish_kernel, (cdiv(y.size, FINISH_BLOCK),), to, b, y, splits, y.size,
            COUT=cout, ACTIVATION=activation, BLOCK=FINISH_BLOCK, num_warps=4,
        )
    return y


def backward(dy, x, w, y, activation, *, needs_dx=True, needs_dw=True, out=(None, None, None), prepared=None):
    launch.check(OP, dy=dy, x=x, w=w, y=y, dx=out[0], dw=out[1], db=out[2])
    dz, dx = derivative(dy, y, activation, x.dtype), None
    if needs_dx:
        dx = launch.empty(x.shape, x.dtype) if out[0] is None else out[0]
        backward_data(pick("backward_data", x.shape[0], dz, x, dx), dz, w, dx)
    if not needs_dw:
        return dx, None, None
    dw, db = gradients(w, *out[1:])
    return dx, *backward_weights(OP, pick("backward_weights", x.shape[0], dz, x), dz, x, dw, db)


def pick(kernel, rows, *arrays):
    """The table's tile for that many rows of arrays of those dtypes."""
    return launch.pick(TILES[kernel], bytes=max(a.dtype.itemsize for a in arrays), batch=rows)
