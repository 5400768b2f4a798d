"""What the cpu backend knows about the machine: its instructions, threads and buffers.

Level, chosen once at import, best first (the environment variable LTBC_CPU forces a lower one):

    amx           bf16 products in tile registers     direct convolution
    avx512_bf16   bf16 products in vectors of 512 bits     Winograd F(2x2)
    avx512, avx2  float32 products (FMA)     Winograd F(4x4)
    generic       the same, for any CPU that LLVM knows

Beside it stand `simd_pool.py` (threads that run kernels without the interpreter; elsewhere than on Linux
`simd_threads.py`), `simd_vector.py` (vectors in Numba code), `simd_tile.py` (the register tile of a matrix product),
`simd_matrix.py` and `simd_windows.py` (products over packed panels, and over windows of an image, written over the
first two once for all levels). LTBC_THREADS sets the number of threads.
"""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numba
import numpy as np
from llvmlite import binding
from numba.core import config as numba_config

from kernels.cores import cores

config: Any = numba_config  # its names are made at run time
LEVELS = ("amx", "avx512_bf16", "avx512", "avx2", "generic")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
LIKE = {BFLOAT16: np.uint16(0), FLOAT32: np.float32(0)}  # an element as kernels see it: its type selects their code


def available() -> tuple[str, ...]:
    """The levels that this CPU has, best first."""
    f = binding.get_host_cpu_features()
    has = {"generic": True, "avx2": f.get("avx2") and f.get("fma")}
    has["avx512"] = has["avx2"] and all(f.get(x) for x in ("avx512f", "avx512bw", "avx512dq", "avx512vl"))
    has["avx512_bf16"] = has["avx512"] and f.get("avx512bf16")
    has["amx"] = has["avx512_bf16"] and f.get("amx-tile") and f.get("amx-bf16") and tiles_permitted()
    return tuple(level for level in LEVELS if has[level])


def tiles_permitted() -> bool:
    """Asks Linux for the tile registers (arch_prctl ARCH_REQ_XCOMP_PERM), which it hands out on demand only."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


def choose_level() -> str:
    """LTBC_CPU where it is set and this CPU can do it, else the best level."""
    levels, wanted = available(), os.environ.get("LTBC_CPU") or None
    if wanted not in (None, *levels):
        raise ValueError(f"cpu: LTBC_CPU must be one of {', '.join(levels)} on this CPU, got {wanted!r}")
    if wanted in ("avx2", "generic") and wanted != levels[0]:  # compile for a CPU that has no more than that
        config.CPU_NAME = {"avx2": "x86-64-v3", "generic": "generic"}[wanted]
        config.CPU_FEATURES = {"avx2": "+avx2,+fma", "generic": ""}[wanted]
    return wanted or levels[0]


LEVEL = choose_level()
LANES = 16 if LEVEL in LEVELS[:3] else 8  # float32 elements of a vector
PANEL = 2 * LANES  # output columns that one register tile covers
ARITHMETIC = BFLOAT16 if LEVEL in LEVELS[:2] else FLOAT32  # of products where the storage is bfloat16
SPARE_ROWS = 4  # of zeros behind the last image: a tile for whoever has one too few
CHANNEL_STEP = 32 if LEVEL == "amx" else 4  # reduction lengths are filled with zeros up to a multiple of it


def describe() -> str:
    """One line that says which path is taken."""
    products = "bf16" if ARITHMETIC == BFLOAT16 else "float32"
    return f"cpu: {cpu_name()}, {LEVEL} ({products} products of bf16 storage), {threads()} threads"


def cpu_name() -> str:
    """The processor's own name, with the one that the compiler has for it."""
    try:
        info = Path("/proc/cpuinfo").read_text()
        name = next(line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({binding.get_host_cpu_name()})"


# Threads: a kernel takes (first, last, scratch, *arguments) and does units first..last. Any thread may do any unit.


class Pool:
    """Helpers beside the caller's thread, made on first use."""

    size = int(os.environ.get("LTBC_THREADS") or 0) or cores()
    kind = "simd_pool" if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else "simd_threads"
    helpers: Any = None
    lock = threading.Lock()


def forget_helpers() -> None:
    """In a child of this process, where they do not exist."""
    Pool.helpers, Pool.lock = None, threading.Lock()


os.register_at_fork(after_in_child=forget_helpers)


def threads() -> int:
    """Number of threads that a kernel runs on."""
    return Pool.size


def set_threads(n: int) -> None:
    """Sets the number of threads; results are the same bits for every number."""
    if n < 1:
        raise ValueError(f"cpu: the number of threads must be at least 1, got {n}")
    with Pool.lock:
        if Pool.helpers:
            Pool.helpers.stop()
        Pool.size, Pool.helpers = n, None


PIECES = 16  # a thread, at most: they are taken for next to nothing


def launch(kernel: Any, units: int, scratch: int, *arguments: Any) -> None:
    """Runs `kernel(first, last, scratch address, *arguments)` over all units, `scratch` bytes a thread."""
    if rehearsing():
        LOCAL.noted.append((kernel, tuple(map(numba.typeof, (0, 0, 0, *arguments)))))
        return
    own = address(workspace("scratch", scratch))
    if Pool.size == 1 or units < 2:
        kernel(0, units, own, *arguments)
        return
    with Pool.lock:
        if Pool.helpers is None:
            Pool.helpers = import_module(f"kernels.{Pool.kind}").Helpers(Pool.size - 1)
        Pool.helpers.run(kernel, units, min(units, PIECES * Pool.size), own, scratch, arguments)


LOCAL = threading.local()


@contextmanager
def rehearsal() -> Iterator[list[tuple[Any, tuple]]]:
    """Within it, this thread's launches do nothing but note (kernel, types of its arguments)."""
    LOCAL.noted = []
    try:
        yield LOCAL.noted
    finally:
        del LOCAL.noted


def rehearsing() -> bool:
    return hasattr(LOCAL, "noted")


def workspace(name: str, size: int) -> np.ndarray:
    """This thread's buffer of that name, `size` bytes, aligned; valid until it is asked for again."""
    buffers = LOCAL.__dict__.setdefault("buffers", {})
    if name not in buffers or buffers[name].nbytes < size:
        buffers.pop(name, None)
        buffers[name] = aligned((size,), np.uint8)
    return buffers[name][:size]


# Buffers


class Owner(np.ndarray):
    """The memory of an activation buffer, found again from its views; `pixels` and `images` say what was handed out."""

    pixels: tuple
    images: int


def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros, 64-byte aligned. `[N, H, W, C]`: in a border of zeros, 1 before and up to 4 after: whole 4x4 tiles, and
    SPARE_ROWS behind the last image."""
    if len(shape) != 4:
        return aligned(shape, dtype)
    n, h, w, c = shape
    height, width = -(-h // 4) * 4 + 2, -(-w // 4) * 4 + 2
    padded = aligned((n * height + SPARE_ROWS, width, c), dtype)[: n * height].reshape(n, height, width, c)
    pixels = padded[:, 1 : h + 1, 1 : w + 1]
    owner(padded).pixels = (pixels.shape[1:], pixels.strides, address(pixels), pixels.dtype)
    owner(padded).images = n
    return pixels


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros at a 64-byte boundary."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = Owner(size + 64, np.uint8)
    memory[:] = 0
    start = -address(memory) % 64
    return memory.view(np.ndarray)[start : start + size].view(dtype).reshape(shape)


def owner(x: Any) -> Any:
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def address(x: np.ndarray) -> int:
    """Of the first element: what follows an object's head in NumPy's C interface; its Python attributes take 1 us."""
    return ctypes.c_void_p.from_address(id(x) + object.__basicsize__).value or 0


class Image(NamedTuple):
    """An image batch within its border of zeros, as kernels see it: address of the first border pixel, and bytes."""

    start: int
    image: int
    row: int
    memory: np.ndarray  # keeps the address valid


def image(x: np.ndarray) -> Image:
    """x `[N, H, W, C]` itself where it came from `allocate`, else a copy."""
    shape, strides, start, dtype = getattr(owner(x), "pixels", (None, (1,), 0, None))
    whole = (x.shape[1:], x.strides, x.dtype) == (shape, strides, dtype)
    if not (whole and x.size and (address(x) - start) % strides[0] == 0):
        copy = allocate(x.shape, x.dtype)
        copy[...] = x
        x = copy
    return Image(address(x) - x.strides[1] - x.strides[2], x.strides[0], x.strides[1], x)


def whole(x: np.ndarray) -> Image | None:
    """x where it is all images of a buffer from `allocate`, zeros behind the last one, else None."""
    place = owner(x)
    if getattr(place, "images", 0) != len(x) or (x.shape[1:], x.strides, address(x), x.dtype) != place.pixels:
        return None
    return image(x)


def matrix(x: np.ndarray) -> Image:
    """x `[N, C]` as a batch of one-pixel images."""
    x = x if x.strides[1] == x.itemsize else np.ascontiguousarray(x)
    return Image(address(x), x.strides[0], x.strides[0], x)


def target(out: np.ndarray | None, shape: tuple[int, ...], dtype: Any, whole: bool = False) -> np.ndarray:
    """Where a kernel may write: `out` if its channels (or, `whole`, all of it) are contiguous, else a new buffer."""
    if out is not None and out.dtype in LIKE and (out.strides[-1] == out.itemsize or out.shape[-1] == 1):
        if out.flags.c_contiguous or not whole:
            return out
    return aligned(shape, dtype) if whole else allocate(shape, dtype)


def deliver(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    """The result, copied into `out` where it was not written there."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


def check_storage(op: str, *arrays: np.ndarray) -> None:
    """Raises TypeError unless all arrays are bfloat16 or float32."""
    for x in arrays:
        if x.dtype not in LIKE:
            raise TypeError(f"{op}: the cpu backend takes bfloat16 or float32, got {x.dtype}; use backend='reference'")
