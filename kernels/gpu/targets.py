"""Where kernels run, as far as no GPU is needed: how Triton sees an array, and its interpreter on NumPy arrays.

The GPU itself, and the choice between them, stand in `kernels/gpu/launch.py`.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ltbc.kernels.arrays import Array, address


class Pointer:
    """What Triton looks at in a pointer argument: an address and a dtype. Keeps the array alive."""

    def __init__(self, array: Array):
        self.array, self.dtype, self.address = array, array.dtype, address(array)

    def data_ptr(self) -> int:
        return self.address


class HostPointer(Pointer):
    """The same for the interpreter, which asks for a copy in host memory and back: the array itself is both."""

    def itself(self, *_: Any, **__: Any) -> "HostPointer":
        return self

    untyped_storage = cpu = copy_ = new_empty = set_ = itself

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        return steps_of(self.array.shape)


class Target:
    """Where kernels run: arrays, their kind (`arrays`), `capability` (90: sm_90), and how to start one."""

    def run(self, kernel: Any, grid: tuple[int, ...], args: list, options: dict) -> None:
        kernel[grid](*args, **options)

    def capture(self, work: Callable[[], Any]) -> Callable[[], Any]:
        return work  # where there are no graphs, everything is started anew


class Interpreter(Target):
    """Triton's interpreter on NumPy arrays: slow, for tests. `capability` says which GPU's kernels to take."""

    pointer, arrays = HostPointer, np

    def __init__(self, capability: int = 90):
        self.capability = capability

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.empty(size + 128, np.uint8)
        start = -raw.ctypes.data % 128
        return raw[start : start + size].view(dtype).reshape(shape)

    def place(self) -> tuple[int, int]:
        return 0, 0


@contextmanager
def recording(runtime: Any) -> Iterator[None]:
    """While a CUDA graph is recorded: garbage waits, for with it Triton from 3.7 on unloads modules, which breaks the
    recording; and a kernel that would have to be compiled is a RuntimeError. runtime: `triton.knobs.runtime`."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("launch: a kernel starts for the first time while a graph is recorded; run the work before")

    collected, hook = gc.isenabled(), runtime.jit_cache_hook
    gc.collect()
    gc.disable()
    runtime.jit_cache_hook = refuse
    try:
        yield
    finally:
        runtime.jit_cache_hook = hook
        if collected:
            gc.enable()


def steps_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Steps, in elements, of a contiguous array."""
    steps = [1]
    for side in reversed(shape[1:]):
        steps.append(steps[-1] * side)
    return tuple(reversed(steps))
