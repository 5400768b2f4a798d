"""The point given lies on a kink: which elements of y have it, and whether the gradient there could be one at all."""

from typing import NamedTuple

import numpy as np

from . import leaves
from .errors import OutOfDomain
from .numbers import dot, norm
from .pair import Pair, Visit
from .ruler import Ruler
from .values import real

BENT = 1e-3  # of the change of an element of y: by how much two estimates of its slope differ at a kink, and more
DRAWS = 4
OUTSIDE = (0.1, 0.01)  # smaller steps, in those of the first, at which a slope must be impossible, too
ALONE = 4  # elements of y with a kink that are tried alone, so that others cannot make up for them


class Look(NamedTuple):
    """Changes of y on both sides along v, the step, the displacement, and by how much estimates of slopes differ."""

    v: np.ndarray
    step: float
    d: np.ndarray
    up: np.ndarray
    down: np.ndarray
    off: np.ndarray


def look(ruler: Ruler, v: np.ndarray, step: float) -> Look | None:
    try:
        ruler.at(step * v)
    except OutOfDomain:
        return None
    return Look(v, step, real(ruler.displacement), *ruler.sides)


def looks(ruler: Ruler, directions: list[np.ndarray]) -> list[Look]:
    found = (look(ruler, v, ruler.step) for v in directions)
    return [one for one in found if one is not None]


def bent(ruler: Ruler, seen: list[Look]) -> np.ndarray:
    """The elements of y that have a kink or a jump along one of some directions."""
    found = np.zeros(ruler.visit.y.shape, bool)
    for one in seen:
        size = np.maximum(np.abs(one.up), np.abs(one.down))
        found |= np.abs(one.off) > np.maximum(BENT * size, 1e3 * ruler.roundoff * np.abs(ruler.visit.y))
    return found


def refuted(pair: Pair, ruler: Ruler, seen: list[Look]) -> str:
    """What to say where backward's slope is impossible at a kink: outside of the slopes on both sides of it; or ""."""
    if leaves.roundoff(pair.format) > leaves.roundoff("float32"):
        return ""  # steps are rounded by more than what is to be seen
    where = np.flatnonzero(bent(ruler, seen))
    visits = [ruler.visit]
    if where.size and ruler.visit.y.size > 1:
        for k in pair.rng.permutation(where)[:ALONE]:
            visits.append(pair.visit(ruler.visit.point, np.where(np.arange(ruler.visit.y.size) == k, 1.0, 0.0)))
    for visit in visits:
        for one in seen:
            claim = _outside(ruler, visit, one)
            smaller = (look(ruler, one.v, k * one.step) for k in OUTSIDE) if claim else ()
            if claim and all(each is not None and _outside(ruler, visit, each) for each in smaller):
                slope, low, high = claim
                return f"backward gives a slope of {slope:.4g} there, one-sided slopes are {low:.4g} to {high:.4g}"
    return ""


def _outside(ruler: Ruler, visit: Visit, one: Look) -> tuple[float, float, float] | None:
    """(slope by backward, least and largest one-sided slope) where the first is not between the others.

    Each element of y has the slopes of its two sides; what is convex or concave there has its own between them.
    """
    sides = np.stack([visit.dy * one.up, -visit.dy * one.down]) / one.step
    low, high = float(sides.min(0).sum()), float(sides.max(0).sum())
    slope = dot(real(visit.gradients[ruler.index]), one.d) / one.step
    rounding = 8 * ruler.roundoff * norm(visit.dy * np.where(one.up != one.down, visit.y, 0.0)) / one.step
    room = BENT * norm(np.abs(sides).max(0)) + rounding
    return None if low - room <= slope <= high + room else (slope, low, high)
