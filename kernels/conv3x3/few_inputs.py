"""3x3 windows of images of one or two channels, forward: the network's first layer, and the data gradient of its last.

    y[q, v] = act(bias[v] + sum over t, e of  x[q + t, e] w[t, e, v])     t: the nine pixels of a window

Every element of x is spread over a vector of outputs, whose nine weights for each channel stay in registers along a row
of pixels; nothing is gathered. Products are float32's. What bounds it is y's way to memory.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import FLOAT, LANES, LIKE
from ltbc.kernels.cpu.matrix import Output
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import (
    F32,
    FLOATS,
    I64,
    OVER,
    RELU,
    broadcast,
    call,
    emit_finish,
    finish_part,
    floor_of,
    is_floor,
    is_half,
    load,
    load_ir,
    load_part,
    size_of,
    splat,
    store,
    vector,
)

SEGMENT = 128  # pixels of a row that are worked on at a time, in the L1 cache


@inlined
def row_bytes(few, stride):
    """Of a row of the segment's windows, in float32: its pixels, and what the last vector reaches beyond them."""
    return 4 * ((SEGMENT * stride + 2) * few + LANES)


def make_spread(few, masked):
    """A vector of outputs at each of `width` pixels: max(bias + products, floor); masked: 0 where y was not positive.

    x: float32, its rows x_row bytes apart; w: 9 few vectors of float32, w_row bytes apart.
    """
    @intrinsic
    def spread(ctx, like, x, x_row, x_step, w, w_row, bias, floor, y, y_pixel, width):
        def code(context, builder, sig, args):
            x, x_row, x_step, w, w_row, bias, floor, y, y_pixel, width = args[1:]
            int64 = lambda x: ir.Constant(I64, x)  # noqa: E731
            half, plus, times = is_half(sig.args[0]), builder.add, builder.mul
            taps = [plus(times(x_row, int64(r)), int64(4 * e)) for r in range(3) for e in range(3 * few)]
            weights = [load_ir(builder, plus(w, times(w_row, int64(t))), FLOATS) for t in range(len(taps))]
            with cgutils.for_range(builder, width) as loop:
                at, to = (plus(a, times(loop.index, step)) for a, step in ((x, x_step), (y, y_pixel)))
                totals = [bias, None, None]
                for t, (tap, weight) in enumerate(zip(taps, weights)):
                    element, r = broadcast(builder, load_ir(builder, plus(at, tap), F32)), t // (3 * few)
                    totals[r] = builder.fmul(element, weight) if totals[r] is None else call(
                        builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, [element, weight, totals[r]])
                total = builder.fadd(builder.fadd(totals[0], totals[1]), totals[2])
                emit_finish(builder, half, total, floor, masked, to)
            return context.get_dummy_value()
        return types.void(like, *[types.int64] * 5, vector, vector, *[types.int64] * 3), code
    return spread


spread_1, spread_2, spread_1_masked, spread_2_masked = (make_spread(few, m) for m in (False, True) for few in (1, 2))


@inlined
def spread_row(like, few, masked, x, x_row, stride, w, w_row, bias, floor, y, y_pixel, width):
    """The one of these for so many channels; few times `stride` elements of 4 bytes lie between windows."""
    if few == 1:
        if masked:
            spread_1_masked(like, x, x_row, 4 * stride, w, w_row, bias, floor, y, y_pixel, width)
        else:
            spread_1(like, x, x_row, 4 * stride, w, w_row, bias, floor, y, y_pixel, width)
    elif masked:
        spread_2_masked(like, x, x_row, 8 * stride, w, w_row, bias, floor, y, y_pixel, width)
    else:
        spread_2(like, x, x_row, 8 * stride, w, w_row, bias, floor, y, y_pixel, width)


@compiled
def multiply_few_inputs(first, last, scratch, like_x, like_y, x, of_x, few, stride, w, bias, y, out):
    """of_x: strides; out: an Output. Unit: a row of y."""
    outputs, activation, of_y = out.channels, out.activation, out.strides
    filled, row = -(-outputs // LANES) * LANES, row_bytes(few, stride)
    size_x, size_y, sums = size_of(like_x), size_of(like_y), scratch + 3 * row
    masked = activation == OVER + RELU
    in_registers = outputs == filled and (is_floor(activation) or masked)  # y is written from there; else sums are
    floor = floor_of(activation)
    for unit in range(first, last):
        n, i = unit // out.height, unit % out.height
        for j in range(0, out.width, SEGMENT):
            pixels = min(SEGMENT, out.width - j)
            length = ((pixels - 1) * stride + 3) * few
            for r in range(3):
                at = pixel_at(x, of_x, n, i * stride + r, j * stride)
                for e in range(0, length, LANES):
                    store(FLOAT, scratch + r * row + 4 * e, load_part(like_x, at + e * size_x, length - e))
            to = pixel_at(y, of_y, n, i, j)
            for v in range(0, filled, LANES):
                b, weights = load(FLOAT, bias + 4 * v), w + 4 * v
                if in_registers:
                    spread_row(like_y, few, masked, x=scratch, x_row=row, stride=stride, w=weights, w_row=4 * filled,
                               bias=b, floor=floor, y=to + v * size_y, y_pixel=of_y.pixel, width=pixels)
                else:
                    spread_row(FLOAT, few, False, x=scratch, x_row=row, stride=stride, w=weights, w_row=4 * filled,
                               bias=b, floor=splat(-np.inf), y=sums + 4 * v, y_pixel=4 * filled, width=pixels)
            if not in_registers:
                for t in range(pixels):
                    for v in range(0, outputs, LANES):
                        total = load(FLOAT, sums + 4 * (filled * t + v))
                        finish_part(like_y, total, to + t * of_y.pixel + v * size_y, outputs - v, activation)


def few_inputs(x: Image, w: np.ndarray, bias: np.ndarray, y: np.ndarray, activation: int, stride: int) -> None:
    """y = act(bias + windows of x times w); x within a border of zeros, w from `few_inputs_weights`."""
    (n, height, width, cout), filled = y.shape, w.shape[1]
    b = np.zeros(filled, np.float32)
    b[:cout] = bias
    scratch = 3 * row_bytes.py_func(x.channels, stride) + 4 * filled * SEGMENT
    forall(multiply_few_inputs, n * height, scratch, like_x=LIKE[x.dtype], like_y=LIKE[y.dtype], x=x.start,
           of_x=x.strides, few=x.channels, stride=stride, w=address(w), bias=address(b), y=address(y),
           out=Output(strides(y), height, width, cout, activation=activation))


def few_inputs_weights(w: np.ndarray) -> np.ndarray:
    """w `[9, few, wide]` as float32 `[9 few, wide]`, filled up to whole vectors."""
    filled = np.zeros((9 * w.shape[1], -(-w.shape[2] // LANES) * LANES), np.float32)
    filled[:, : w.shape[2]] = w.reshape(len(filled), -1)
    return filled
