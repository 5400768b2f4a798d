"""Small things about values: complex numbers as real ones, copies, comparisons."""

from typing import Any, NamedTuple

import numpy as np

from . import leaves, tree

Point = list[np.ndarray]  # the value of every float leaf of the arguments


class Visit(NamedTuple):
    """forward and backward at one point, for one dy. y and dy are flat and real, complex numbers as pairs."""

    point: Point
    y: np.ndarray
    dy: np.ndarray
    gradients: dict[int, np.ndarray]  # by float leaf


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
