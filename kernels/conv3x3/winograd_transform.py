"""Transforms of small squares of vectors, M X M^T, as Winograd's convolutions need them: unrolled, in registers.

M is one of the matrices of a `winograd.Algorithm`. It must be known when a kernel is compiled: then its zeros and ones
leave nothing but additions. Numba compiles a kernel for each type of its arguments, and each algorithm is a class,
hence a type. So the intrinsics here take M from the class of the `algorithm` that a kernel hands them; `matrix_of` says
which of its matrices.
"""

from itertools import chain

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ltbc.kernels.cpu.machine import LANES
from ltbc.kernels.cpu.vector import (
    FLOATS,
    HALVES,
    I64,
    call,
    constant,
    emit_finish,
    emit_steps,
    is_half,
    load_ir,
    narrow,
    store_ir,
    vector,
    widen,
)


def combination(builder, coefficients, values):
    """Sum of constants times vectors, without the products by 0, 1 and -1."""
    terms = sorted(((c, v) for c, v in zip(coefficients, values) if c), key=lambda term: term[0] != 1)
    (c, total), *rest = terms
    total = total if c == 1 else builder.fmul(constant(float(c)), total)
    for c, v in rest:
        if abs(c) == 1:
            total = (builder.fadd if c == 1 else builder.fsub)(total, v)
        else:
            total = call(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, [constant(float(c)), v, total])
    return total


def sandwich(builder, matrix, half, x, row, pixel):
    """M X M^T of the square of vectors X at x, as rows."""
    n, at = matrix.shape[1], lambda i, j: builder.add(x, builder.add(
        builder.mul(row, ir.Constant(I64, i)), builder.mul(pixel, ir.Constant(I64, j))))
    fetch = lambda a: widen(builder, load_ir(builder, a, HALVES)) if half else load_ir(builder, a, FLOATS)  # noqa: E731
    square = [[fetch(at(i, j)) for j in range(n)] for i in range(n)]
    half_way = [[combination(builder, m, column) for m in matrix] for column in zip(*square)]
    return [[combination(builder, m, line) for m in matrix] for line in zip(*half_way)]


def transform(matrix_of):
    """An intrinsic: V = M X M^T of squares of vectors, X[i, j] at x + i row + j pixel, V[i, j] `plane` apart."""
    @intrinsic
    def apply(ctx, algorithm, like_x, like_v, x, row, pixel, v, plane):
        def code(context, builder, sig, args):
            matrix = matrix_of(sig.args[0].instance_class)
            rows = sandwich(builder, matrix, is_half(sig.args[1]), *args[3:6])
            for i, value in enumerate(chain(*rows)):
                value = narrow(builder, value) if is_half(sig.args[2]) else value
                store_ir(builder, value, builder.add(args[6], builder.mul(args[7], ir.Constant(I64, i))))
            return context.get_dummy_value()
        return types.void(algorithm, like_x, like_v, *[types.int64] * 5), code
    return apply


def transform_finish(matrix_of, masked=False):
    """The same of float32 squares, then max(V + bias, floor), V[i, j] stored at y + i y_row + j y_pixel.

    masked: and times relu's derivative at what is overwritten (`emit_finish`).
    """
    @intrinsic
    def apply(ctx, algorithm, like_y, x, row, pixel, bias, floor, y, y_row, y_pixel):
        def code(context, builder, sig, args):
            matrix = matrix_of(sig.args[0].instance_class)
            x, row, pixel, bias, floor, y, y_row, y_pixel = args[2:]
            for i, line in enumerate(sandwich(builder, matrix, False, x, row, pixel)):
                at = builder.add(y, builder.mul(y_row, ir.Constant(I64, i)))
                for j, value in enumerate(line):
                    to = builder.add(at, builder.mul(y_pixel, ir.Constant(I64, j)))
                    emit_finish(builder, is_half(sig.args[1]), builder.fadd(value, bias), floor, masked, to)
            return context.get_dummy_value()
        arguments = [types.int64] * 3 + [vector] * 2 + [types.int64] * 3
        return types.void(algorithm, like_y, *arguments), code
    return apply


def transform_steps(matrix_of):
    """The same of two squares, x0 and x1, stored as two steps of a reduction (`store_steps`)."""
    @intrinsic
    def apply(ctx, algorithm, kind, like_x, x0, x1, row, pixel, v, plane, step):
        def code(context, builder, sig, args):
            matrix, half = matrix_of(sig.args[0].instance_class), is_half(sig.args[1])
            row, pixel, v, plane, step = args[5:]
            pairs = (chain(*sandwich(builder, matrix, is_half(sig.args[2]), x, row, pixel)) for x in args[3:5])
            for i, (v0, v1) in enumerate(zip(*pairs)):
                emit_steps(builder, half, builder.add(v, builder.mul(plane, ir.Constant(I64, i))), step, v0, v1)
            return context.get_dummy_value()
        return types.void(algorithm, kind, like_x, *[types.int64] * 7), code
    return apply
