"""What the contracts share: the array module of an array, checks of shapes and dtypes, the activations.

An array argument is described by a pattern such as "N H W Cin": numbers must match, a name stands for the
same size wherever it occurs. The first argument that disagrees is named, with what came and what was wanted.
"""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations, product
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: CuPy is optional, so no annotation may need it

ACTIVATIONS = ("none", "relu", "sigmoid")
FLOATS = ("float16", "bfloat16", "float32", "float64")


def array_module(x: Array) -> ModuleType:
    """`cupy` for a CuPy array, else `numpy`."""
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def module_of(op: str, name: str, x: Array) -> ModuleType:
    """`array_module`; raises TypeError for what is no array."""
    xp = array_module(x)
    if not isinstance(x, xp.ndarray):
        raise TypeError(f"{op}: {name} must be a NumPy or CuPy array, got {type(x).__name__}")
    return xp


def address(x: Array) -> int:
    """Of the first element. Of NumPy's arrays it is what follows an object's head in its C interface: attributes take
    1 us."""
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p.from_address(id(x) + object.__basicsize__).value or 0
    return x.data.ptr


@lru_cache
def dimensions(pattern: str) -> tuple[str | int, ...]:
    return tuple(int(d) if d.isdigit() else d for d in pattern.split())


def bind(op: str, **arguments: tuple[Array, str]) -> dict[str, int]:
    """Checks each `name=(array, "N H W C")` against its pattern and returns the sizes by name.

    Raises TypeError for what is no array or lies on another device than the first, ValueError for a wrong shape.
    """
    first, device = "", None
    for name, (x, _) in arguments.items():
        xp = module_of(op, name, x)
        if device is None:
            first, device = name, xp
        elif xp is not device:
            raise TypeError(f"{op}: {name} is a {xp.__name__} array but {first} is a {device.__name__} array")
    return dict(sizes_of(op, tuple([(name, x.shape, pattern) for name, (x, pattern) in arguments.items()])))


@lru_cache(4096)
def sizes_of(op: str, arguments: tuple[tuple[str, tuple[int, ...], str], ...]) -> dict[str, int]:
    """The sizes by name of each (name, shape, pattern); remembered, since layers are called with the same shapes."""
    sizes: dict[str, int] = {}
    bound_by: dict[str, str] = {}
    for name, shape, pattern in arguments:
        dims = dimensions(pattern)
        fits = len(dims) == len(shape)
        for d, got in zip(dims, shape):
            fits = fits and got == (sizes.get(d, got) if isinstance(d, str) else d)
        if not fits:
            known = [f"{d}={sizes[d]} (from {bound_by[d]})" for d in dict.fromkeys(dims) if d in sizes]
            hint = f" with {', '.join(known)}" if known else ""
            raise ValueError(f"{op}: {name} must be [{', '.join(map(str, dims))}]{hint}, got {list(shape)}")
        if 0 in shape:
            raise ValueError(f"{op}: {name} must not be empty, got {list(shape)}")
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


def check_choice(op: str, name: str, value: object, choices: Sequence[str]) -> None:
    """Raises ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{op}: {name} must be one of {', '.join(choices)}, got {shown(value)}")


def check_activation(op: str, activation: str) -> None:
    """Raises ValueError unless `activation` is one of `ACTIVATIONS`."""
    check_choice(op, "activation", activation, ACTIVATIONS)


def check_flags(op: str, **flags: object) -> None:
    """Raises TypeError unless each is True or False."""
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{op}: {name} must be True or False, got {shown(value)}")


def is_integer(value: object) -> bool:
    """Python's or NumPy's; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_number(op: str, name: str, value: Any, dtype: Any) -> float:
    """The value as kernels see it, rounded to the dtype; raises TypeError for what is no number, ValueError for one
    that is not finite there."""
    if not (is_integer(value) or isinstance(value, (float, np.floating))):
        raise TypeError(f"{op}: {name} must be a number, got {shown(value)}")
    largest = float(np.finfo(dtype).max)
    if not -largest <= value <= largest:
        raise ValueError(f"{op}: {name} must be finite in {np.dtype(dtype)}, got {shown(value)}")
    return float(np.dtype(dtype).type(value))


def shown(value: object) -> str:
    """For a message of one line: numbers and words themselves, of anything else the type."""
    plain = isinstance(value, (str, int, float, np.generic)) or value is None
    return repr(value) if plain else f"a {type(value).__name__}"


def buffers(op: str, out: Any, *names: str) -> tuple[Array | None, ...]:
    """`out` of an operation with several results: a buffer or None for each of the names. Not yet looked at."""
    if out is None:
        return (None,) * len(names)
    if not isinstance(out, (tuple, list)):
        raise TypeError(f"{op}: out must be a tuple ({', '.join(names)}), got {shown(out)}")
    if len(out) != len(names):
        raise ValueError(f"{op}: out must be a tuple ({', '.join(names)}), got one of {len(out)}")
    return tuple(out)


def check_out(
    op: str, inputs: Mapping[str, Array | None], *, over: Array | None = None,
    **outputs: tuple[Array | None, tuple[int, ...]],
) -> None:
    """Checks each `name=(buffer, shape)` that is given (not None): an array of that shape and a float dtype on the
    device of the inputs, that can be written and lies apart from them and the other buffers. A buffer may be the input
    `over` itself."""
    inputs = {name: x for name, x in inputs.items() if x is not None}
    first, written = next(iter(inputs)), {}
    for result, (buffer, shape) in outputs.items():
        if buffer is None:
            continue
        written[name := f"out {result}"] = buffer
        xp, device = module_of(op, name, buffer), array_module(inputs[first])
        if xp is not device:
            raise TypeError(f"{op}: {name} is a {xp.__name__} array but {first} is a {device.__name__} array")
        if buffer.shape != shape:
            raise ValueError(f"{op}: {name} must be {list(shape)}, got {list(buffer.shape)}")
        if not is_float(buffer.dtype):
            raise TypeError(f"{op}: {name} must be of a float dtype, got {buffer.dtype}")
        check_writable(op, name, buffer)
    check_apart(op, {name: buffer for name, buffer in written.items() if buffer is not over}, inputs)
    check_apart(op, written)


def check_writable(op: str, name: str, buffer: Array) -> None:
    """Raises ValueError for a buffer that is read-only or has one element in several places."""
    if isinstance(buffer, np.ndarray) and not buffer.flags.writeable:
        raise ValueError(f"{op}: {name} must be writable, got a read-only array")
    if 0 in buffer.strides and any(step == 0 and side > 1 for step, side in zip(buffer.strides, buffer.shape)):
        raise ValueError(f"{op}: {name} must have memory for every element, got a broadcast array")


def check_apart(op: str, written: dict[str, Array], others: Mapping[str, Array] | None = None) -> None:
    """Raises ValueError where one of `written` shares memory with one of the others (default: with another of them)."""
    pairs = combinations(written.items(), 2) if others is None else product(written.items(), others.items())
    for (name, x), (other, y) in pairs:
        xp = array_module(x)
        if xp.may_share_memory(x, y) and xp.shares_memory(x, y):
            raise ValueError(f"{op}: {name} must lie apart from {other}, got arrays that share memory")


@lru_cache
def is_float(dtype: Any) -> bool:
    """True for float16, bfloat16, float32 and float64."""
    return str(np.dtype(dtype)) in FLOATS


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
