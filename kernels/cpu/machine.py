"""What the cpu backend knows about the machine: its instructions, threads, buffers and compiled code.

The level of instructions, a row of `LEVELS`, is chosen once at import (the environment variable LTBC_CPU forces a lower
one). Code asks what a level has, never which one it is.

Beside it stand `pool.py` (threads that run kernels without the interpreter; elsewhere than on Linux
`python_threads.py`), `simd_vector.py` (vectors in Numba code), `simd_tile.py` (the register tile of a matrix product),
`simd_matrix.py` and `simd_windows.py` (products over packed panels, and over windows of an image, written over the
first two once for all levels). LTBC_THREADS sets the number of threads, LTBC_CACHE where compiled code is kept.
"""

import ctypes
import hashlib
import os
import platform
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numba
import numpy as np
from llvmlite import binding
from numba.core import config as numba_config
from numba.core import event

from ltbc.kernels.cpu.cores import cores

config: Any = numba_config  # its names are made at run time
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
LIKE = {BFLOAT16: np.uint16(0), FLOAT32: np.float32(0)}  # an element as kernels see it: its type selects their code

class Level(NamedTuple):
    """Instructions that kernels are compiled for, and what follows from them.

    features: LLVM's names, all of which the CPU must have. lanes: float32 elements of a vector. rows: of a register tile
    two vectors wide, whose sums and factors fill the registers; step_rows: of one whose left factor lies step by step.
    bf16: pairs of bfloat16 are multiplied and made in vectors, else they become float32 first. tiles: products of
    bfloat16 in tile registers. masked: parts of a vector are read as fast as whole ones. target: CPU and features to
    compile for where a better CPU is told to take this level; by default its own.
    """

    name: str
    machine: str
    features: tuple[str, ...]
    lanes: int
    rows: int
    step_rows: int
    bf16: bool = False
    tiles: bool = False
    masked: bool = False
    target: tuple[str, str] | None = None


AVX2 = ("avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
AVX512_BF16 = (*AVX512, "avx512bf16")
LEVELS = (  # best first
    Level("amx", "x86_64", (*AVX512_BF16, "amx-tile", "amx-bf16"), 16, 14, 8, bf16=True, tiles=True, masked=True),
    Level("avx512_bf16", "x86_64", AVX512_BF16, 16, 14, 8, bf16=True, masked=True),
    Level("avx512", "x86_64", AVX512, 16, 14, 8, masked=True),
    Level("avx2", "x86_64", AVX2, 8, 6, 4, target=("x86-64-v3", "+avx2,+fma")),
    Level("neon", "aarch64", ("neon",), 4, 14, 8),
    Level("generic", "", (), 8, 6, 4, target=("generic", "")),
)


def available() -> tuple[Level, ...]:
    """The levels that this CPU has, best first."""
    has = binding.get_host_cpu_features()
    return tuple(
        level for level in LEVELS
        if level.machine in ("", platform.machine()) and all(has.get(f) for f in level.features)
        and (not level.tiles or tiles_permitted())
    )  # fmt: skip


def tiles_permitted() -> bool:
    """Asks Linux for the tile registers (arch_prctl ARCH_REQ_XCOMP_PERM), which it hands out on demand only."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


def choose_level() -> Level:
    """LTBC_CPU where it is set and this CPU can do it, else the best level."""
    levels, wanted = available(), os.environ.get("LTBC_CPU") or None
    found = next((level for level in levels if wanted in (None, level.name)), None)
    if found is None:
        names = ", ".join(level.name for level in levels)
        raise ValueError(f"cpu: LTBC_CPU must be one of {names} on this CPU, got {wanted!r}")
    if found.target and found is not levels[0]:  # compile for a CPU that has no more than that
        config.CPU_NAME, config.CPU_FEATURES = found.target
    return found


LEVEL = choose_level()
LANES = LEVEL.lanes
PANEL = 2 * LANES  # output columns that one register tile covers
ARITHMETIC = BFLOAT16 if LEVEL.bf16 else FLOAT32  # of products where the storage is bfloat16
SPARE_ROWS = 4  # of zeros behind the last image: a tile for whoever has one too few
CHANNEL_STEP = 32 if LEVEL.tiles else 4  # reduction lengths are filled with zeros up to a multiple of it


def describe() -> str:
    """One line that says which path is taken."""
    products = "bf16" if ARITHMETIC == BFLOAT16 else "float32"
    return f"cpu: {cpu_name()}, {LEVEL.name} ({products} products of bf16 storage), {threads()} threads"


def cpu_name() -> str:
    """The processor's own name, with the one that the compiler has for it."""
    try:
        info = Path("/proc/cpuinfo").read_text()
        name = next(line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({binding.get_host_cpu_name()})"


# Compiled code: `compiled` caches under the level and a digest of these sources, below which Numba's own index
# distinguishes CPUs and their features: a folder shared between machines or versions never serves a wrong entry.


def cache_folder() -> Path:
    root = os.environ.get("LTBC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "ltbc")
    sources = sorted(Path(__file__).parent.glob("simd*.py"))
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in sources) + numba.__version__.encode()).hexdigest()
    return Path(root, f"{binding.get_host_cpu_name()}-{LEVEL.name}-{digest[:12]}")


CACHE = str(cache_folder())
KERNELS: set[Any] = set()  # what `compiled` decorates


def compiled(function: Any) -> Any:
    """Decorates a kernel: compiled on its first call, kept on disk, runs without the interpreter's lock."""
    KERNELS.add(function)
    ours, config.CACHE_DIR = config.CACHE_DIR, CACHE
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    finally:
        config.CACHE_DIR = ours


def inlined(function: Any) -> Any:
    """Decorates what kernels are made of."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)


class Progress(event.Listener):
    """Says on stderr that something is compiled, since the first start takes a while."""

    def on_start(self, e: event.Event) -> None:
        kernel = e.data["dispatcher"].py_func
        if kernel in KERNELS:
            print(f"cpu: compiling {kernel.__module__[8:]}.{kernel.__name__} for {LEVEL.name}", file=sys.stderr)

    def on_end(self, e: event.Event) -> None:
        pass


event.register("numba:compile", Progress())


# Threads: a kernel takes (first, last, scratch, *arguments) and does units first..last. Any thread may do any unit.


class Pool:
    """Helpers beside the caller's thread, made on first use."""

    size = int(os.environ.get("LTBC_THREADS") or 0) or cores()
    kind = "pool" if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else "python_threads"
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
    own = address(workspace("scratch", scratch))
    if Pool.size == 1 or units < 2:
        kernel(0, units, own, *arguments)
        return
    with Pool.lock:
        if Pool.helpers is None:
            Pool.helpers = import_module(f"ltbc.kernels.cpu.{Pool.kind}").Helpers(Pool.size - 1)
        Pool.helpers.run(kernel, units, min(units, PIECES * Pool.size), own, scratch, arguments)


LOCAL = threading.local()


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


class Strides(NamedTuple):
    """Bytes from an image to the next, from row to row, from pixel to pixel."""

    image: int
    row: int
    pixel: int


def strides(x: np.ndarray) -> Strides:
    """Of x `[N, H, W, C]`."""
    return Strides(*x.strides[:3])


@inlined
def pixel_at(x, of, n, i, j):
    """The address of a pixel: x is that of pixel (0, 0) of image 0, `of` the strides."""
    return x + n * of.image + i * of.row + j * of.pixel


class Image(NamedTuple):
    """An image batch within its border of zeros, as kernels see it: address of the first border pixel, and bytes."""

    start: int
    image: int
    row: int
    memory: np.ndarray  # keeps the address valid

    def strides(self, pixel: int) -> Strides:
        """With pixels of so many bytes."""
        return Strides(self.image, self.row, pixel)


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
