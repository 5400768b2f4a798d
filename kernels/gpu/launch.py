"""The only file that knows how Triton takes arrays: CuPy's on a GPU, or NumPy's under Triton's interpreter.

A `gpu.py` imports `triton` and `tl` from here, checks its arrays with `check`, gets buffers from `empty` and
`workspace`, tiles from `pick`, descriptors from `box`, and starts kernels with `run`. Where they run is a *target*:
`Gpu`, `targets.Interpreter` (TRITON_INTERPRET=1, set before kernels are defined), or one that others give to `use`:
`bench/gpu.py` compiles for GPUs that are not there, `tests/tools/interpreter.py` watches every load and store.

PyTorch is neither imported nor needed, and does not disturb where it happens to be imported: `CupyDriver` answers the
three questions (device, stream, capability) for which Triton 3.6 asks PyTorch.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ltbc.kernels.arrays import Array, address, array_module
from ltbc.kernels.gpu.targets import Interpreter, Pointer, Target, recording, steps_of

try:
    import triton
    import triton.language as tl  # noqa: F401 (for the kernels)
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError as error:
    raise ImportError("backend gpu: Triton is missing; pip install 'triton>=3.6', or choose backend='cpu'") from error

DTYPES = ("bfloat16", "float16", "float32")
FLOAT32_PRODUCTS = {"exact": "ieee", "tf32": "tf32"}  # our name: Triton's input_precision
LIMIT = 2**31  # elements an array: kernels count in 32 bits
ALIGNMENT = 16  # bytes: descriptors (TMA) and vector loads
_chosen: dict[str, Any] = {"float32": "exact", "target": None}
_workspaces: dict[tuple, Array] = {}


class NoTorch:
    """A finder of modules that hides PyTorch."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "torch":
            raise ModuleNotFoundError("hidden from Triton")


@contextmanager
def without_torch() -> Iterator[None]:
    """Triton 3.6 looks for PyTorch at its first launch, and would import it; in here it finds none, unless imported."""
    sys.meta_path.insert(0, NoTorch)
    try:
        yield
    finally:
        sys.meta_path.remove(NoTorch)


class Gpu(Target):
    """CuPy's current device and stream. Raises RuntimeError with what is missing where there is none."""

    pointer = Pointer

    def __init__(self):
        try:
            import cupy
        except ImportError as error:
            raise RuntimeError("backend gpu: CuPy is missing; pip install cupy-cuda13x, or choose 'cpu'") from error
        try:
            self.device = cupy.cuda.Device()
            self.device.use()  # makes the context current, which Triton's launcher relies on
            cupy.empty(1)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise RuntimeError(f"backend gpu: no GPU can be used here ({error}); choose backend='cpu'") from error
        self.arrays, self.launched = cupy, False
        self.capability = int(self.device.compute_capability)
        triton.runtime.driver.set_active(cupy_driver(cupy))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.arrays.empty(shape, dtype)

    def place(self) -> tuple[int, int]:
        """(device, stream) on which a kernel would work now."""
        return self.arrays.cuda.runtime.getDevice(), self.arrays.cuda.get_current_stream().ptr

    def run(self, kernel: Any, grid: tuple[int, ...], args: list, options: dict) -> None:
        with nullcontext() if self.launched else without_torch():
            super().run(kernel, grid, args, options)
        self.launched = True

    def capture(self, work: Callable[[], Any]) -> Callable[[], Any]:
        cuda = self.arrays.cuda
        stream, pool = cuda.Stream(non_blocking=True), cuda.MemoryPool()  # the graph's own, as are workspaces
        with recording(triton.knobs.runtime), stream, cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                results = work()
            finally:
                graph = stream.end_capture()
        kept = stream, pool, list(_workspaces.values()), results
        return lambda: graph.launch(cuda.get_current_stream()) or kept[-1]


def cupy_driver(cupy: ModuleType) -> Any:
    """A Triton driver that takes device, stream and capability from CuPy."""
    from triton.backends.nvidia.driver import CudaDriver, CudaLauncher, CudaUtils

    runtime = cupy.cuda.runtime

    class CupyDriver(CudaDriver):
        def __init__(self):  # not super().__init__(): that is the part that imports PyTorch
            self.utils, self.launcher_cls = CudaUtils(), CudaLauncher
            self.get_current_device, self.set_current_device = runtime.getDevice, runtime.setDevice
            self.get_current_stream = lambda device: cupy.cuda.get_current_stream().ptr
            self.get_device_capability = lambda device: divmod(int(cupy.cuda.Device(device).compute_capability), 10)

    return CupyDriver()


def target() -> Any:
    """Where kernels run; found at the first call."""
    if _chosen["target"] is None:
        _chosen["target"] = Interpreter() if triton.knobs.runtime.interpret else Gpu()
    return _chosen["target"]


def use(new: Any) -> Any:
    """Makes `new` the target (None: find out again) and returns the one before; forgets all workspaces."""
    _workspaces.clear()
    old, _chosen["target"] = _chosen["target"], new
    return old


def set_float32_products(how: str) -> None:
    """How tensor cores multiply float32: "exact" (default), or "tf32", with 10 bits of mantissa, many times faster."""
    if how not in FLOAT32_PRODUCTS:
        raise ValueError(f"launch: float32 products must be one of {', '.join(FLOAT32_PRODUCTS)}, got {how!r}")
    _chosen["float32"] = how


def precision() -> str:
    """`input_precision` for tl.dot; 16-bit operands do not look at it."""
    return FLOAT32_PRODUCTS[_chosen["float32"]]


def check(op: str, **arrays: Array | None) -> None:
    """Raises unless every array (None is skipped) can go to a kernel: the target's kind and device, contiguous, of one
    of DTYPES (integers pass too), below LIMIT elements. TypeError for kind and dtype, ValueError for the others."""
    to = target()
    for name, x in arrays.items():
        if x is None:
            continue
        if not isinstance(x, to.arrays.ndarray):
            wanted, got = to.arrays.__name__, array_module(x).__name__
            raise TypeError(f"{op}: {name} is a {got} array, backend gpu takes {wanted} arrays here")
        if x.dtype.kind not in "iub" and x.dtype.name not in DTYPES:
            raise TypeError(f"{op}: backend gpu computes in {', '.join(DTYPES)}; {name} is {x.dtype}")
        if not x.flags.c_contiguous:
            raise ValueError(f"{op}: backend gpu takes contiguous arrays; copy {name} with ascontiguousarray")
        if x.size >= LIMIT:
            raise ValueError(f"{op}: {name} has {x.size} elements, backend gpu takes fewer than 2^31; split the batch")
        if to.arrays is not np and x.device.id != to.place()[0]:
            raise ValueError(f"{op}: {name} lies on GPU {x.device.id}, but GPU {to.place()[0]} is the current one")


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialized array on the target."""
    return target().empty(tuple(shape), np.dtype(dtype))


allocate = empty  # activations need no layout of their own: see `dispatch.allocate`


def workspace(name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """A buffer that calls of one name, shape, device and stream share: allocated once, its address never changes (so a
    CUDA graph may hold it), valid until the next such call."""
    key = name, tuple(shape), np.dtype(dtype), target().place()
    if key not in _workspaces:
        _workspaces[key] = empty(shape, dtype)
    return _workspaces[key]


def run(kernel: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
    """Starts `kernel` on `grid` programs: arrays become pointers, descriptors and numbers stay. `options` are the
    constexpr arguments by name and num_warps, num_stages. An empty grid starts nothing."""
    if 0 in grid:
        return
    to = target()
    wrapped = [to.pointer(a) if isinstance(a, to.arrays.ndarray) else a for a in args]
    to.run(kernel, grid, wrapped, {"enable_fp_fusion": True, **options})


def capture(work: Callable[[], Any]) -> Callable[[], Any]:
    """A function that starts, as one CUDA graph on the current stream, all that `work()` starts, and returns what
    `work()` returned: arrays that every replay fills anew. Nothing is computed now.

    `work` must have run before (so that all is compiled; else RuntimeError), use the same arrays on every call and
    bring nothing to the host; its arrays must outlive the function, and numbers among its arguments stay as now.
    """
    return target().capture(work)


def can_box(array: Array, *inner: int) -> bool:
    """Whether the target has descriptors and they can view `array` with rows of `inner` elements: from sm_90 on, for an
    aligned address and rows that are a multiple of 16 bytes."""
    size = array.dtype.itemsize
    aligned = address(array) % ALIGNMENT == 0 and all(n * size % ALIGNMENT == 0 for n in inner)
    return target().capability >= 90 and array.size > 0 and aligned


def box(array: Array, shape: tuple[int, ...], block: tuple[int, ...]) -> TensorDescriptor:
    """A descriptor of contiguous `array`, seen as `shape`, that moves boxes of shape `block`; out of bounds it reads 0.

    Raises ValueError for what hardware refuses (and the interpreter would not): see `can_box`; rank up to 5, powers of
    two up to 256 a side, at least 16 bytes inside.
    """
    size, what = array.dtype.itemsize, f"launch: box {list(block)} of {array.dtype} in {list(shape)}"
    if len(block) != len(shape) or not 1 <= len(shape) <= 5:
        raise ValueError(f"{what}: needs one rank, from 1 to 5")
    if any(side & (side - 1) or not 1 <= side <= 256 for side in block):
        raise ValueError(f"{what}: sides must be powers of two up to 256")
    if block[-1] * size < ALIGNMENT or any(step * size % ALIGNMENT for step in steps_of(shape)[:-1]):
        raise ValueError(f"{what}: needs at least 16 bytes inside, strides a multiple of 16 bytes")
    if address(array) % ALIGNMENT or int(np.prod(shape)) != array.size:
        raise ValueError(f"{what}: needs a base aligned to 16 bytes and all {array.size} elements of the array")
    return TensorDescriptor(target().pointer(array), list(shape), list(steps_of(shape)), list(block))


@lru_cache
def tiles(folder: str) -> dict[str, list[dict]]:
    """The table `tiles.json` of an operation's folder: for each kernel a list of rows, see `pick`."""
    return json.loads((Path(__file__).parents[1] / folder / "tiles.json").read_text())


def pick(rows: list[dict], **sizes: int) -> dict[str, int]:
    """The tile (upper-case entries, num_warps, num_stages) of the first row whose entries named in `sizes` (`bytes`,
    `channels`, ... and `arch`, the target's if not given) are all at most those."""
    sizes.setdefault("arch", target().capability)
    for row in rows:
        if all(row.get(name, 0) <= size for name, size in sizes.items()):
            return {name: value for name, value in row.items() if name.isupper() or name.startswith("num_")}
    raise ValueError(f"launch: no tile in the table for {sizes}")


def cdiv(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)
