"""Norms and products that neither overflow nor underflow where their result does not."""

from typing import Any

import numpy as np

SAFE = (1e-250, 1e250)  # sums of squares between these have lost nothing


def norm(a: np.ndarray) -> float:
    """The Euclidean norm, scaled where squares leave the range of float64; infinite where `a` is not finite."""
    a = a.reshape(-1)
    with np.errstate(all="ignore"):
        square = float((a * a).sum())
        if SAFE[0] < square < SAFE[1]:
            return square**0.5
        largest = float(np.abs(a).max(initial=0.0))
        if not largest < np.inf:
            return np.inf
        if largest == 0:
            return 0.0
        a = a / largest
        return largest * float((a * a).sum()) ** 0.5


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of products; infinite or NaN where it is too large, which no comparison takes for right."""
    with np.errstate(all="ignore"):
        return float((a.reshape(-1) * b.reshape(-1)).sum())  # in pairs, and without BLAS' threads


def root_mean_square(a: np.ndarray) -> float:
    return norm(a) / max(a.size, 1) ** 0.5


def signs(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Random, between 0.5 and 1.5, up or down: none near 0 and no two alike."""
    drawn = rng.uniform(-1, 1, shape)
    return drawn + np.copysign(0.5, drawn)
