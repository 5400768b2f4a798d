"""Memory that shows what a cpu kernel reads or writes beside its arrays.

    with Memory() as memory:
        y = conv3x3.forward(memory.place("x", x), memory.place("w", w), memory.place("b", b), backend="cpu")
        memory.check()

Meanwhile every array that the backend allocates lies between bands of NaN, the memory of threads holds NaN before each
kernel and is as large as was asked for, not more. After each kernel the bands must be as they were; `check` also looks
at inputs and at the borders of zeros. What a kernel reads elsewhere makes its result NaN.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ltbc import kernels
from ltbc.kernels.arrays import address, is_float
from ltbc.kernels.cpu.buffers import Owner, aligned, allocate, own_memory, owner
from ltbc.kernels.cpu.threads import Pool, forall

BAND, NAN = 256, 0xFF  # bytes; such bytes are NaN in both float32 and bfloat16
OWN = {f.__name__: f for f in (aligned, allocate, forall, own_memory)}  # replaced wherever these names stand for them

FOLDER = Path(kernels.__file__).parent
for path in sorted((*FOLDER.glob("cpu/*.py"), *FOLDER.glob("*/cpu.py"))):  # now: not while their names are patched
    import_module(".".join(("ltbc.kernels", *path.relative_to(FOLDER).with_suffix("").parts)))


class Memory:
    def __enter__(self) -> "Memory":
        self.bands: list[np.ndarray] = []
        self.images: list[tuple[np.ndarray, np.ndarray]] = []  # (pixels, their memory with its border)
        self.inputs: list[tuple[str, np.ndarray, np.ndarray]] = []
        modules = [module for name, module in sys.modules.items() if name.startswith("ltbc.kernels.")]
        self.replaced = [(module, name, own) for module in modules for name, own in OWN.items()
                         if vars(module).get(name) is own]
        self.replaced += [(np, name, getattr(np, name)) for name in ("empty", "zeros")]
        self.numpy = {name: own for module, name, own in self.replaced if module is np}
        for module, name, _ in self.replaced:
            setattr(module, name, getattr(self, name))
        return self

    def __exit__(self, *error: Any) -> None:
        for module, name, own in self.replaced:
            setattr(module, name, own)

    def aligned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """As `buffers.aligned`, between bands."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        memory = Owner(size + 64 + 2 * BAND, np.uint8)
        memory[:] = NAN
        plain = memory.view(np.ndarray)
        start = BAND + -(address(plain) + BAND) % 64
        self.bands += plain[:start], plain[start + size :]
        inside = plain[start : start + size]
        inside[:] = 0
        return inside.view(dtype).reshape(shape)

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        first = len(self.bands)
        pixels = OWN["allocate"](shape, dtype)
        if len(shape) == 4:
            before, behind = self.bands[first:]
            self.images.append((pixels, owner(pixels).view(np.ndarray)[before.size : -behind.size]))
        return pixels

    def own_memory(self, name: str, size: int) -> np.ndarray:
        """Memory that holds NaN, another one each time."""
        memory = self.aligned((size,), np.uint8)
        memory[:] = NAN
        return memory

    def forall(self, kernel: Any, units: int, scratch: int, /, *arguments: Any, **named: Any) -> None:
        helpers = Pool.helpers
        if getattr(helpers, "memory", None):  # of threads that are there already
            helpers.memory = [self.own_memory("scratch", scratch) for _ in helpers.memory]
            helpers.places[:] = [address(m) for m in helpers.memory]
        OWN["forall"](kernel, units, scratch, *arguments, **named)
        for band in self.bands:
            assert (band == NAN).all(), f"{kernel.py_func.__name__} wrote beside an array"

    def empty(self, shape: Any, dtype: Any = np.float64, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.banded("empty", NAN, shape, dtype, *args, **kwargs)

    def zeros(self, shape: Any, dtype: Any = np.float64, *args: Any, **kwargs: Any) -> np.ndarray:
        return self.banded("zeros", 0, shape, dtype, *args, **kwargs)

    def banded(self, name: str, byte: int, shape: Any, dtype: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """np.empty or np.zeros; of floats between bands."""
        if args or kwargs or not is_float(np.dtype(dtype)):
            return self.numpy[name](shape, dtype, *args, **kwargs)
        a = self.aligned((shape,) if np.ndim(shape) == 0 else tuple(shape), dtype)
        a.reshape(-1).view(np.uint8)[:] = byte
        return a

    def place(self, name: str, a: np.ndarray) -> np.ndarray:
        """An input between bands, activations within their border; unchanged at the end."""
        copy = self.allocate(a.shape, a.dtype) if a.ndim == 4 and name != "w" else self.aligned(a.shape, a.dtype)
        copy[...] = a
        self.inputs.append((name, copy, copy.copy()))
        return copy

    def check(self) -> None:
        """Raises AssertionError where an input or a border is not what it was."""
        for name, now, before in self.inputs:
            assert now.tobytes() == before.tobytes(), f"{name} was written to"
        for pixels, memory in self.images:
            inside = pixels.copy()
            pixels[...] = 0
            assert not memory.any(), f"the border of zeros around {list(pixels.shape)} was written to"
            pixels[...] = inside
