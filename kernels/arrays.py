"""What the contracts share: the array module of an array, checks of shapes and dtypes, the activations.

An array argument is described by a pattern such as "N H W Cin": numbers must match, a name stands for the
same size wherever it occurs. The first argument that disagrees is named, with what came and what was wanted.
"""

import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: CuPy is optional, so no annotation may need it

ACTIVATIONS = ("none", "relu", "sigmoid")


def array_module(x: Array) -> ModuleType:
    """`cupy` for a CuPy array, else `numpy`."""
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


@lru_cache
def dimensions(pattern: str) -> tuple[str | int, ...]:
    return tuple(int(d) if d.isdigit() else d for d in pattern.split())


def bind(op: str, **arguments: tuple[Array, str]) -> dict[str, int]:
    """Checks each `name=(array, "N H W C")` against its pattern and returns the sizes by name.

    Raises TypeError for what is no array or lies on another device than the first, ValueError for a wrong shape.
    """
    sizes: dict[str, int] = {}
    bound_by: dict[str, str] = {}
    module: tuple[str, ModuleType] | None = None
    for name, (x, pattern) in arguments.items():
        xp = array_module(x)
        if not isinstance(x, xp.ndarray):
            raise TypeError(f"{op}: {name} must be a NumPy or CuPy array, got {type(x).__name__}")
        module = module or (name, xp)
        if xp is not module[1]:
            raise TypeError(f"{op}: {name} is a {xp.__name__} array but {module[0]} is a {module[1].__name__} array")
        dims, shape = dimensions(pattern), x.shape
        fits = len(dims) == len(shape)
        for d, got in zip(dims, shape):
            fits = fits and got == (sizes.get(d, got) if isinstance(d, str) else d)
        if not fits:
            known = [f"{d}={sizes[d]} (from {bound_by[d]})" for d in dict.fromkeys(dims) if d in sizes]
            hint = f" with {', '.join(known)}" if known else ""
            raise ValueError(f"{op}: {name} must be [{', '.join(map(str, dims))}]{hint}, got {list(shape)}")
        if not x.size:
            raise ValueError(f"{op}: {name} is empty, {list(shape)}")
        for d, got in zip(dims, shape):
            if isinstance(d, str) and d not in sizes:
                sizes[d], bound_by[d] = got, name
    return sizes


def check_dtypes(op: str, storage: dict[str, Array], wide: dict[str, Array] | None = None) -> None:
    """Checks the dtype rule of `kernels/README.md`.

    All of `storage` share one float dtype; each of `wide` has that dtype or the one sums are kept in.
    """
    (first, x), *others = storage.items()
    if not is_float(x.dtype):
        raise TypeError(f"{op}: {first} must be of a float dtype, got {x.dtype}")
    for name, other in others:
        if other.dtype != x.dtype:
            raise TypeError(f"{op}: {name} must be {x.dtype} like {first}, got {other.dtype}")
    for name, other in (wide or {}).items():
        if other.dtype not in (x.dtype, sum_dtype(x.dtype)):
            raise TypeError(f"{op}: {name} must be {sum_dtype(x.dtype)} where {first} is {x.dtype}, got {other.dtype}")


def check_activation(op: str, activation: str) -> None:
    """Raises ValueError unless `activation` is one of `ACTIVATIONS`."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")


def check_out(op: str, **outputs: tuple[Array | None, tuple[int, ...]]) -> None:
    """Checks that each `name=(buffer, shape)` that is given (not None) has that shape."""
    for name, (buffer, shape) in outputs.items():
        if buffer is not None and tuple(buffer.shape) != tuple(shape):
            raise ValueError(f"{op}: out {name} must be {list(shape)}, got {list(buffer.shape)}")


@lru_cache
def is_float(dtype: Any) -> bool:
    """True for float16, bfloat16, float32 and float64."""
    return np.dtype(dtype).kind == "f" or str(dtype) == "bfloat16"


@lru_cache
def sum_dtype(dtype: Any) -> np.dtype:
    """The dtype that sums, biases and parameter gradients are kept in: float32 for 16-bit storage, else `dtype`."""
    return np.dtype(np.float32) if np.dtype(dtype).itemsize == 2 else np.dtype(dtype)


def activate(z: Array, activation: str) -> Array:
    """Applies the activation to z, in place, and returns z."""
    xp = array_module(z)
    if activation == "relu":
        xp.maximum(z, 0, out=z)
    elif activation == "sigmoid":  # 1/(1+exp(-z)) as a tanh, which cannot overflow
        z *= 0.5
        xp.tanh(z, out=z)
        z += 1
        z *= 0.5
    return z


def activation_backward(dy: Array, y: Array, activation: str) -> Array:
    """dz = dy * act'(z), with the derivative taken from y = act(z): relu y > 0, sigmoid y (1 - y)."""
    if activation == "relu":
        return dy * (y > 0)
    if activation == "sigmoid":
        return dy * (y * (1 - y))
    return dy
