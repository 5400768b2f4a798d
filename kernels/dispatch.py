"""Finds the implementation of an operation: `kernels.<op>.<backend>`, loaded when first asked for.

There is no registry and no silent fallback: a backend that is missing or cannot run here is an error that says so.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from ltbc.kernels.arrays import check_activation

BACKENDS = ("reference", "cpu", "gpu")


def implementation(op: str, backend: str) -> ModuleType:
    """The module `kernels.<op>.<backend>`, for instance `implementation("conv3x3", "reference")`.

    Raises ValueError for an unknown backend or one that the operation does not have, and whatever
    the backend's own import raises where it cannot run (no Triton, no CuPy, no GPU).
    """
    if backend not in BACKENDS:
        raise ValueError(f"{op}: backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    name = f"ltbc.kernels.{op}.{backend}"
    if find_spec(name) is None:
        raise ValueError(f"{op}: has no {backend} implementation yet; use backend='reference'")
    return import_module(name)


def through_activation(op: str, backend: str, through: str) -> dict[str, str]:
    """What `backward` hands on where dx is taken through the activation that made x, which the cpu backend alone does.

    Raises ValueError for an unknown activation, or one other than "none" with another backend.
    """
    check_activation(op, through)
    if through == "none":
        return {}
    if backend != "cpu":
        raise ValueError(f"{op}: through={through!r} is the cpu backend's alone; leave it out with backend={backend!r}")
    return {"through": through}


def allocate(shape: tuple[int, ...], dtype: Any, backend: str, xp: ModuleType = np) -> Any:
    """An uninitialized activation buffer `[N, H, W, C]` in the backend's own layout.

    Plainly contiguous for `reference`; a backend that wants more (a border of zeros, alignment) defines
    `allocate(shape, dtype)` in its hardware file, `kernels/cpu/machine.py` or `kernels/gpu/launch.py`.
    """
    if backend == "reference":
        return xp.empty(shape, dtype)
    hardware = import_module({"cpu": "ltbc.kernels.cpu.machine", "gpu": "ltbc.kernels.gpu.launch"}[backend])
    return hardware.allocate(shape, dtype)


def add(total: Any, x: Any, backend: str) -> None:
    """total += x: the sum of two gradients where the network forks."""
    if backend == "cpu":
        import_module("ltbc.kernels.cpu.elementwise").add(total, x)
    else:
        total += x
