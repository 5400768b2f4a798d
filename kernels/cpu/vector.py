"""Vectors of `LANES` float32 in Numba code: what every cpu kernel is written in.

    v = load(like, address); store(like, address, relu(a * b + c))

Addresses are int64. `like` is an element of the array behind the address, `machine.FLOAT` or, for bfloat16,
`machine.HALF`: its type, not its value, selects the conversion when the kernel is compiled. Arithmetic is +, -, *, and
the functions below; numbers join it by `splat`.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.compiler import inlined
from ltbc.kernels.cpu.machine import LANES, LEVEL

I1, I8, I16, I32, I64, F32 = *(ir.IntType(bits) for bits in (1, 8, 16, 32, 64)), ir.FloatType()
FLOATS, INTS, HALVES = (ir.VectorType(t, LANES) for t in (F32, I32, I16))
MASK = ir.VectorType(I1, LANES)


class BFloat(ir.types._BaseFloatType):
    """LLVM's bfloat, which llvmlite lacks; never used for constants."""

    null, intrinsic_name = "0.0", "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloat._create_instance()


class Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(f"vector{LANES}")


vector = Vector()


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, FLOATS)


def constant(x, kind=FLOATS):
    """A vector of the number x."""
    return ir.Constant(kind, [ir.Constant(kind.element, x)] * LANES)


def call(builder, name, result, arguments):
    """Calls an LLVM intrinsic."""
    function = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def broadcast(builder, x, lanes=LANES):
    one = builder.insert_element(ir.Constant(ir.VectorType(x.type, lanes), ir.Undefined), x, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def load_ir(builder, address, kind):
    """Any LLVM value at an address of any alignment."""
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def store_ir(builder, value, address):
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def narrow(builder, v):
    """float32 to the 16 bits of bfloat16, to nearest even; NaN stays NaN."""
    if LEVEL.bf16:
        return builder.bitcast(builder.fptrunc(v, ir.VectorType(BFloat(), LANES)), HALVES)
    bits = builder.bitcast(v, INTS)
    odd = builder.and_(builder.lshr(bits, constant(16, INTS)), constant(1, INTS))
    rounded = builder.add(bits, builder.add(odd, constant(0x7FFF, INTS)))
    quiet = builder.or_(bits, constant(0x400000, INTS))
    rounded = builder.select(builder.fcmp_unordered("uno", v, v), quiet, rounded)
    return builder.trunc(builder.lshr(rounded, constant(16, INTS)), HALVES)


def widen(builder, halves):
    return builder.bitcast(builder.shl(builder.zext(halves, INTS), constant(16, INTS)), FLOATS)


READ, WRITE = (0, 2, 1), (1, 3, 1)  # what LLVM is told of a cache line that is wanted: in L2, or to be written


def prefetch_ir(builder, address, purpose=READ):
    """Asks for the cache line there to be brought near; any address will do."""
    where = builder.inttoptr(address, I8.as_pointer())
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [where, *(ir.Constant(I32, x) for x in purpose)])


def fetching(purpose):
    """The same in Numba code."""
    @intrinsic
    def fetch(ctx, address):
        def code(context, builder, sig, args):
            prefetch_ir(builder, args[0], purpose)
            return context.get_dummy_value()
        return types.void(types.int64), code
    return fetch


prefetch, prefetch_store = fetching(READ), fetching(WRITE)


def is_half(like):
    return like == types.uint16


def counted(builder, n):
    """The mask of the first n lanes."""
    n = broadcast(builder, builder.trunc(n, I32))
    return builder.icmp_signed("<", ir.Constant(INTS, list(range(LANES))), n)


def either(builder, n):
    """Yields False where the code for part of a vector is due; before, where LLVM makes that a branch a lane, True
    where that for a whole one is: n is LANES or more, as nearly always."""
    if LEVEL.masked:
        yield False
        return
    with builder.if_else(builder.icmp_signed(">=", n, ir.Constant(I64, LANES)), likely=True) as (whole, part):
        with whole:
            yield True
        with part:
            yield False


def masked(builder, action, kind, result, arguments):
    name = f"llvm.masked.{action}.v{LANES}{'i16' if kind is HALVES else 'f32'}.p0"
    return call(builder, name, result, arguments)


@intrinsic
def load(ctx, like, address):
    """LANES elements."""
    def code(context, builder, sig, args):
        if is_half(sig.args[0]):
            return widen(builder, load_ir(builder, args[1], HALVES))
        return load_ir(builder, args[1], FLOATS)
    return vector(like, types.int64), code


@intrinsic
def load_part(ctx, like, address, n):
    """The first n elements (n may be LANES or more), zeros behind them; nothing else is touched."""
    def code(context, builder, sig, args):
        (_, address, n), kind = args, HALVES if is_half(sig.args[0]) else FLOATS
        values = cgutils.alloca_once(builder, kind)
        for whole in either(builder, n):
            if whole:
                found = load_ir(builder, address, kind)
            else:
                where = builder.inttoptr(address, kind.as_pointer())
                found = masked(builder, "load", kind, kind, [
                    where, ir.Constant(I32, 1), counted(builder, n), ir.Constant(kind, None)])
            builder.store(found, values)
        values = builder.load(values)
        return widen(builder, values) if kind is HALVES else values
    return vector(like, types.int64, types.int64), code


@intrinsic
def store(ctx, like, address, v):
    """LANES elements."""
    def code(context, builder, sig, args):
        store_ir(builder, narrow(builder, args[2]) if is_half(sig.args[0]) else args[2], args[1])
        return context.get_dummy_value()
    return types.void(like, types.int64, vector), code


@intrinsic
def store_part(ctx, like, address, v, n):
    """The first n elements."""
    def code(context, builder, sig, args):
        half = is_half(sig.args[0])
        value, kind = (narrow(builder, args[2]), HALVES) if half else (args[2], FLOATS)
        for whole in either(builder, args[3]):
            if whole:
                store_ir(builder, value, args[1])
            else:
                where = builder.inttoptr(args[1], kind.as_pointer())
                masked(builder, "store", kind, ir.VoidType(), [
                    value, where, ir.Constant(I32, 1), counted(builder, args[3])])
        return context.get_dummy_value()
    return types.void(like, types.int64, vector, types.int64), code


def emit_finish(builder, half, value, floor, masked, to):
    """Stores max(value, floor); masked: times relu's derivative at what is overwritten, 0 unless that is positive."""
    value = builder.select(builder.fcmp_ordered(">", floor, value), floor, value)
    if masked:
        old = load_ir(builder, to, HALVES if half else FLOATS)
        old = widen(builder, old) if half else old
        value = builder.select(builder.fcmp_ordered(">", old, constant(0.0)), value, constant(0.0))
    store_ir(builder, narrow(builder, value) if half else value, to)


def emit_rows(builder, half, address, step, v0, v1):
    """Stores two rows of a reduction as tiles read them, of elements that have their type already."""
    if half:
        low, high = (builder.zext(v, INTS) for v in (v0, v1))
        store_ir(builder, builder.or_(low, builder.shl(high, constant(16, INTS))), address)
    else:
        store_ir(builder, v0, address)
        store_ir(builder, v1, builder.add(address, step))


def emit_steps(builder, half, address, step, v0, v1):
    """The same of float32 vectors."""
    if half and LEVEL.bf16:
        pairs = call(builder, LEVEL.bf16.narrow, ir.VectorType(BFloat(), 2 * LANES), [v1, v0])
        turns = [lane + LANES * i for lane in range(LANES) for i in (0, 1)]
        pairs = builder.bitcast(pairs, ir.VectorType(I16, 2 * LANES))
        turns = ir.Constant(ir.VectorType(I32, 2 * LANES), turns)
        store_ir(builder, builder.shuffle_vector(pairs, pairs, turns), address)
    else:
        rows = (narrow(builder, v) if half else v for v in (v0, v1))
        emit_rows(builder, half, address, step, *rows)


@intrinsic
def store_steps(ctx, like, address, step, v0, v1):
    """Two rows of a reduction as tiles read them: bfloat16 in pairs, float32 one after another, `step` bytes apart."""
    def code(context, builder, sig, args):
        emit_steps(builder, is_half(sig.args[0]), *args[1:])
        return context.get_dummy_value()
    return types.void(like, types.int64, types.int64, vector, vector), code


@intrinsic
def copy_steps(ctx, like, address, step, row0, row1):
    """The same of two rows in memory, LANES elements of each, which are not converted."""
    def code(context, builder, sig, args):
        (_, address, step, *rows), half = args, is_half(sig.args[0])
        rows = (load_ir(builder, row, HALVES if half else FLOATS) for row in rows)
        emit_rows(builder, half, address, step, *rows)
        return context.get_dummy_value()
    return types.void(like, *[types.int64] * 4), code


@intrinsic
def get(ctx, like, address):
    """One element, as float32."""
    def code(context, builder, sig, args):
        if is_half(sig.args[0]):
            bits = builder.zext(load_ir(builder, args[1], I16), I32)
            return builder.bitcast(builder.shl(bits, ir.Constant(I32, 16)), F32)
        return load_ir(builder, args[1], F32)
    return types.float32(like, types.int64), code


@intrinsic
def size_of(ctx, like):
    """Bytes of an element."""
    def code(context, builder, sig, args):
        return ir.Constant(I64, 2 if is_half(sig.args[0]) else 4)
    return types.int64(like), code


@intrinsic
def same(ctx, like_a, like_b):
    """Whether both are of one type: a constant, so that the branch that is not taken is never compiled."""
    def code(context, builder, sig, args):
        return ir.Constant(I1, sig.args[0] == sig.args[1])
    return types.boolean(like_a, like_b), code


@intrinsic
def copy_bytes(ctx, target, source, n):
    def code(context, builder, sig, args):
        byte = I8.as_pointer()
        to, start = (builder.inttoptr(a, byte) for a in args[:2])
        cgutils.raw_memcpy(builder, to, start, args[2], ir.Constant(I64, 1))
        return context.get_dummy_value()
    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def splat(ctx, x):
    """The number x in every lane."""
    def code(context, builder, sig, args):
        return broadcast(builder, context.cast(builder, args[0], sig.args[0], types.float32))
    return vector(x), code


@intrinsic
def root(ctx, a):
    """Square root."""
    def code(context, builder, sig, args):
        return call(builder, f"llvm.sqrt.v{LANES}f32", FLOATS, args)
    return vector(vector), code


@intrinsic
def muladd(ctx, a, b, c):
    """a b + c, rounded once where the CPU can."""
    def code(context, builder, sig, args):
        return call(builder, f"llvm.fmuladd.v{LANES}f32", FLOATS, args)
    return vector(vector, vector, vector), code


@intrinsic
def larger(ctx, a, b):
    """The larger one; b where either is NaN."""
    def code(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)
    return vector(vector, vector), code


@intrinsic
def where_positive(ctx, c, a, b):
    """a where c > 0, else b."""
    def code(context, builder, sig, args):
        c, a, b = args
        return builder.select(builder.fcmp_ordered(">", c, constant(0.0)), a, b)
    return vector(vector, vector, vector), code


@intrinsic
def power_of_two(ctx, n):
    """2^n of integral n, -126..127."""
    def code(context, builder, sig, args):
        biased = builder.add(builder.fptosi(args[0], INTS), constant(127, INTS))
        return builder.bitcast(builder.shl(biased, constant(23, INTS)), FLOATS)
    return vector(vector), code


@intrinsic
def rounded(ctx, a):
    """To the nearest integer."""
    def code(context, builder, sig, args):
        return call(builder, f"llvm.nearbyint.v{LANES}f32", FLOATS, args)
    return vector(vector), code


@intrinsic
def lanes_sum(ctx, a):
    """Sum of the lanes, from the first to the last."""
    def code(context, builder, sig, args):
        return call(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", F32, [ir.Constant(F32, 0.0), args[0]])
    return types.float32(vector), code


@intrinsic
def transpose(ctx, source, source_step, target, target_step):
    """Transposes LANES x LANES elements of 4 bytes, rows so many bytes apart: log2(LANES) rounds of exchanges."""
    def code(context, builder, sig, args):
        source, source_step, target, target_step = args
        place = lambda start, step, i: builder.add(start, builder.mul(step, ir.Constant(I64, i)))  # noqa: E731
        rows, width = [load_ir(builder, place(source, source_step, i), INTS) for i in range(LANES)], LANES // 2
        while width:
            low = [i + LANES - width if i & width else i for i in range(LANES)]
            high = [i + LANES if i & width else i + width for i in range(LANES)]
            for i in (i for i in range(LANES) if not i & width):
                pair = rows[i], rows[i + width]
                for j, lanes in ((i, low), (i + width, high)):
                    rows[j] = builder.shuffle_vector(*pair, ir.Constant(INTS, lanes))
            width //= 2
        for i, row in enumerate(rows):
            store_ir(builder, row, place(target, target_step, i))
        return context.get_dummy_value()
    return types.void(*[types.int64] * 4), code


for operation, emit in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
                        (operator.truediv, "fdiv")):

    @infer_global(operation)
    class Typing(ConcreteTemplate):
        cases = [signature(vector, vector, vector)]

    @lower_builtin(operation, vector, vector)
    def lower(context, builder, sig, args, emit=emit):
        return getattr(builder, emit)(*args)


@inlined
def exponential(x):
    """e^x to float32 accuracy (Cephes' expf): 2^n times a polynomial on [-ln2/2, ln2/2]; clamped to finite results, but
    NaN stays NaN."""
    x = splat(0.0) - larger(splat(-88.0), splat(0.0) - larger(splat(-87.0), x))
    n = rounded(x * splat(1.44269504))
    r = muladd(n, splat(2.12194440e-4), muladd(n, splat(-0.693359375), x))
    p = muladd(muladd(splat(1.9875691500e-4), r, splat(1.3981999507e-3)), r, splat(8.3334519073e-3))
    p = muladd(muladd(muladd(p, r, splat(4.1665795894e-2)), r, splat(1.6666665459e-1)), r, splat(5.0000001201e-1))
    return muladd(p, r * r, r + splat(1.0)) * power_of_two(n)


# What is done last with a sum, by number: an activation, or, where dx goes over x, OVER + the number of the activation
# that made x, for the product with its derivative, which is taken from the x that is overwritten.
NONE, RELU, SIGMOID = (ACTIVATIONS.index(name) for name in ("none", "relu", "sigmoid"))
OVER = len(ACTIVATIONS)


@inlined
def activate(v, activation):
    """The activation of that number; v itself of NONE and of more than OVER."""
    if activation == RELU:
        return larger(splat(0.0), v)
    if activation == SIGMOID:
        return splat(1.0) / (splat(1.0) + exponential(splat(0.0) - v))
    return v


@inlined
def is_floor(activation):
    """Whether it is max(v, a number): NONE and RELU, of -inf and of 0."""
    return activation == NONE or activation == RELU


@inlined
def floor_of(activation):
    """That number."""
    return splat(0.0 if activation == RELU else -np.inf)


@inlined
def derivative(dy, y, activation):
    """dz = dy * act'(z), the derivative taken from y."""
    if activation == RELU:
        return where_positive(y, dy, splat(0.0))
    if activation == SIGMOID:
        return dy * (y * (splat(1.0) - y))
    return dy


@inlined
def finish_part(like, total, y, n, activation):
    """The first n elements of a vector of y from their sums."""
    if activation > OVER:
        total = derivative(total, load_part(like, y, n), activation - OVER)
    store_part(like, y, activate(total, activation), n)
