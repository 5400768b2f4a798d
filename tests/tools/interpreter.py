"""Triton's interpreter as a strict GPU: import this before any `kernels.<op>.gpu`, run kernels within `watched()`.

What a plain run of the interpreter hides is brought out:
- a load or store outside the arrays of its launch is an error, and arrays lie between bands of NaN;
- a masked load without `other=` reads NaN (on hardware: whatever was in the register), new buffers hold NaN;
- programs can run in reverse or shuffled order; TF32 products are rounded to TF32.
What it gets wrong is mended, here only: all arithmetic of bfloat16, `range` over a value of the kernel; and what makes
it slow, anew preparing `triton.language` for every call of a device function.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("triton", reason="the gpu backend's kernels need Triton: pip install 'triton>=3.6'")

import triton.language as tl
from triton.runtime import interpreter
from triton.tools.tensor_descriptor import TensorDescriptor

from ltbc.kernels.arrays import address
from ltbc.kernels.gpu import launch

BAND = 256  # bytes of NaN before and after an array
ORDERS = ("forward", "reverse", "shuffled")
BUILDER, HANDLE = interpreter.InterpreterBuilder, interpreter.TensorHandle


def banded(shape: tuple[int, ...], dtype: Any, xp: Any = np) -> Any:
    """An array full of NaN between two bands of NaN: bytes 0xFF are a NaN of every float dtype, and -1."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = xp.full(size + 2 * BAND + 128, 0xFF, np.uint8)
    start = BAND + -(address(raw) + BAND) % 128
    return raw[start : start + size].view(dtype).reshape(shape)


def place(values: Any, dtype: Any = None, xp: Any = np) -> Any:
    """`values` in a banded array."""
    array = banded(np.shape(values), dtype or values.dtype, xp)
    array[...] = xp.asarray(values)
    return array


class Watched(launch.Interpreter):
    """The interpreter with poisoned buffers, checked addresses and a chosen order of programs."""

    def __init__(self, capability: int, order: str):
        super().__init__(capability)
        self.order, self.launches, self.spans = order, [], []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return banded(shape, dtype)

    def run(self, kernel: Any, grid: tuple[int, ...], args: list, options: dict) -> None:
        self.launches.append(kernel.fn.__name__)
        pointers = [a.base if isinstance(a, TensorDescriptor) else a for a in args]
        self.spans = [(p.address, p.address + p.array.nbytes) for p in pointers if isinstance(p, launch.Pointer)]
        programs = list(itertools.product(*map(range, (*grid, 1, 1)[:3])))
        if self.order == "reverse":
            programs.reverse()
        elif self.order == "shuffled":
            random.Random(len(programs)).shuffle(programs)
        turn = iter(programs)
        builder = interpreter.interpreter_builder
        builder.set_grid_idx = lambda *_: setattr(builder, "grid_idx", next(turn))
        try:
            super().run(kernel, grid, args, options)
        finally:
            del builder.set_grid_idx

    def check_addresses(self, what: str, pointers: Any, mask: Any) -> None:
        size = pointers.get_element_ty().primitive_bitwidth // 8
        used = pointers.data[np.broadcast_to(mask.data, pointers.data.shape)]
        inside = np.zeros(used.shape, bool)
        for start, stop in self.spans:
            inside |= (used >= start) & (used + size <= stop)
        if not inside.all():
            raise IndexError(f"{what} outside every array of the launch, by {(~inside).sum()} of {used.size} lanes")


@contextmanager
def watched(capability: int = 90, order: str = "forward", **tile: int) -> Iterator[Watched]:
    """Kernels run watched in here, as a GPU of that capability would take them, with tiny tiles: the table's entries
    named in `tile` are replaced."""
    target, pick = Watched(capability, order), launch.pick

    def small(rows: list[dict], **sizes: int) -> dict[str, int]:
        row = pick(rows, **sizes)
        return row | {name: size for name, size in tile.items() if name in row}

    old, launch.pick = launch.use(target), small
    try:
        yield target
    finally:
        launch.use(old)
        launch.pick = pick


def same_bits(run: Callable[[], tuple], **options: int) -> tuple:
    """What `run()` returns, after checking that every order of programs gives the same bits."""
    results = []
    for order in ORDERS:
        with watched(order=order, **options):
            results.append(run())
    for order, result in zip(ORDERS[1:], results[1:]):
        for k, (a, b) in enumerate(zip(results[0], result)):
            assert (a is None and b is None) or a.tobytes() == b.tobytes(), f"result {k} differs, programs {order}"
    return results[0]


# What follows mends the interpreter of Triton 3.6 to 3.9.


def as_float32(h: Any) -> Any:
    """bfloat16, which the interpreter keeps as bits, as float32; others as they are."""
    if h.dtype.scalar != tl.bfloat16:
        return h
    return HANDLE(h.data.view(ml_dtypes.bfloat16).astype(np.float32), tl.float32)


def as_bfloat16(data: np.ndarray) -> Any:
    """Bits of bfloat16, rounded to nearest even."""
    return HANDLE(np.asarray(data, np.float32).astype(ml_dtypes.bfloat16).view(np.uint16), tl.bfloat16)


def as_tf32(h: Any) -> Any:
    """float32 rounded to TF32's 10 bits of mantissa."""
    bits = h.data.view(np.uint32)
    return HANDLE(((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32), tl.float32)


def mend() -> None:
    dot, binary, unary = BUILDER.create_dot, BUILDER.binary_op, BUILDER.unary_op
    load, store, patch_tensor = BUILDER.create_masked_load, BUILDER.create_masked_store, interpreter._patch_lang_tensor

    def mended_dot(self, a, b, d, input_precision, *rest):
        a, b = as_float32(a), as_float32(b)
        if a.data.dtype == np.float32 and "TF32" in str(input_precision):
            a, b = (as_tf32(HANDLE(np.ascontiguousarray(h.data), tl.float32)) for h in (a, b))
        return dot(self, a, b, d, input_precision, *rest)

    def mended_cast(old):
        def cast(self, source, dtype, *rest):
            start, end = source.dtype.scalar, dtype.scalar
            if tl.bfloat16 not in (start, end) or start == end:
                return old(self, source, dtype, *rest)
            data = as_float32(HANDLE(np.ascontiguousarray(source.data), source.dtype)).data
            return as_bfloat16(data) if end == tl.bfloat16 else HANDLE(data.astype(interpreter._get_np_dtype(end)), end)

        return cast

    def mended_binary(self, lhs, rhs, op):
        if lhs.dtype.scalar != tl.bfloat16:
            return binary(self, lhs, rhs, op)
        result = binary(self, as_float32(lhs), as_float32(rhs), op)
        return result if result.data.dtype == np.bool_ else as_bfloat16(result.data)

    def mended_unary(self, x, op):
        return unary(self, x, op) if x.dtype.scalar != tl.bfloat16 else as_bfloat16(unary(self, as_float32(x), op).data)

    def watched_load(self, pointers, mask, other, *rest, **named):
        if isinstance(launch.target(), Watched):
            launch.target().check_addresses("load", pointers, mask)
        if other is None:
            dtype = pointers.get_element_ty()
            size = interpreter._get_np_dtype(dtype).itemsize
            poison = np.full((*pointers.data.shape, size), 0xFF, np.uint8).view(interpreter._get_np_dtype(dtype))
            other = HANDLE(poison[..., 0], dtype)
        return load(self, pointers, mask, other, *rest, **named)

    def watched_store(self, pointers, value, mask, *rest):
        if isinstance(launch.target(), Watched):
            launch.target().check_addresses("store", pointers, mask)
        return store(self, pointers, value, mask, *rest)

    core_is_patched = []

    def device_call(self, *args, **named):  # as before, but the launch has patched tl, and tl.core needs it once
        if not core_is_patched and any(value is tl.core for value in self.fn.__globals__.values()):
            core_is_patched.append(interpreter._patch_lang(self.fn))
        return self.rewrite()(*args, **named)

    def mended_tensor(tensor, scope):
        patch_tensor(tensor, scope)
        for name in ("__index__", "__int__"):
            scope.set_attr(tensor, name, lambda self: int(self.handle.data.item()))

    BUILDER.create_dot, BUILDER.binary_op, BUILDER.unary_op = mended_dot, mended_binary, mended_unary
    BUILDER.cast_impl, BUILDER.create_fp_to_fp = mended_cast(BUILDER.cast_impl), mended_cast(BUILDER.create_fp_to_fp)
    BUILDER.create_masked_load, BUILDER.create_masked_store = watched_load, watched_store
    interpreter._patch_lang_tensor, interpreter.InterpretedFunction.__call__ = mended_tensor, device_call


mend()
