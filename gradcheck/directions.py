"""Directions to move an argument along: random ones, those that favor small gradients, those of a manifold."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .numbers import root_mean_square, signs
from .values import real

SMALL = 1e-3  # of the largest: gradients below it are checked by a direction of their own
ZEROS = 1e-4  # of the largest: what other gradients are damped to beside some that are 0, which ought to be 0
TANGENTS = ("symmetric", "orthogonal", "simplex")
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (x, t d) -> the point there


def for_argument(option: Any, name: str) -> Any:
    """An option given for all arguments, or by the name of one."""
    return option.get(name) if isinstance(option, Mapping) else option


def check_tangent(operation: str, tangent: Any) -> None:
    if tangent is not None and not callable(tangent) and tangent not in TANGENTS:
        raise ValueError(f"{operation}: tangent must be one of {', '.join(TANGENTS)} or a function, got {tangent!r}")


def scales(x: np.ndarray, limits: Any) -> tuple[float, np.ndarray]:
    """(size of x, size of each element relative to it): zeros have the whole size; 1 where x is 0 everywhere.

    With limits, an element's size is its distance to the nearer one, at most that of x.
    """
    size = root_mean_square(real(x)) or 1.0
    if not size < np.inf:
        size = float(np.abs(x).max())
    own = np.abs(x)
    if limits is not None:
        own = np.minimum(np.minimum(x - limits[0], limits[1] - x), size)
    own = np.minimum(own, size) / size
    return size, np.where(own > 0, own, 1.0)


def draw(rng: np.random.Generator, x: np.ndarray, size: float, tangent: Any) -> np.ndarray:
    """Random, as large as x, with no element near 0 and no two alike: errors can neither hide nor cancel."""
    v = signs(rng, x.shape)
    if x.dtype.kind == "c":
        v = v + 1j * signs(rng, x.shape)
    if callable(tangent):
        return np.asarray(tangent(rng, x), x.dtype)
    if tangent == "symmetric":
        v = (v + np.swapaxes(v, -1, -2)) / 2
    elif tangent == "orthogonal":
        a = rng.standard_normal((*x.shape[:-2], x.shape[-2], x.shape[-2]))
        return (a - np.swapaxes(a, -1, -2)) @ x / (2 * x.shape[-2]) ** 0.5
    elif tangent == "simplex":
        return x * (v - (x * v).sum(-1, keepdims=True) / x.sum(-1, keepdims=True))
    return v * size


def curve(tangent: Any) -> Curve | None:
    """How to go along a direction without leaving the manifold; None for straight on."""
    return _rotate if tangent == "orthogonal" else None


def _rotate(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Cayley's transform: (1 - A/2)^-1 (1 + A/2) x for the antisymmetric A with A x = d (columns of x orthonormal)."""
    xt = np.swapaxes(x, -1, -2)
    a = d @ xt - x @ np.swapaxes(d, -1, -2) - x @ (xt @ d) @ xt
    one = np.eye(x.shape[-2])
    return np.linalg.solve(one - a / 2, (one + a / 2) @ x)


def favor_small(v: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """v where the gradient is small beside the largest, so that an error there is not small beside the others.

    Where some are below a thousandth of the largest, v moves those (and zeros) alone; else it is made smaller where
    the gradient is larger, so that all elements add about as much.
    """
    weight = np.abs(gradient) * np.abs(v)
    largest = float(weight.max(initial=0.0))
    if not 0 < largest < np.inf:
        return v
    small = weight <= SMALL * largest
    if (small & (weight > 0)).any():
        v, weight = np.where(small, v, 0.0), np.where(small, weight, 0.0)
        largest = float(weight.max())
        floor = 0.1 * largest
    elif (weight == 0).any():
        floor = ZEROS * largest
    else:
        floor = max(float(weight[weight > 0].min()), SMALL * largest)
    return v * np.where(weight > floor, floor / np.where(weight > 0, weight, 1.0), 1.0)

