"""Checks a forward/backward pair, yours or ours, and says which element of which gradient is wrong.

    from ltbc.kernels.gradcheck import check_adjoint, check_gradients, check_loss

    def forward(x, w, b): return np.tanh(x @ w + b)
    def backward(dy, x, w, y): ...; return dx, dw, db                  # in the order of forward's arguments

    check_gradients(forward, backward, {"x": x, "w": w, "b": b}, takes=("x", "w", "y"), operation="dense")

    GradientError: dense: dw is wrong at [3, 1]: backward gives 0.57102, finite differences give 1.14204 (relative
    error 1.2e-01 along 4 random directions, tolerance 1e-06; 1 of 20 elements are off)

With a random dy, and v a random direction of one argument, gradients are right if

    <dx, v> = d/dt <dy, forward(x + t v)> at t = 0,                                                            (1)

which looks at all elements of x at once: an error in one of nine taps cannot hide, as it does from checks of a few
chosen elements. The derivative comes from central differences D(h), D(h/2) in float64, extrapolated to
(4 D(h/2) - D(h))/3. Kinks (relu, max) spoil it. If D(h) and D(h/2) disagree, a kink lies between; if the difference of
the one-sided slopes does not halve with h, one lies at 0. Together the two bound the numeric error, and where it is no
tenth of the tolerance, the step shrinks, then another direction is drawn, then the arguments move by a thousandth of
their size. If nothing is smooth, that is reported; it never counts as passed.

A function that is linear in an argument has the sharper test without any step: <dy, F(v)> = <F*(dy), v>.
When a direction fails, halves of it are tried until the wrong element remains.

NumPy or CuPy arrays. Needs NumPy only; `ltbc.kernels.strategies` draws shapes and arrays for property tests.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ltbc.kernels.pair import GradientError, Pair

__all__ = ["GradientError", "check_adjoint", "check_gradients", "check_loss"]

STEPS = (1e-4, 1e-5, 1e-6)  # of an argument's size: at 1e-4 differences lose about as much to h^4 as to rounding
MOVES = (0.0, 1e-3, 1e-3)  # of an argument's size, for points at which no direction is smooth
DRAWS = 4  # directions drawn for every one that is needed
SCAN = 128  # elements that are tried one by one when a wrong one is searched for
FLOOR = 1e-4  # slopes are measured relative to themselves, or to this part of y's size where they are smaller


def check_gradients(
    forward: Callable, backward: Callable, arguments: Mapping[str, Any], *, wrt: Sequence[str] | None = None,
    takes: Sequence[str] | None = None, operation: str = "operation", directions: int = 4, tolerance: float = 1e-6,
    seed: int = 0,
) -> dict[str, float]:
    """Checks equation (1) along random directions of every float array in `arguments`, or of those named in `wrt`.

    forward(*arguments) returns y, one array or number. backward(dy, *arguments) returns one gradient, or a tuple: for
    each float array of `arguments` in order (None where it has none and `wrt` leaves it out), or for each of `wrt`.
    takes: the names that backward wants after dy instead of all arguments; "y" stands for forward's result.
    Float arrays are handed over as float64, all else as it is.

    Returns the largest relative error of each gradient. Raises GradientError for a wrong gradient, TypeError where
    forward does not compute in float64, ValueError for names that do not occur.
    """
    pair = Pair(operation, forward, backward, arguments, wrt, takes, seed)
    for move in MOVES:
        pair.move(move)
        dy, y, gradients = pair.gradients()
        try:
            return {
                name: _check(pair, name, partial(_difference, pair, name, g, dy, y, tolerance), directions, tolerance)
                for name, g in gradients.items()
            }
        except _NotSmooth as reason:
            last = reason
    raise GradientError(f"{operation}: no smooth point found, so nothing is proved: {last}")


def check_adjoint(
    forward: Callable, backward: Callable, arguments: Mapping[str, Any], *, linear_in: Sequence[str],
    takes: Sequence[str] | None = None, operation: str = "operation", directions: int = 4, tolerance: float = 1e-10,
    seed: int = 0,
) -> dict[str, float]:
    """Checks <dy, F(v)> = <F*(dy), v> for each argument in `linear_in`, F(v) = forward(v) - forward(0).

    All else as in `check_gradients`; no step, no kinks, hence a sharper tolerance. Raises ValueError where forward is
    not linear in the argument (a constant, such as a bias, is allowed for).
    """
    pair = Pair(operation, forward, backward, arguments, linear_in, takes, seed)
    dy, _, gradients = pair.gradients()
    errors = {}
    for name, g in gradients.items():
        zero = pair.value(name, np.zeros_like(g))
        u, v = pair.direction(pair.point[name]), pair.direction(pair.point[name])
        curved = pair.value(name, u) + pair.value(name, v) - pair.value(name, u + v) - zero
        if np.linalg.norm(curved) > 1e-9 * (np.linalg.norm(pair.value(name, u)) + np.linalg.norm(zero)):
            raise ValueError(f"{operation}: forward is not linear in {name}: F(u) + F(v) differs from F(u + v)")
        errors[name] = _check(pair, name, partial(_adjoint, pair, name, g, dy, zero), directions, tolerance)
    return errors


def check_loss(
    value_and_gradient: Callable, arguments: Mapping[str, Any], *, wrt: Sequence[str], operation: str = "loss",
    directions: int = 4, tolerance: float = 1e-6, seed: int = 0,
) -> dict[str, float]:
    """`check_gradients` for value_and_gradient(*arguments), which returns (loss, gradient for each of `wrt`...)."""
    return check_gradients(
        lambda *args: value_and_gradient(*args)[0],
        lambda dy, *args: tuple(dy * g for g in value_and_gradient(*args)[1:]),
        arguments, wrt=wrt, operation=operation, directions=directions, tolerance=tolerance, seed=seed,
    )


class _NotSmooth(Exception):
    """Too few directions are smooth enough to measure a slope."""


class _Slope(NamedTuple):
    """The slope along a direction by backward and by a judge, the bound of the judge's error, their scale."""

    backward: float
    measured: float
    noise: float
    scale: float
    judge: str

    def is_smooth(self, tolerance: float) -> bool:
        return self.noise <= 0.1 * tolerance * self.scale

    def error(self) -> float:
        return abs(self.backward - self.measured) / self.scale if self.scale else 0.0


def _difference(
    pair: Pair, name: str, gradient: np.ndarray, dy: np.ndarray, y: np.ndarray, tolerance: float, v: np.ndarray
) -> _Slope:
    """Both sides of equation (1) along v, with the largest step that is smooth."""

    def slopes(h: float) -> tuple[float, float]:
        """The central difference, and by how much the one-sided ones differ."""
        up, down = (pair.value(name, pair.point[name] + t * v) for t in (h, -h))
        return float((dy * (up - down)).sum()) / (2 * h), float((dy * ((up - y) + (down - y))).sum()) / h

    floor = max(float(np.linalg.norm(gradient * v)), FLOOR * float(np.linalg.norm(dy * y)))
    for h in STEPS:
        (wide, wide_bend), (narrow, narrow_bend) = slopes(h), slopes(h / 2)
        measured, noise = (4 * narrow - wide) / 3, abs(wide - narrow) + abs(2 * narrow_bend - wide_bend)
        backward = float((gradient * v).sum())
        slope = _Slope(backward, measured, noise, max(abs(measured), floor), "finite differences give")
        if slope.is_smooth(tolerance):
            break
    return slope


def _adjoint(
    pair: Pair, name: str, gradient: np.ndarray, dy: np.ndarray, zero: np.ndarray, v: np.ndarray
) -> _Slope:
    """Both sides of the adjoint identity for v."""
    image = dy * (pair.value(name, v) - zero)
    scale = max(float(np.linalg.norm(image)), float(np.linalg.norm(gradient * v)))
    return _Slope(float((gradient * v).sum()), float(image.sum()), 0.0, scale, "the adjoint identity gives")


def _check(
    pair: Pair, name: str, measure: Callable[[np.ndarray], _Slope], directions: int, tolerance: float
) -> float:
    """The largest relative error along so many smooth directions; raises GradientError where it is too large."""
    smooth: list[tuple[float, np.ndarray]] = []
    x = pair.point[name]
    for _ in range(DRAWS * directions if x.size else 0):
        v = pair.direction(x)
        slope = measure(v)
        if slope.is_smooth(tolerance):
            smooth.append((slope.error(), v))
        if len(smooth) == directions:
            break
    else:
        if x.size:
            found = f"only {len(smooth)} of {DRAWS * directions} directions of {name} are smooth"
            raise _NotSmooth(f"{found} (kinks, jumps or noise); move the arguments away from kinks")
    error, v = max(smooth, key=lambda pair: pair[0], default=(0.0, x))
    if error > tolerance:
        at, slope, wrong = _locate(measure, v, tolerance)
        raise GradientError(
            f"{pair.operation}: d{name} is wrong at {list(at)}: backward gives {slope.backward / v[at]:.6g}, "
            f"{slope.judge} {slope.measured / v[at]:.6g} (relative error {error:.1e} along {directions} random "
            f"directions, tolerance {tolerance:g}{wrong})"
        )
    return error


def _locate(measure: Callable[[np.ndarray], _Slope], v: np.ndarray, tolerance: float) -> tuple[tuple, _Slope, str]:
    """(index, slopes, how many elements are wrong) of the element that is farthest off: halves, then one by one."""

    def along(elements: np.ndarray) -> _Slope:
        part = np.zeros_like(v)
        part.flat[elements] = v.flat[elements]
        return measure(part)

    def miss(slope: _Slope) -> float:
        return abs(slope.backward - slope.measured) if slope.is_smooth(tolerance) else 0.0

    left = np.arange(v.size)
    while left.size > SCAN:
        left = max(np.array_split(left, 2), key=lambda half: miss(along(half)))
    slopes = [along(left[i : i + 1]) for i in range(left.size)]
    worst = int(np.argmax([miss(slope) for slope in slopes]))
    wrong = f"; {sum(slope.error() > tolerance for slope in slopes)} of {v.size} elements are off"
    at = tuple(int(i) for i in np.unravel_index(left[worst], v.shape))
    return at, slopes[worst], wrong if left.size == v.size else ""
