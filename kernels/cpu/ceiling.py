"""How many operations a second the CPU can do at most: products of what is in registers already, on every thread."""

import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LANES, LIKE
from ltbc.kernels.cpu.matrix import arithmetic
from ltbc.kernels.cpu.threads import forall, threads
from ltbc.kernels.cpu.tile import TILE_ROWS, multiply_add
from ltbc.kernels.cpu.vector import F32, FLOATS, I32, I64, is_half, load_ir, store_ir

SUMS = 2 * TILE_ROWS  # as many as a tile of the kernels has
STEPS = 1 << 20


@intrinsic
def multiply_registers(ctx, like, steps, at):
    """SUMS running sums of products of the two vectors at `at`, `steps` times; their total is written there."""
    def code(context, builder, sig, args):
        steps, at = args[1:]
        half = is_half(sig.args[0])
        kind = ir.VectorType(I32, LANES) if half else FLOATS
        x, y = (load_ir(builder, builder.add(at, ir.Constant(I64, 4 * LANES * i)), kind) for i in range(2))
        sums = [cgutils.alloca_once_value(builder, ir.Constant(FLOATS, [ir.Constant(F32, float(i))] * LANES))
                for i in range(SUMS)]
        with cgutils.for_range(builder, steps):
            for total in sums:
                builder.store(multiply_add(builder, half, x, y, builder.load(total)), total)
        total = builder.load(sums[0])
        for other in sums[1:]:
            total = builder.fadd(total, builder.load(other))
        store_ir(builder, total, at)
        return context.get_dummy_value()
    return types.void(like, types.int64, types.int64), code


@compiled
def spin(first, last, scratch, like, at, steps):
    """Unit: all steps, on vectors of its own."""
    for unit in range(first, last):
        multiply_registers(like, steps, at + 8 * LANES * unit)


def operations_a_second(dtype, seconds=1.0):
    """The most seen within that time: multiplications and additions of products in the arithmetic of that storage."""
    kind, units, best = arithmetic(dtype), threads(), 0.0
    done = units * STEPS * SUMS * LANES * 2 * (4 // kind.itemsize)
    begun = time.perf_counter()
    while not best or time.perf_counter() - begun < seconds:
        vectors = np.zeros((units, 2 * LANES), np.float32)
        start = time.perf_counter()
        forall(spin, units, 0, LIKE[kind], address(vectors), STEPS)
        best = max(best, done / (time.perf_counter() - start))
    return best
