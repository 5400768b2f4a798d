"""What this machine can do at most, measured: products of large matrices or, on a CPU, of what is in registers already,
and bytes to and from memory."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from ltbc.nn.network import as_dtype

SIDE = 3072  # of the matrices
BYTES = 256 << 20  # of each array that is copied, several times any cache
GPU_SIDE, GPU_BYTES = 8192, 2 << 30  # milliseconds each, beside which waiting for them is little
SECONDS = 1.0  # for each of the candidates; four times that where three runs take longer


class Ceilings(NamedTuple):
    """The best seen, with what reached it. flops: a second, of products in the storage dtype's format."""

    flops: float
    bytes: float
    flops_by: str
    bytes_by: str

    def limit(self, flops: float, bytes: float) -> float:
        """Seconds below which that work cannot be done (by the formula's own arithmetic)."""
        return max(flops / self.flops, bytes / self.bytes)

    def line(self) -> str:
        return (f"ceilings measured: {self.flops / 1e12:.3g} TFLOP/s ({self.flops_by}), "
                f"{self.bytes / 1e9:.3g} GB/s ({self.bytes_by})")


def ceilings(
    dtype: str, backend: str = "cpu", side: int = SIDE, size: int = BYTES, seconds: float = SECONDS
) -> Ceilings:
    """Measured now: a few seconds, also where products are slow: their matrices are then smaller. dtype: bfloat16 or
    float32 (float64 on the reference)."""
    candidates = cpu_candidates
    if backend == "gpu":
        candidates, side, size = gpu_candidates, max(side, GPU_SIDE), max(size, GPU_BYTES)
    products, traffic = candidates(dtype, side, size, seconds)
    by_product = {name: count / best(f, seconds) for name, (count, f) in products.items()}
    if backend == "cpu":
        from ltbc.kernels.cpu.ceiling import operations_a_second

        by_product["registers only"] = operations_a_second(np.dtype(as_dtype(dtype)), seconds)
    by_traffic = {name: count * size / best(f, seconds) for name, (count, f) in traffic.items()}
    first, second = max(by_product, key=by_product.__getitem__), max(by_traffic, key=by_traffic.__getitem__)
    return Ceilings(by_product[first], by_traffic[second], first, second)


def best(function: Callable[[], Any], seconds: float) -> float:
    """The shortest run within about that time, or of three within four times that: a ceiling is what a machine can do
    undisturbed."""
    found: list[float] = []
    begun = time.perf_counter()
    while not found or (passed := time.perf_counter() - begun) < seconds or len(found) < 3 and passed < 4 * seconds:
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def affordable(product: Callable[[int], Any], side: int, seconds: float) -> int:
    """The side, halved up to three times where a product would take longer than that, by one of an eighth of it."""
    small = side // 8
    product(small)
    begun = time.perf_counter()
    product(small)
    each = (time.perf_counter() - begun) / small**3
    return next((s for s in (side, side // 2, side // 4) if each * s**3 <= seconds), small)


def cpu_candidates(dtype: str, side: int, size: int, seconds: float) -> tuple[dict, dict]:
    """Functions by name, each with what it does: operations of products; arrays that are read and written."""
    import torch

    kind = getattr(torch, dtype)
    side = affordable(lambda n: torch.mm(*(torch.ones(n, n, dtype=kind) for _ in range(2))), side, seconds)
    a, b = (torch.randn(side, side).to(kind) for _ in range(2))
    out = torch.empty(side, side, dtype=kind)
    products = {f"torch.mm {dtype}": (2 * side**3, lambda: torch.mm(a, b, out=out))}
    if dtype != "bfloat16":
        x, y = a.numpy(), b.numpy()
        products[f"numpy {dtype}"] = 2 * side**3, lambda: np.matmul(x, y)
    u, v, w = (torch.ones(size // 4) for _ in range(3))
    p, q = u.numpy(), v.numpy()
    traffic = {
        "copy": (2, lambda: v.copy_(u)), "numpy copy": (2, lambda: np.copyto(q, p)),
        "triad": (3, lambda: torch.add(u, v, alpha=0.5, out=w)), "read": (1, u.sum),
    }
    return products, traffic


def gpu_candidates(dtype: str, side: int, size: int, seconds: float) -> tuple[dict, dict]:
    """The same with CuPy, and with PyTorch, which may know a faster product of cuBLAS."""
    import cupy

    def done(function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            function()
            cupy.cuda.Device().synchronize()

        return run

    a, b = (cupy.random.standard_normal((side, side), cupy.float32).astype(as_dtype(dtype)) for _ in range(2))
    u, v = cupy.ones(size // 4, cupy.float32), cupy.zeros(size // 4, cupy.float32)
    products = {f"cupy.matmul {dtype}": (2 * side**3, done(lambda: cupy.matmul(a, b)))}
    if find_spec("torch"):
        import torch

        p, q = (torch.randn(side, side, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
        products[f"torch.mm {dtype}"] = 2 * side**3, done(lambda: torch.mm(p, q))
    return products, {"copy": (2, done(lambda: cupy.copyto(v, u))), "triad": (3, done(lambda: cupy.add(u, v, out=v)))}
