"""Small things about values: complex numbers as real ones, copies, comparisons."""

from typing import Any

import numpy as np

from . import leaves, tree


def real(a: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs of real ones."""
    return np.ascontiguousarray(a).reshape(*a.shape, 1).view(np.float64) if a.dtype.kind == "c" else a


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def as_list(given: Any) -> list[str]:
    """One name alone may stand for a list of one."""
    return [given] if isinstance(given, str) else list(given)


def copies(made: dict[str, Any]) -> dict[str, list]:
    """Copies of all arrays, flat, by name."""
    return {
        name: [np.array(leaves.to_numpy(a)) if leaves.is_array(a) else None for _, a in tree.leaves(value)]
        for name, value in made.items()
    }


def described(y: Any) -> str:
    return "None" if y is None else f"{type(y).__name__}{' of ' + leaves.format_of(y) if leaves.format_of(y) else ''}"
