"""The register tile of a matrix product: C[rows, PANEL] (+)= A[rows, k] B[k, PANEL], all of C in registers.

(+)= means that C is overwritten where `accumulate` is 0, else added to.

B is a packed panel, 4 * PANEL bytes a step; a step of the reduction is one float32 or a pair of bfloat16 (VNNI order).
A lies row after row (`tile_of_rows`: forward) or step after step (`tile_of_steps`: weight gradients, where the
reduction runs over pixels). Every step loads B's two vectors once and multiplies them with one broadcast element a row.
The largest tile also fetches the panel behind B into the L2 cache: the one that is used next, as a rule.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ltbc.kernels.cpu.machine import LANES, LEVEL, PANEL
from ltbc.kernels.cpu.vector import (
    F32,
    FLOATS,
    I8,
    I32,
    I64,
    INTS,
    BFloat,
    broadcast,
    call,
    constant,
    is_half,
    load_ir,
    prefetch_ir,
    store_ir,
)

STEP = 4 * PANEL  # bytes of B a step
TILE_ROWS, STEP_ROWS = LEVEL.rows, LEVEL.step_rows
COLUMN = max(LANES, STEP_ROWS)  # elements that lie side by side where the left factor lies step by step


def multiply_add(builder, half, x, y, total):
    """total + x y, of pairs where half."""
    if half and LEVEL.bf16:
        pairs = ir.VectorType(BFloat(), 2 * LANES)
        x, y = builder.bitcast(x, pairs), builder.bitcast(y, pairs)
        return call(builder, LEVEL.bf16.multiply_add, FLOATS, [total, x, y])
    return call(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, [x, y, total])


def left_factors(builder, half, by_step, a, a_step, strides, unroll):
    """(step, row, element in every lane), in the order in which they are multiplied.

    Where a product's factor may be an element of a vector, a row's steps are one vector, which is used up at once.
    """
    kind, rows = I32 if half else F32, range(len(strides))
    if LEVEL.by_element and not by_step:
        for m, stride in enumerate(strides):
            steps = load_ir(builder, builder.add(a, stride), ir.VectorType(kind, unroll))
            for u in range(unroll):
                yield u, m, builder.shuffle_vector(steps, steps, ir.Constant(INTS, [u] * LANES))
        return
    for u in range(unroll):
        for m in rows:
            row = builder.add(a, ir.Constant(I64, 4 * m) if by_step else strides[m])
            yield u, m, broadcast(builder, load_ir(builder, row, kind))
        a = builder.add(a, a_step)


def emit_tile(builder, rows, columns, half, by_step, a, a_stride, steps, b, c, c_row, accumulate, *, unroll):
    """The code of one tile; steps must be a multiple of unroll. C's rows lie c_row bytes apart, A's rows, or, where
    by_step, its steps, a_stride bytes."""
    int64 = lambda x: ir.Constant(I64, x)  # noqa: E731
    a_step = a_stride if by_step else int64(4)
    strides = [builder.mul(a_stride, int64(m)) for m in range(rows)]
    c_rows = [builder.add(c, builder.mul(c_row, int64(m))) for m in range(rows)]
    columns = range(columns)

    before = builder.basic_block
    reload, loop, end = (builder.append_basic_block(name) for name in ("reload", "loop", "end"))
    builder.cbranch(builder.icmp_signed("!=", accumulate, int64(0)), reload, loop)
    builder.position_at_end(reload)
    old = [load_ir(builder, builder.add(r, int64(4 * LANES * n)), FLOATS) for r in c_rows for n in columns]
    builder.branch(loop)

    builder.position_at_end(loop)
    k, at, bt = (builder.phi(I64) for _ in range(3))
    totals = [builder.phi(FLOATS) for _ in old]
    for block in (before, reload):
        for phi, start in ((k, steps), (at, a), (bt, b)):
            phi.add_incoming(start, block)
    for total, value in zip(totals, old):
        total.add_incoming(constant(0.0), before)
        total.add_incoming(value, reload)
    sums, following = list(totals), builder.add(bt, builder.mul(steps, int64(STEP)))

    @cache
    def right_factors(u):
        places = [STEP * u + 4 * LANES * n for n in columns]
        values = [load_ir(builder, builder.add(bt, int64(p)), INTS if half else FLOATS) for p in places]
        for p in places if rows == TILE_ROWS else ():
            if p % 64 == 0:  # a line of the cache
                prefetch_ir(builder, builder.add(following, int64(p)))
        return values

    for u, m, x in left_factors(builder, half, by_step, at, a_step, strides, unroll):
        for n, w in enumerate(right_factors(u)):
            sums[m * len(columns) + n] = multiply_add(builder, half, w, x, sums[m * len(columns) + n])
    left = builder.sub(k, int64(unroll))
    a_next, b_next = builder.add(at, builder.mul(a_step, int64(unroll))), builder.add(bt, int64(STEP * unroll))
    for phi, value in ((k, left), (at, a_next), (bt, b_next), *zip(totals, sums)):
        phi.add_incoming(value, builder.basic_block)
    builder.cbranch(builder.icmp_signed(">", left, int64(0)), loop, end)

    builder.position_at_end(end)
    for m, row in enumerate(c_rows):
        for n in columns:
            store_ir(builder, sums[m * len(columns) + n], builder.add(row, int64(4 * LANES * n)))


def make_tile(rows, by_step, columns=2):
    """The tile of so many rows; `columns`: vectors of the panel that are computed, 1 where the second one is empty."""
    @intrinsic
    def tile(ctx, like, a, a_stride, steps, b, c, c_row, accumulate):
        def code(context, builder, sig, args):
            emit_tile(builder, rows, columns, is_half(sig.args[0]), by_step, *args[1:], unroll=2)
            return context.get_dummy_value()
        return types.void(like, *[types.int64] * 7), code
    return tile


tile_of_rows, narrow_tile_of_rows = make_tile(TILE_ROWS, False), make_tile(2 * TILE_ROWS, False, columns=1)
tile_of_8_rows = make_tile(8, False)
tile_of_4_rows, tile_of_1_row = make_tile(4, False), make_tile(1, False)
tile_of_steps, narrow_tile_of_steps = make_tile(STEP_ROWS, True), make_tile(STEP_ROWS, True, columns=1)


# AMX: eight tile registers of 16 rows x 64 bytes. 0 to 3 hold C [32, 32], 4 and 5 A [32, 16 pairs], 6 and 7 B.
CONFIGURATION = bytes([1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8)


def amx(builder, name, *arguments):
    """An instruction on tile registers, whose numbers are Python ints."""
    operands = [ir.Constant(I8, a) if isinstance(a, int) else a for a in arguments]
    call(builder, f"llvm.x86.{name}", ir.VoidType(), operands)


def emit_tile_registers(builder, a, a_row, steps, b, c, accumulate):
    """C[32, PANEL] (+)= A[32, steps pairs] B; steps must be a multiple of 16."""
    int64, pointer = lambda x: ir.Constant(I64, x), lambda x: builder.inttoptr(x, I8.as_pointer())  # noqa: E731
    at = lambda i, j: pointer(builder.add(c, int64(16 * i * STEP + 64 * j)))  # noqa: E731
    row, quarters = int64(STEP), [(i, j) for i in range(2) for j in range(2)]
    configuration = cgutils.global_constant(builder, "tiles", cgutils.make_bytearray(CONFIGURATION))
    amx(builder, "ldtilecfg", builder.bitcast(configuration, I8.as_pointer()))
    with builder.if_else(builder.icmp_signed("!=", accumulate, int64(0))) as (then, otherwise):
        with then:
            for i, j in quarters:
                amx(builder, "tileloadd64", 2 * i + j, at(i, j), row)
        with otherwise:
            for i, j in quarters:
                amx(builder, "tilezero", 2 * i + j)
    with cgutils.for_range(builder, builder.sdiv(steps, int64(16))) as block:
        a_now = builder.add(a, builder.mul(block.index, int64(64)))
        b_now = builder.add(b, builder.mul(block.index, int64(16 * STEP)))
        for i in range(2):
            amx(builder, "tileloadd64", 4 + i, pointer(builder.add(a_now, builder.mul(a_row, int64(16 * i)))), a_row)
            amx(builder, "tileloadd64", 6 + i, pointer(builder.add(b_now, int64(64 * i))), row)
        for i, j in quarters:
            amx(builder, "tdpbf16ps", 2 * i + j, 4 + i, 6 + j)
    for i, j in quarters:
        amx(builder, "tilestored64", 2 * i + j, at(i, j), row)
    amx(builder, "tilerelease")


@intrinsic
def tile_of_32_rows(ctx, a, a_row, steps, b, c, accumulate):
    """The same of bfloat16 in AMX's tile registers, C's rows STEP bytes apart. Only ever compiled where the level has
    them: LLVM ends the process where it is asked for instructions that its target lacks."""
    def code(context, builder, sig, args):
        emit_tile_registers(builder, *args)
        return context.get_dummy_value()
    return types.void(*[types.int64] * 6), code
