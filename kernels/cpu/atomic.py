"""Words that threads share, as the kernels of `pool` see them: atomic changes, sleep, and calls by address."""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ltbc.kernels.cpu.vector import I8, I32, I64, call

INTEGERS, FLOATING = 96, 8  # arguments of a kernel at most, of either sequence
SYSTEM_CALL = {"x86_64": 202, "aarch64": 98}  # futex
PAUSE = {"x86_64": ("llvm.x86.sse2.pause",), "aarch64": ("llvm.aarch64.isb", 15)}  # ARM's yield does nothing as a rule
WAIT, WAKE = 128, 129  # of this process


def pointer(builder, address, kind=I64):
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def read(ctx, at):
    """The word there, as it is after all that was written before it."""
    def code(context, builder, sig, args):
        return builder.load_atomic(pointer(builder, args[0]), "seq_cst", 8)
    return types.int64(types.int64), code


@intrinsic
def write(ctx, at, value):
    def code(context, builder, sig, args):
        builder.store_atomic(args[1], pointer(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()
    return types.void(types.int64, types.int64), code


@intrinsic
def add(ctx, at, value):
    def code(context, builder, sig, args):
        builder.atomic_rmw("add", pointer(builder, args[0]), args[1], "seq_cst")
        return context.get_dummy_value()
    return types.void(types.int64, types.int64), code


@intrinsic
def exchange(ctx, at, old, new):
    """Whether the word was `old`: then it is `new` now."""
    def code(context, builder, sig, args):
        found = builder.cmpxchg(pointer(builder, args[0]), *args[1:], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)
    return types.boolean(*[types.int64] * 3), code


@intrinsic
def pause(ctx):
    """Lets the other half of a core go first."""
    def code(context, builder, sig, args):
        name, *arguments = PAUSE[platform.machine()]
        call(builder, name, ir.VoidType(), [ir.Constant(I32, a) for a in arguments])
        return context.get_dummy_value()
    return types.void(), code


@intrinsic
def futex(ctx, at, action, value):
    """WAIT: sleeps while the word is `value`, or a moment; WAKE: wakes so many."""
    def code(context, builder, sig, args):
        kind = ir.FunctionType(I64, [I64], var_arg=True)
        function = cgutils.get_or_insert_function(builder.module, kind, "syscall")
        number, none = ir.Constant(I64, SYSTEM_CALL[platform.machine()]), ir.Constant(I64, 0)
        builder.call(function, [number, *args, none, none, none])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 3), code


@intrinsic
def call_kernel(ctx, kernel, arguments, first, last, scratch):
    """Calls a compiled kernel by its address; 0 unless it raised.

    `arguments` are as C hands them over: integers, pointers and the parts of arrays in one sequence, floating point
    numbers in another, of which the callee takes those it has. So it is on Linux for x86-64 and ARM.
    """
    def code(context, builder, sig, args):
        kernel, arguments, *given = args
        word, double = I8.as_pointer(), ir.DoubleType()
        result, error = (cgutils.alloca_once_value(builder, ir.Constant(word, None)) for _ in range(2))
        start = pointer(builder, arguments)
        at = [builder.gep(start, [ir.Constant(I32, i)]) for i in range(INTEGERS + FLOATING)]
        given += [builder.load(a) for a in at[:INTEGERS]]
        given += [builder.load(builder.bitcast(a, double.as_pointer())) for a in at[INTEGERS:]]
        kind = ir.FunctionType(I32, [word.as_pointer()] * 2 + [a.type for a in given])
        status = builder.call(builder.inttoptr(kernel, kind.as_pointer()), [result, error, *given])
        return builder.zext(status, I64)
    return types.int64(*[types.int64] * 5), code


@intrinsic
def field(ctx, at):
    def code(context, builder, sig, args):
        return builder.load(pointer(builder, args[0]))
    return types.int64(types.int64), code
