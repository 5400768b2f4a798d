"""What a wrong gradient looks like, where it looks like something."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import leaves
from .numbers import dot, norm
from .ruler import Ruler
from .values import real

CLOSE = 1e-4  # elements measured alone are known to about that


def find(check: Any, ruler: Ruler, elements: list, worst: Any, at: int) -> str:
    """The first cause that fits all elements that were measured, or ""."""
    usable = [e for e in elements if np.isfinite(e.measured)]
    visit, gradient = ruler.visit, ruler.visit.gradients[ruler.index]
    if gradient.dtype.kind == "c":
        return _other_convention(check, ruler)
    if not usable:
        return ""
    at_ = np.array([e.at for e in usable])
    true = np.array([e.measured for e in usable])
    close = min(max(CLOSE, 30 * check.tolerance), 0.1)
    fits = _Fit(gradient.ravel()[at_], true, close)
    for cause in _ratios(check, ruler, fits):
        return cause
    if _ignores_dy(check, ruler):
        return "it does not depend on dy"
    if len(usable) < 2 and gradient.size > 1:
        return _stale(check, at)
    for i, other in visit.gradients.items():
        if i != ruler.index and other.shape == gradient.shape and fits.is_like(other.ravel()[at_]):
            return f"it fits the gradient of {check.pair.slots[i].name}"
    for cause, other in _rearranged(gradient):
        if fits.is_like(other.ravel()[at_]):
            return f"it is {cause}"
    return _missing_sum(ruler, gradient) or _stale(check, at)


def _other_convention(check: Any, ruler: Ruler) -> str:
    """Whether backward is right by the other convention, along one more direction."""
    pair, d = check.pair, ruler.displacement
    slope = ruler.at(np.abs(d).max() * (pair.signs(d.shape) + 1j * pair.signs(d.shape)))
    pair.conjugate = not pair.conjugate
    try:
        gradient = pair.visit(ruler.visit.point, ruler.visit.dy).gradients[ruler.index]
    finally:
        pair.conjugate = not pair.conjugate
    if abs(dot(real(gradient), real(ruler.displacement)) - slope.measured) <= CLOSE * slope.scale:
        other = "plain" if pair.conjugate else "conjugate"
        return f'it fits the other convention of complex gradients: complex="{other}"'
    return ""


class _Fit:
    """Elements of the gradient that backward gave, and of the measured one."""

    def __init__(self, given: np.ndarray, true: np.ndarray, close: float) -> None:
        self.given, self.true, self.close = given, true, close

    def is_like(self, other: np.ndarray) -> bool:
        return norm(other - self.true) <= self.close * norm(self.true) and norm(self.true) > 0

    def ratio(self) -> float | None:
        """given / true where that is one number for all elements."""
        square = dot(self.true, self.true)
        if not square or not np.isfinite(square):
            return None
        ratio = dot(self.given, self.true) / square
        off = norm(self.given - ratio * self.true)
        return ratio if off <= self.close * norm(self.given) and self.given.any() else None


def _ratios(check: Any, ruler: Ruler, fits: _Fit) -> Iterator[str]:
    if not fits.given.any() and fits.true.all():
        yield "it is 0" + (" everywhere" if not ruler.visit.gradients[ruler.index].any() else "")
    ratio = fits.ratio()
    if ratio is None or len(fits.true) < min(2, ruler.visit.gradients[ruler.index].size):
        return
    if abs(ratio + 1) < fits.close:
        yield "its sign is wrong everywhere"
    for name, n in _sizes(check):
        if abs(ratio * n - 1) < fits.close:
            yield f"it is 1/N of what it should be (N = {n}, {name})"
        if n > 2 and abs(ratio / n - 1) < fits.close:
            yield f"it is N times too large everywhere (N = {n}, {name})"
    if ratio > 1 + fits.close:
        yield f"it is {ratio:.4g} times too large everywhere"
    elif 0 < ratio < 1 - fits.close:
        yield f"it is {1 / ratio:.4g} times too small everywhere"
    elif ratio < 0:
        yield f"it is {ratio:.4g} times what it should be everywhere"


def _sizes(check: Any) -> list[tuple[str, int]]:
    """Sizes above 2 (two is said in words) of arguments and their axes, with what they are of."""
    found: dict[int, str] = {}
    for slot, x in zip(check.pair.slots, check.visits[0].point):
        for axis, n in enumerate(x.shape):
            found.setdefault(n, f"axis {axis} of {slot.name}")
    for slot, x in zip(check.pair.slots, check.visits[0].point):
        found.setdefault(x.size, f"the size of {slot.name}")
    found.setdefault(check.visits[0].y.size, "the size of y")
    return [(name, n) for n, name in found.items() if n > 2]


def _ignores_dy(check: Any, ruler: Ruler) -> bool:
    visit = ruler.visit
    try:
        other = check.pair.visit(visit.point, visit.dy * check.pair.signs(visit.dy.shape)).gradients[ruler.index]
    except Exception:  # whatever it is, it is not this cause
        return False
    mine, allowed = visit.gradients[ruler.index], 1e3 * leaves.roundoff(check.pair.format)
    return bool(mine.any()) and norm(real(other) - real(mine)) <= allowed * norm(real(mine))


def _rearranged(g: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if g.ndim >= 2 and g.shape[-1] == g.shape[-2]:
        yield "transposed", np.swapaxes(g, -1, -2)
    if g.ndim >= 2 and g.shape[-1] != g.shape[-2]:
        yield "transposed in memory", np.swapaxes(g.reshape(*g.shape[:-2], g.shape[-1], g.shape[-2]), -1, -2)
    for axis in range(g.ndim):
        if g.shape[axis] > 1:
            yield f"flipped along axis {axis}", np.flip(g, axis)
            yield f"shifted along axis {axis}", np.roll(g, 1, axis)
            yield f"shifted along axis {axis}", np.roll(g, -1, axis)


def _missing_sum(ruler: Ruler, g: np.ndarray) -> str:
    """One slice of dy where its sum is due, or one gradient for all that a mean or sum made alike."""
    dy = ruler.visit.dy
    rows = dy.size // g.size if g.size and dy.size % g.size == 0 else 0
    if rows > 1:
        slices = dy.reshape(rows, g.size)
        if any(np.array_equal(row, g.ravel()) for row in slices[[0, -1]]):
            return "it is one slice of dy: it misses the sum over axis 0"
    return ""


def _stale(check: Any, at: int) -> str:
    """Right at the first point, wrong at the second."""
    if not at:
        return ""
    first, second = check.visits[0], check.visits[-1]
    same = [i for i in first.gradients if np.array_equal(first.gradients[i], second.gradients[i])]
    if same and all(first.gradients[i].any() for i in same):
        return "it is the gradient of the call before"
    return "it was right at the point given: does it keep something of an earlier call?"
