"""3x3 windows with one or two outputs, forward: the network's last layer.

    y[q, e] = act(bias[e] + sum over t, v of  x[q + t, v] w[t, v, e])     t: the nine pixels of a window

A pixel's products with all nine taps add up in one vector an output, whose lanes are summed at the end of a row, LANES
vectors at a time; nothing is gathered. The row after the next is fetched ahead: what bounds it is x's way from memory.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, aligned, pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import ARITHMETIC, BFLOAT16, FLOAT, LANES, LEVEL, LIKE
from ltbc.kernels.cpu.matrix import Output, arithmetic
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.tile import multiply_add
from ltbc.kernels.cpu.vector import (
    FLOATS,
    HALVES,
    I16,
    I32,
    I64,
    INTS,
    broadcast,
    call,
    constant,
    finish_part,
    is_half,
    load,
    load_ir,
    prefetch_ir,
    size_of,
    store_ir,
    vector,
    widen,
)

SEGMENT = 128  # pixels of a row that are worked on at a time, in the L1 cache
PAIRS = ARITHMETIC == BFLOAT16  # whether products of bfloat16 are those of pairs
WIDE_HALVES = ir.VectorType(I16, 2 * LANES)


def load_products(builder, half, address, mask):
    """The vector of a step: pairs of bfloat16 where they are multiplied, else float32; mask: None, or its lanes."""
    kind = WIDE_HALVES if half and PAIRS else HALVES if half else FLOATS
    if mask is None:
        value = load_ir(builder, address, kind)
    else:
        name = f"llvm.masked.load.v{kind.count}{'i16' if half else 'f32'}.p0"
        where = builder.inttoptr(address, kind.as_pointer())
        value = call(builder, name, kind, [where, ir.Constant(I32, 1), mask, ir.Constant(kind, None)])
    return widen(builder, value) if kind is HALVES else value


def make_dots(few):
    """At each of `width` pixels, `few` vectors of products with a vector of channels: c, overwritten or added to.

    left: channels, of which a vector's are read where the CPU masks loads. w: 9 few vectors, the outputs of a tap
    together, w_row bytes apart.
    """
    @intrinsic
    def dots(ctx, like, x, x_row, x_pixel, x_step, left, w, w_row, c, accumulate, width):
        def code(context, builder, sig, args):
            x, x_row, x_pixel, x_step, left, w, w_row, c, accumulate, width = args[1:]
            int64 = lambda x: ir.Constant(I64, x)  # noqa: E731
            half, plus, times = is_half(sig.args[0]), builder.add, builder.mul
            lanes = 2 * LANES if half and PAIRS else LANES
            mask = None
            if LEVEL.masked:
                n = broadcast(builder, builder.trunc(left, I32), lanes)
                numbers = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
                mask = builder.icmp_signed("<", numbers, n)
            taps = [plus(times(x_row, int64(r)), times(x_pixel, int64(s))) for r in range(3) for s in range(3)]
            weights = [load_products(builder, half and PAIRS, plus(w, times(w_row, int64(t))), None)
                       for t in range(9 * few)]
            again = builder.icmp_signed("!=", accumulate, int64(0))
            with cgutils.for_range(builder, width) as loop:
                at = plus(x, times(loop.index, x_step))
                c_now = plus(c, times(loop.index, int64(4 * LANES * few)))
                to = [plus(c_now, int64(4 * LANES * e)) for e in range(few)]
                totals = [builder.select(again, load_ir(builder, a, FLOATS), constant(0.0)) for a in to]
                prefetch_ir(builder, plus(at, times(x_row, int64(3))))
                for t, tap in enumerate(taps):
                    v = load_products(builder, half, plus(at, tap), mask)
                    totals = [multiply_add(builder, half and PAIRS, v, weights[t * few + e], total)
                              for e, total in enumerate(totals)]
                for a, total in zip(to, totals):
                    store_ir(builder, total, a)
            return context.get_dummy_value()
        return types.void(like, *[types.int64] * 10), code
    return dots


dots_1, dots_2 = make_dots(1), make_dots(2)


@intrinsic
def sums_across(ctx, address):
    """Lane l: the sum of the lanes of the l-th of LANES vectors there. log2(LANES) rounds that halve their number."""
    def code(context, builder, sig, args):
        at, width = [builder.add(args[0], ir.Constant(I64, 4 * LANES * i)) for i in range(LANES)], LANES
        rows = [load_ir(builder, a, FLOATS) for a in at]
        while width > 1:
            width //= 2
            kept = [i + LANES if i & width else i for i in range(LANES)]
            moved = [(i ^ width) + LANES if i & width else i ^ width for i in range(LANES)]
            shuffled = [[builder.shuffle_vector(a, b, ir.Constant(INTS, lanes)) for lanes in (kept, moved)]
                        for a, b in zip(rows[:width], rows[width:])]
            rows = [builder.fadd(*pair) for pair in shuffled]
        return rows[0]
    return vector(types.int64), code


@compiled
def multiply_few_outputs(first, last, scratch, like_x, like_y, x, of_x, channels, stride, w, step, bias, y, out):
    """of_x: strides; step: elements of w in a vector; out: an Output, pixels of which follow each other in a row.
    Unit: a row of y."""
    size_x, size_y, filled = size_of(like_x), size_of(like_y), -(-channels // step) * step
    b, c, few, x_step = load(FLOAT, bias), scratch, out.channels, stride * of_x.pixel
    size_w = 4 * LANES // step
    w_row = filled * size_w
    for unit in range(first, last):
        n, i = unit // out.height, unit % out.height
        for j in range(0, out.width, SEGMENT):
            pixels = min(SEGMENT, out.width - j)
            at = pixel_at(x, of_x, n, i * stride, j * stride)
            for v in range(0, channels, step):
                x_v, w_v, left = at + v * size_x, w + v * size_w, channels - v
                if few == 1:
                    dots_1(like_x, x_v, of_x.row, of_x.pixel, x_step, left, w_v, w_row, c, accumulate=v, width=pixels)
                else:
                    dots_2(like_x, x_v, of_x.row, of_x.pixel, x_step, left, w_v, w_row, c, accumulate=v, width=pixels)
            to = pixel_at(y, out.strides, n, i, j)
            for e in range(0, pixels * few, LANES):
                total = sums_across(c + 4 * LANES * e) + b
                finish_part(like_y, total, to + e * size_y, pixels * few - e, out.activation)


def few_outputs(x: Image, w: np.ndarray, bias: np.ndarray, y: np.ndarray, activation: int, stride: int) -> None:
    """y = act(bias + windows of x times w); x within a border of zeros, w from `few_outputs_weights`."""
    (n, height, width, few), rows = y.shape, y
    if y.strides[2] != few * y.itemsize:  # pixels that do not follow each other
        rows = aligned(y.shape, y.dtype)
        rows[...] = y
    b = np.empty(LANES, np.float32)
    b.reshape(-1, few)[...] = bias
    forall(multiply_few_outputs, n * height, 4 * LANES * (SEGMENT * few + LANES), like_x=LIKE[x.dtype],
           like_y=LIKE[y.dtype], x=x.start, of_x=x.strides, channels=x.channels, stride=stride, w=address(w),
           step=4 * LANES // w.itemsize, bias=address(b), y=address(rows),
           out=Output(strides(rows), height, width, few, activation=activation))
    if rows is not y:
        y[...] = rows


def few_outputs_weights(w: np.ndarray) -> np.ndarray:
    """w `[9, wide, few]` as `[9 few, wide]` in the dtype of products, filled up to whole vectors."""
    kind = arithmetic(w.dtype)
    step = 4 * LANES // kind.itemsize
    filled = np.zeros((9, w.shape[2], -(-w.shape[1] // step) * step), kind)
    filled[..., : w.shape[1]] = w.transpose(0, 2, 1)
    return filled.reshape(9 * w.shape[2], -1)
