"""The slope of <dy, forward> along a direction d, with what is known of its error.

Three values of forward beside y(0), at t = -1, 1/2 and 1 along x + t d, give two estimates of the derivative, element
by element of y: the central difference D = (y(1) - y(-1))/2, whose error is that of the third derivative, and P, the
derivative of the cubic through all four points, whose error is that of the fourth. Where a kink or a jump lies between
the points, or at 0, the two disagree by about as much as each is wrong; rounding makes them disagree as well. So
|P - D| bounds the error of P, whatever it comes from:

    noise = max(|<dy, P - D>|, |dy (P - D)|) + 4 u |dy y'|                                                        (1)

with the unit roundoff u and y' the elements of y that changed: those that do not depend on x add nothing, however
large. d/2 is taken as it is rounded when it is added to x, and the other two steps are exact multiples of it: x may be
1e9 and d 1e-5.

The step is that of the dtype. Where the slope is not resolved there (noise above a tenth of the tolerance), steps
are tried that are smaller for smaller elements, then smaller ones (kinks, domains, large offsets), then larger ones
(rounding). A larger step counts only if it agrees with the smaller one within that one's rounding.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import leaves
from .errors import OutOfDomain
from .numbers import dot, norm
from .pair import Pair
from .slopes import COARSE, ZERO, Found, Slope, Try
from .values import Visit, real

SHRINK = (1e-1, 1e-2, 1e-3)
DEEP = (1e-5, 1e-7, 1e-9, 1e-11)  # for x with an offset; tried for the first directions only
GROW = (30.0, 1e3, 3e4, 1e6, 1e8, 1e12)
RESOLVED = {"float64": 0.1, "float32": 0.1}  # of the tolerance: what noise may be; in 16 bits half, and it widens it
BELIEVED = {"float64": 1e7, "float32": 1e3}  # roundings of y that may be called so: sums on the way may be larger
OTHER = 0.7  # of a step: where an accusation is measured again
NEAR = 10.0  # of x's size: up to there a y that does not depend on x stays within rounding


class Ruler:
    """Measures slopes at one visit, for one slot."""

    judge = "finite differences give"

    def __init__(
        self, pair: Pair, visit: Visit, index: int, curve: Any, own: np.ndarray | None, step: float | None, limits: Any
    ) -> None:
        self.pair, self.visit, self.index, self.curve = pair, visit, index, curve
        self.own, self.fixed, self.limits = own, step, limits
        form = pair.result_format  # arguments may be coarser: steps are exact in them
        self.roundoff = leaves.roundoff(form)
        self.resolved = RESOLVED.get(form, 0.5)
        self.believed = BELIEVED.get(form, 4.0)
        least = 16 * leaves.roundoff(pair.slots[index].form)
        self.step = step or max(leaves.STEP.get(form, leaves.STEP["bfloat16"]), least)
        self.by_element = False  # steps scaled by each element's own size
        self.deep = 2
        self.grew = self.pair.result_format not in BELIEVED  # rounding in 16 bits is too large to go by
        self.is_zero = False

    def at(self, d: np.ndarray) -> Slope:
        """Equation (1) for the displacement d."""
        x, y, dy = self.visit.point[self.index], self.visit.y, self.visit.dy
        half, up, down, d = self._nodes(x, d)
        with np.errstate(all="ignore"):
            c, u, w = (self.pair.moved(self.visit.point, self.index, node) - y for node in (half, up, down))
            central, even = (u - w) / 2, (u + w) / 2
            cubic = (8 / 3) * (c - even / 4 - central / 8)
            off = cubic - central
            changed = (u != 0) | (w != 0) | (c != 0)
            size = np.maximum(np.maximum(np.abs(u), np.abs(w)), np.abs(c))
            each = dy * (np.abs(y) + size)
            round_each = 4 * self.roundoff * norm(np.where(changed, each, 0.0))
            seen = max(abs(dot(dy, off)), norm(dy * off))
            change = norm(dy * size)
        self.cubic, self.displacement, self.sides = cubic, d, (u, w, off)
        g = real(self.visit.gradients[self.index])
        flat = real(d)
        with np.errstate(all="ignore"):
            measured, claimed = dot(dy, cubic), norm(g * flat)
        return Slope(
            dot(g, flat), measured, seen + round_each, 4 * self.roundoff * norm(each), max(abs(measured), claimed),
            seen <= self.believed * round_each, bool(changed.any()), change,
        )

    def _nodes(self, x: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        slot = self.pair.slots[self.index]
        if self.curve is not None:
            half, up, down = (leaves.stored(self.curve(x, t * d), slot.leaf, slot.form) for t in (0.5, 1.0, -1.0))
        else:
            half = leaves.stored(x + d / 2, slot.leaf, slot.form)
            d = 2 * (half - x)
            up, down = (leaves.stored(x + t * d, slot.leaf, slot.form) for t in (1, -1))
            if not d.any():
                raise OutOfDomain("the step is lost in the rounding of the argument")
        if self.limits is not None:
            low, high = self.limits
            if any((a < low).any() or (a > high).any() for a in (up, down)):
                raise OutOfDomain("the step leaves the bounds")
        return half, up, down, d

    def measure(self, v: np.ndarray, tolerance: float) -> Found | None:
        """The slope along v (of the size of the argument) with the first step that resolves it, or None: not smooth."""
        tried: list[Try] = []
        for step, by_element in self._steps(tried):
            d = step * (v * self.own if by_element else v)
            try:
                now = Try(step, by_element, d, self.at(d))
            except OutOfDomain:
                if step > self.step:
                    break
                continue
            if self._is_good(now, tried, tolerance):
                if now.slope.scale > 0 and self.fixed is None:
                    self.step, self.by_element = step, by_element
                return Found(now.slope, d, step, now.slope.noise if self.resolved > 0.1 else 0.0)
            tried.append(now)
        return self._coarse(tried) or self._zero(tried)

    def _is_good(self, now: Try, tried: list[Try], tolerance: float) -> bool:
        """Whether a try settles the slope."""
        allowed = self.resolved * tolerance
        if not now.slope.is_resolved(allowed) or not now.is_near(allowed):
            return False
        if now.slope.scale == 0 and (tried or not self.is_zero) or not all(now.agrees(other) for other in tried):
            return False
        return now.slope.miss <= tolerance * now.slope.scale or self._confirms(now, 10 * allowed)

    def _steps(self, tried: list[Try]) -> Iterator[tuple[float, bool]]:
        """Steps to try, most promising first, given what the ones before have shown."""
        start, by_element = self.step, self.by_element
        yield start, by_element
        if self.fixed is not None:
            return
        rounding = bool(tried) and tried[0].slope.rounding
        if rounding and not self.grew:
            self.grew = True
            yield from ((start * k, by_element) for k in GROW)
        if tried and tried[0].slope.scale == 0 or any(t.slope.is_coarse for t in tried):
            return
        ways = (True,) if by_element else (False,) if self.own is None else (False, True)
        if ways == (False, True):
            yield start, True
        for k in SHRINK:
            yield from ((start * k, way) for way in ways)
        if self.deep and not rounding:
            self.deep -= 1
            yield from ((start * k, by_element) for k in DEEP)

    def _confirms(self, now: Try, allowed: float) -> bool:
        """Whether another step gives that slope too, before anybody is accused.

        Jumps can agree by chance at one step. Far steps over waves give a slope near 0, with noise as large at any.
        """
        if self.fixed is not None:
            return True
        slope = now.slope
        try:
            other = self.at(OTHER * now.d)
            waves = not slope.rounding and slope.noise > 0.1 * abs(slope.measured)
            if waves and max(self.at(now.d / k).noise for k in (10, 100)) > 0.2 * slope.noise:
                return False
        except OutOfDomain:
            return True
        differs = abs(other.measured / OTHER - slope.measured)
        return other.is_resolved(allowed) and differs <= 0.1 * slope.miss + 4 * other.noise

    def _coarse(self, tried: list[Try]) -> Found | None:
        """The best that rounding allows, a slope to 1 %; the tolerance is widened by as much."""
        fit = [t for t in tried if t.slope.is_coarse and t.is_near(COARSE)]
        fit = [t for t in fit if all(t.agrees(other) for other in tried if other is not t)]
        if not fit:
            return None
        best = min(fit, key=lambda t: t.slope.noise / t.slope.scale)
        self.step, hidden = best.step, 4 * best.slope.noise
        return Found(best.slope, best.d, best.step, hidden, f"rounding allows {hidden / best.slope.scale:.0e}")

    def _zero(self, tried: list[Try]) -> Found | None:
        """That there is no slope beyond rounding: neither y nor the claim moves at any step up to x's own size."""
        first = tried[0] if tried else None
        if first is None or not first.slope.rounding:
            return None
        if self.pair.result_format not in BELIEVED and first.slope.scale > 0:
            return None
        believed = [t for t in tried if t.slope.rounding]
        believed = [t for t in believed if all(t.agrees(other) for other in tried if other.step < t.step)]
        still = all(t.slope.change <= t.slope.potential for t in believed if t.step <= NEAR)
        looked = self.is_zero or self.fixed is not None or any(t.step > first.step for t in tried)
        looked = looked or self.pair.result_format not in BELIEVED
        if not (looked and still and all(t.slope.is_zero for t in believed)):
            return None
        self.is_zero = True
        return Found(first.slope, first.d, first.step, 4 * first.slope.noise + first.slope.potential, ZERO)
