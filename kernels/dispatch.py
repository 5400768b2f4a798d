"""Finds the implementation of an operation: `kernels.<op>.<backend>`, loaded when first asked for.

There is no registry and no silent fallback: a backend that is missing or cannot run here is an error that says so.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from ltbc.kernels.arrays import (
    Array,
    array_module,
    check_choice,
    check_dtypes,
    check_out,
    module_of,
    shown,
)

BACKENDS = ("reference", "cpu", "gpu")


def implementation(op: str, backend: str, x: Array | None = None) -> ModuleType:
    """The module `kernels.<op>.<backend>`, for instance `implementation("conv3x3", "reference")`.

    Raises ValueError for an unknown backend or one that the operation does not have, TypeError where x, one of its
    arrays, is not in the backend's memory, and whatever the backend's own import raises where it cannot run (no
    Triton, no CuPy, no GPU).
    """
    check_choice(op, "backend", backend, BACKENDS)
    if backend == "cpu" and x is not None and array_module(x) is not np:
        raise TypeError(f"{op}: backend cpu takes NumPy arrays, got {array_module(x).__name__} arrays")
    name = f"ltbc.kernels.{op}.{backend}"
    if find_spec(name) is None:
        raise ValueError(f"{op}: backend must be one that it has, got {backend!r}; use backend='reference'")
    return import_module(name)


def check_prepared(op: str, backend: str, w: Array, prepared: Any, again: bool = False) -> None:
    """Raises unless `prepared` is None or can be what `prepare(w, backend=backend)` returned: TypeError for what is
    nothing of the kind, ValueError for that of other weights. (That w has changed since is not seen.)

    again: it is to be filled anew, and may be that of other weights of this shape and dtype.
    """
    if prepared is None:
        return
    name = "out" if again else "prepared"
    if backend == "cpu" and hasattr(prepared, "form"):
        of = prepared.w
        alike = (of.shape, of.dtype) == (w.shape, w.dtype) if again else (
            of is w or of.__array_interface__ == w.__array_interface__)
    elif backend == "gpu" and hasattr(prepared, "shape"):
        alike = (prepared.shape[-2:], prepared.dtype) == (w.shape[-2:], w.dtype)
    else:
        raise TypeError(f"{op}: {name} must be what prepare(w, backend={backend!r}) returned, got {shown(prepared)}")
    if not alike:
        raise ValueError(f"{op}: {name} must be what prepare made of this w {list(w.shape)}, got that of other weights")


def prepared_weights(op: str, backend: str, w: Array, out: Any) -> Any:
    """What the backend's `prepare` makes of w, into `out` where given; every contract's `prepare`."""
    check_dtypes(op, {"w": w})
    module = implementation(op, backend, w)
    check_prepared(op, backend, w, out, again=True)
    return module.prepare(w, out=out)


def allocate(shape: tuple[int, ...], dtype: Any, backend: str, xp: ModuleType = np) -> Any:
    """An uninitialized activation buffer `[N, H, W, C]` in the backend's own layout.

    Plainly contiguous for `reference`; a backend that wants more (a border of zeros, alignment) defines
    `allocate(shape, dtype)` in its hardware file, `kernels/cpu/buffers.py` or `kernels/gpu/launch.py`.
    """
    check_choice("allocate", "backend", backend, BACKENDS)
    if backend == "reference":
        return xp.empty(shape, dtype)
    hardware = import_module({"cpu": "ltbc.kernels.cpu.buffers", "gpu": "ltbc.kernels.gpu.launch"}[backend])
    return hardware.allocate(shape, dtype)


def add(total: Any, x: Any, backend: str) -> None:
    """total += x: the sum of two gradients of one shape where the network forks."""
    check_choice("add", "backend", backend, BACKENDS)
    module_of("add", "x", x)
    check_dtypes("add", {"x": x})
    check_out("add", {"x": x}, total=(total, x.shape))
    if backend == "cpu":
        import_module("ltbc.kernels.cpu.elementwise").add(total, x)
    else:
        total += x


def compile_ahead(passes: Callable[[], object], backend: str) -> None:
    """Compiles what `passes` will need, where the backend does that before it runs. What `passes` writes is garbage
    until it is written again, what `prepare` returned must be prepared again."""
    if backend == "cpu":
        import_module("ltbc.kernels.cpu.ahead").compile_ahead(passes)
