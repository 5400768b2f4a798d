"""Weight gradients of 3x3 windows where one side has one or two channels: the network's first and last layer.

    c[e, t, v] = sum over pixels q of  thin[q + t, e] wide[q, v]        t: the nine pixels of a window

Nine sums of vectors stay in registers along a row of pixels; nothing is packed or written in between. Products are
float32's: so few elements would leave the pairs of bfloat16's products empty.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, pixel_at
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.elementwise import BANDS
from ltbc.kernels.cpu.machine import FLOAT, LANES, LEVEL, LIKE
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import (
    F32,
    FLOATS,
    HALVES,
    I16,
    I32,
    I64,
    broadcast,
    call,
    is_half,
    load_ir,
    size_of,
    splat,
    store,
    store_ir,
    widen,
)

FEW_CHANNELS = 2  # channels of the thin side, at most
COLUMNS = 2 if LEVEL.rows > 9 else 1  # vectors of the wide side at a time: 18 or 9 sums in registers
WIDE = COLUMNS * LANES


@intrinsic
def add_row(ctx, like, thin, thin_row, thin_pixel, thin_step, wide, wide_pixel, width, c, c_row):
    """Adds the products of a row of `width` pixels to the nine rows of c, WIDE columns of each.

    thin: an element of the first window's corner; the window's rows lie thin_row bytes apart, its pixels thin_pixel,
    neighboring windows thin_step. wide: the first pixel, the next one wide_pixel bytes on. c's rows: c_row bytes apart.
    """
    def code(context, builder, sig, args):
        half, plus = is_half(sig.args[0]), builder.add
        thin, thin_row, thin_pixel, thin_step, wide, wide_pixel, width, c, c_row = args[1:]
        int64 = lambda x: ir.Constant(I64, x)  # noqa: E731
        places = [plus(plus(c, builder.mul(c_row, int64(t))), int64(4 * LANES * n))
                  for t in range(9) for n in range(COLUMNS)]
        taps = [plus(builder.mul(thin_row, int64(r)), builder.mul(thin_pixel, int64(s)))
                for r in range(3) for s in range(3)]
        old, before = [load_ir(builder, place, FLOATS) for place in places], builder.basic_block
        loop, end = builder.append_basic_block("loop"), builder.append_basic_block("end")
        builder.branch(loop)
        builder.position_at_end(loop)
        left, at, at_wide = (builder.phi(I64) for _ in range(3))
        sums = [builder.phi(FLOATS) for _ in old]
        for phi, start in zip((left, at, at_wide, *sums), (width, thin, wide, *old)):
            phi.add_incoming(start, before)
        vectors = [load_ir(builder, plus(at_wide, int64(LANES * n * (2 if half else 4))), HALVES if half else FLOATS)
                   for n in range(COLUMNS)]
        vectors = [widen(builder, v) if half else v for v in vectors]
        totals = []
        for t, tap in enumerate(taps):
            x = load_ir(builder, plus(at, tap), I16 if half else F32)
            if half:
                x = builder.bitcast(builder.shl(builder.zext(x, I32), ir.Constant(I32, 16)), F32)
            x = broadcast(builder, x)
            totals += [call(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, [x, v, sums[t * COLUMNS + n]])
                       for n, v in enumerate(vectors)]
        fewer = builder.sub(left, int64(1))
        ends = (fewer, plus(at, thin_step), plus(at_wide, wide_pixel), *totals)
        for phi, value in zip((left, at, at_wide, *sums), ends):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed(">", fewer, int64(0)), loop, end)
        builder.position_at_end(end)
        for place, total in zip(places, totals):
            store_ir(builder, total, place)
        return context.get_dummy_value()
    return types.void(like, *[types.int64] * 9), code


@compiled
def multiply_thin(first, last, scratch, like, thin, of_thin, wide, of_wide, c, few, channels, step, height, width,
                  bands):
    """of_thin, of_wide: strides; step: the stride of windows. Unit: a band of rows, with sums of its own."""
    size, elements = size_of(like), few * 9 * channels
    for unit in range(first, last):
        n, band = unit // bands, unit % bands
        to = c + 4 * elements * unit
        for e in range(0, elements, LANES):
            store(FLOAT, to + 4 * e, splat(0.0))
        for i in range(height * band // bands, height * (band + 1) // bands):
            thin_row, wide_row = pixel_at(thin, of_thin, n, i * step, 0), pixel_at(wide, of_wide, n, i + 1, 1)
            for e in range(few):
                for v in range(0, channels, WIDE):
                    add_row(like, thin=thin_row + e * size, thin_row=of_thin.row, thin_pixel=of_thin.pixel,
                            thin_step=step * of_thin.pixel, wide=wide_row + v * size, wide_pixel=of_wide.pixel,
                            width=width, c=to + 4 * (9 * channels * e + v), c_row=4 * channels)


def thin_gradient(thin: Image, wide: Image, shape: tuple[int, ...], stride: int = 1) -> np.ndarray:
    """c `[few, 9, channels]`; shape `[N, height, width, channels]`: of the wide side. Both within borders of zeros."""
    n, height, width, channels = shape
    few, bands = thin.channels, min(BANDS, height)
    c = np.empty((n * bands, few, 9, channels), np.float32)
    forall(multiply_thin, n * bands, 0, like=LIKE[thin.dtype], thin=thin.start, of_thin=thin.strides, wide=wide.start,
           of_wide=wide.strides, c=address(c), few=few, channels=channels, step=stride, height=height, width=width,
           bands=bands)
    return c.sum(0)
