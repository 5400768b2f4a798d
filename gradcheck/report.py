"""The message about a wrong gradient: the element farthest off, both values, how many are, and a likely cause."""

from typing import Any, NamedTuple

import numpy as np

from . import causes
from .errors import GradientError, OutOfDomain
from .result import Row
from .ruler import Ruler
from .slopes import Found, Slope

COUNTED = 64  # elements that are tried one by one to count those that are off
SAMPLED = 16  # of larger arrays
OFF = 0.3  # an element by more than that is off in any dtype


class Element(NamedTuple):
    """Both gradients at one element."""

    at: int
    backward: float
    measured: float
    off: bool


def wrong(check: Any, ruler: Ruler, found: Found, row: Row, at: int, tolerance: float) -> GradientError:
    """The error that says what is wrong along found.direction."""
    pair, slot = check.pair, check.pair.slots[ruler.index]
    slope = found.slope
    error = slope.miss / slope.scale if slope.scale else np.inf
    judged = f"relative error {error:.1e} along random directions, tolerance {tolerance:g}{_dtype(pair)}"
    if ruler.own is None:  # parts of a direction leave the manifold
        return GradientError(
            f"{pair.operation}: d{slot.name} is wrong along its tangent: backward gives {slope.backward:.6g}, finite "
            f"differences give {slope.measured:.6g} ({judged})"
        )
    elements, worst = _elements(check, ruler, found, tolerance)
    shape = ruler.visit.point[ruler.index].shape
    where = [int(k) for k in np.unravel_index(worst.at, shape)]
    message = (
        f"{pair.operation}: d{slot.name} is wrong at {where}: backward gives {_number(worst.backward)}, "
        f"{ruler.judge} {_number(worst.measured)}, difference {_number(worst.backward - worst.measured)} ({judged}; "
        f"{_count(elements, ruler.visit.point[ruler.index].size)}{_where_checked(row, at)})"
    )
    cause = causes.find(check, ruler, elements, worst, at)
    return GradientError(message + (f"; {cause}" if cause else ""))


def _elements(check: Any, ruler: Ruler, found: Found, tolerance: float) -> tuple[list[Element], Element]:
    """Elements tried one by one, and the one that is farthest off."""
    d = found.direction
    candidates = np.flatnonzero(d)
    first = locate(ruler, found, candidates)
    others = candidates if candidates.size <= COUNTED else check.pair.rng.choice(candidates, SAMPLED, replace=False)
    elements = [element(ruler, d, int(i), tolerance) for i in others if i != first]
    elements.append(element(ruler, d, first, tolerance, surely=True))
    off = [e for e in elements if e.off] or elements[-1:]
    worst = max(off, key=lambda e: abs(e.backward - e.measured) if e.at != first or not e.off else _finite(e))
    return elements, worst


def _finite(e: Element) -> float:
    miss = abs(e.backward - e.measured)
    return miss if np.isfinite(miss) else np.inf


def locate(ruler: Ruler, found: Found, left: np.ndarray) -> int:
    """The element that is farthest off: what one half misses the other does not, so one of two is tried."""
    miss = found.slope.backward - found.slope.measured
    while left.size > 1:
        half, rest = np.array_split(left, 2)
        try:
            slope = ruler.at(part(found.direction, half))
        except OutOfDomain:
            left = rest
            continue
        missed = slope.backward - slope.measured
        left, miss = (half, missed) if not abs(missed) < abs(miss - missed) else (rest, miss - missed)
    return int(left[0])


def part(d: np.ndarray, elements: Any) -> np.ndarray:
    alone = np.zeros_like(d)
    alone.flat[elements] = d.flat[elements]
    return alone


def element(ruler: Ruler, d: np.ndarray, i: int, tolerance: float, surely: bool = False) -> Element:
    """Both gradients at one element, from a step along it alone."""
    slope = _along(ruler, part(d, i))
    step = abs(d.flat[i])
    sign = 1 if d.dtype.kind == "c" else np.sign(d.flat[i])
    if slope is None:
        return Element(i, np.nan, np.nan, surely)
    off = not slope.miss <= min(10 * tolerance, OFF) * slope.scale + 4 * slope.noise
    return Element(i, sign * slope.backward / step, sign * slope.measured / step, off or surely)


def _along(ruler: Ruler, d: np.ndarray) -> Slope | None:
    try:
        return ruler.at(d)
    except OutOfDomain:
        return None


def _count(elements: list[Element], size: int) -> str:
    off = sum(e.off for e in elements)
    if len(elements) == size:
        return f"{off} of {size} elements are off"
    if off <= 1:
        return f"1 of {size} elements, and none of {len(elements) - 1} others tried"
    return f"{off} of {len(elements)} elements tried are off, {size} in all"


def _number(x: float) -> str:
    return f"{x:.6g}"


def _dtype(pair: Any) -> str:
    return "" if pair.format == "float64" else f" of {pair.format}, in which forward computes"


def _where_checked(row: Row, at: int) -> str:
    return "; at a second point" if at else "; beside the point given, which is not smooth" if row.moved else ""
