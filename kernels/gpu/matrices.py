"""What linear and fusion share as Triton kernels: tiles of matrices, and the two products of backward over rows.

A row is an image of `linear`, or a pixel of `fusion`.
"""

from ltbc.kernels.arrays import Array
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.boxes import finish, split
from ltbc.kernels.gpu.launch import cdiv, tl, triton

STEPS = 8  # at least, of a sum over rows that is split


@triton.jit
def load_tile(x, r0, c0, ROWS, COLUMNS: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """[BLOCK_R, BLOCK_C]: x[r0..., c0...] of x [ROWS, COLUMNS], 0 outside."""
    r, c = r0 + tl.arange(0, BLOCK_R), c0 + tl.arange(0, BLOCK_C)
    return tl.load(x + r[:, None] * COLUMNS + c, mask=(r < ROWS)[:, None] & (c < COLUMNS), other=0.0)


@triton.jit
def store_tile(y, values, r0, c0, ROWS, COLUMNS: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """y[r0..., c0...] = values [BLOCK_R, BLOCK_C], in y's dtype, where that lies inside y [ROWS, COLUMNS]."""
    r, c = r0 + tl.arange(0, BLOCK_R), c0 + tl.arange(0, BLOCK_C)
    inside = (r < ROWS)[:, None] & (c < COLUMNS)
    tl.store(y + r[:, None] * COLUMNS + c, values.to(y.dtype.element_ty), mask=inside)


# dx = dz w^T of BLOCK_P rows and BLOCK_C channels a program; programs of the same rows are neighbors and share dz in
# L2. Bound by memory.
@triton.jit
def backward_data_kernel(
    dz, w, dx,
    ROWS,
    CIN: tl.constexpr, COUT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    c0, r0 = tl.program_id(0) % C_TILES * BLOCK_C, tl.program_id(0) // C_TILES * BLOCK_P
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)  # [BLOCK_P, BLOCK_C]
    for o0 in range(0, COUT, BLOCK_O):
        gradients = load_tile(dz, r0, o0, ROWS, COUT, BLOCK_P, BLOCK_O)  # [BLOCK_P, BLOCK_O]
        weights = load_tile(w, c0, o0, CIN, COUT, BLOCK_C, BLOCK_O)  # [BLOCK_C, BLOCK_O]
        total = tl.dot(gradients, weights.T, total, input_precision=PRECISION)
    store_tile(dx, total, r0, c0, ROWS, CIN, BLOCK_P, BLOCK_C)


# Partial sums of dw = x^T dz, or of db. A program runs over ROWS_A_SPLIT rows, one split, for BLOCK_C x BLOCK_O
# channels; after those of a split come its programs for db, which need no product. A split writes its own row of dw
# and db, STEP elements apart, and sum_splits_kernel adds the rows in order. Bound by writing dw where rows are few.
@triton.jit
def backward_weights_kernel(
    dz, x, dw, db,
    ROWS, ROWS_A_SPLIT, STEP,
    CIN: tl.constexpr, COUT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_O: tl.constexpr,
):
    O_TILES: tl.constexpr = (COUT + BLOCK_O - 1) // BLOCK_O
    C_TILES: tl.constexpr = (CIN + BLOCK_C - 1) // BLOCK_C
    PROGRAMS: tl.constexpr = O_TILES * (C_TILES + 1)  # a split
    split, program = tl.program_id(0) // PROGRAMS, tl.program_id(0) % PROGRAMS
    o0, c0 = program % O_TILES * BLOCK_O, program // O_TILES * BLOCK_C
    first, end = split * ROWS_A_SPLIT, tl.minimum(split * ROWS_A_SPLIT + ROWS_A_SPLIT, ROWS)
    if c0 >= CIN:
        column = tl.zeros((BLOCK_P, BLOCK_O), tl.float32)  # [BLOCK_P, BLOCK_O]
        for r0 in range(first, end, BLOCK_P):
            column += load_tile(dz, r0, o0, end, COUT, BLOCK_P, BLOCK_O).to(tl.float32)
        o = o0 + tl.arange(0, BLOCK_O)
        tl.store(db + split * STEP + o, tl.sum(column, 0).to(db.dtype.element_ty), mask=o < COUT)
        return
    total = tl.zeros((BLOCK_C, BLOCK_O), tl.float32)  # [BLOCK_C, BLOCK_O]
    for r0 in range(first, end, BLOCK_P):
        gradients = load_tile(dz, r0, o0, end, COUT, BLOCK_P, BLOCK_O)  # [BLOCK_P, BLOCK_O]
        rows = load_tile(x, r0, c0, end, CIN, BLOCK_P, BLOCK_C)  # [BLOCK_P, BLOCK_C]
        total = tl.dot(rows.T, gradients, total, input_precision=PRECISION)
    store_tile(dw + split * STEP, total, c0, o0, CIN, COUT, BLOCK_C, BLOCK_O)


def backward_data(tile: dict, dz: Array, w: Array, dx: Array) -> None:
    """Writes dx `[rows, Cin]`."""
    (rows, cin), cout = dx.shape, w.shape[1]
    launch.run(
        backward_data_kernel, (cdiv(rows, tile["BLOCK_P"]) * cdiv(cin, tile["BLOCK_C"]),), dz, w, dx, rows,
        CIN=cin, COUT=cout, PRECISION=launch.precision(), **tile,
    )


def backward_weights(op: str, tile: dict, dz: Array, x: Array, dw: Array, db: Array) -> tuple[Array, Array]:
    """Writes dw `[Cin, Cout]` and db from rows of x `[rows, Cin]` and dz `[rows, Cout]`; returns both."""
    (rows, cin), cout = x.shape, dw.shape[1]
    programs = cdiv(cout, tile["BLOCK_O"]) * (cdiv(cin, tile["BLOCK_C"]) + 1)
    unit = STEPS * tile["BLOCK_P"]
    splits = split(op, dw.shape, cout, cdiv(rows, unit), programs, dw, db)
    launch.run(
        backward_weights_kernel, (splits.number * programs,),
        dz, x, splits.dw, splits.db, rows, splits.boxes * unit, splits.step,
        CIN=cin, COUT=cout, PRECISION=launch.precision(), **tile,
    )
    return finish(splits, dw, db)
