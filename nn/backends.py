"""Which backend and dtype this machine is best served with."""

from importlib.util import find_spec
from types import ModuleType

import numpy as np

from ltbc.kernels.class_loss import OP as CLASS_LOSS
from ltbc.nn.architecture import PARTS

DTYPES = {  # that each backend computes in
    "reference": ("float32", "float64", "bfloat16", "float16"),
    "cpu": ("float32", "bfloat16"),
    "gpu": ("float32", "bfloat16", "float16"),
}
OPERATIONS = {row[0] for rows in PARTS.values() for row in rows} | {"chroma_loss", CLASS_LOSS, "adadelta", "color"}


def default_backend() -> str:
    """`gpu` where there is a GPU that CuPy and Triton reach, else `cpu` where Numba is installed, else `reference`."""
    if complete("gpu") and has("cupy", "triton"):
        import cupy

        try:
            if cupy.cuda.runtime.getDeviceCount() > 0:
                return "gpu"
        except cupy.cuda.runtime.CUDARuntimeError:
            pass
    return "cpu" if complete("cpu") and has("numba") else "reference"


def default_dtype(backend: str) -> str:
    """bfloat16 where the backend multiplies it in hardware, else float32."""
    if backend == "cpu":
        from ltbc.kernels.cpu.machine import LEVEL

        return "bfloat16" if LEVEL.bf16 else "float32"
    return "bfloat16" if backend == "gpu" else "float32"


def check_dtype(backend: str, dtype: str) -> None:
    """Raises ValueError for a dtype that the backend does not compute in."""
    if dtype not in DTYPES.get(backend, (dtype,)):  # a backend that does not exist is told by `ltbc.kernels.dispatch`
        raise ValueError(f"backend {backend} computes in {', '.join(DTYPES[backend])}, got {dtype}")


def describe(backend: str) -> str:
    """One line that says on what and how the backend computes."""
    if backend == "cpu":
        from ltbc.kernels.cpu import threads

        return threads.describe()
    if backend == "gpu":
        import cupy

        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        return f"gpu: {name}, Triton kernels on CuPy arrays"
    return "reference: plain NumPy or CuPy, for reading and for checking the others"


def complete(backend: str) -> bool:
    """Whether every operation of the network has this backend."""
    return all(find_spec(f"ltbc.kernels.{op}.{backend}") for op in OPERATIONS)


def has(*packages: str) -> bool:
    return all(find_spec(package) for package in packages)


def array_module_of(backend: str) -> ModuleType:
    """`cupy` for the gpu backend, else `numpy`: where the arrays of a network on that backend live."""
    if backend == "gpu":
        import cupy

        return cupy
    return np
