"""check_adjoint: functions that are linear in an argument have a sharper test, without any step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import directions as drawn
from . import leaves, report
from .check import Check
from .defaults import chosen
from .errors import GradientError, OutOfDomain
from .numbers import dot, norm
from .options import Options, validate
from .pair import Pair
from .result import Result, Row
from .ruler import Ruler
from .slopes import COARSE, Found, Slope
from .values import Visit, real

TOLERANCE = {"float64": 1e-10, "float32": 1e-4, "float16": 0.05, "bfloat16": 0.2}


def check_adjoint(
    forward: Callable, backward: Callable, arguments: Mapping[str, Any] | Sequence[Any], *,
    linear_in: str | Sequence[str], takes: str | Sequence[str] | None = None, operation: str = "operation",
    directions: int = 4, tolerance: float | None = None, seed: int | None = None, complex: str = "conjugate",
    dtype: Any = None, dy: Any = None,
) -> Result:
    """Checks <dy, F(v)> = <F*(dy), v> for each argument in `linear_in`, F(v) = forward(v) - forward(0).

    All else as in `check_gradients`; no step, no kinks, hence a sharper tolerance. Raises ValueError where forward is
    not linear in the argument (a constant, such as a bias, is allowed for).
    """
    __tracebackhide__ = True
    options = Options(directions, chosen("tolerance", tolerance))
    validate(operation, options, complex)
    pair = Pair(
        operation, forward, backward, arguments, wrt=linear_in, takes=takes, seed=chosen("seed", seed),
        conjugate=complex == "conjugate", dtype=dtype, dy=dy,
    )
    return _Adjoint(pair, options).run()


class _AdjointRuler(Ruler):
    """Both sides of the adjoint identity for d."""

    judge = "the adjoint identity gives"

    def __init__(self, pair: Pair, visit: Visit, index: int) -> None:
        super().__init__(pair, visit, index, None, np.ones_like(visit.point[index]), None, None)
        self.zero = self.value(np.zeros_like(visit.point[index]))

    def value(self, x: np.ndarray) -> np.ndarray:
        try:
            return self.pair.moved(self.visit.point, self.index, x)
        except OutOfDomain as error:
            raise GradientError(f"{self.pair.operation}: {error}") from None

    def at(self, d: np.ndarray) -> Slope:
        slot = self.pair.slots[self.index]
        d = leaves.stored(d, slot.leaf, slot.form)
        y, g, flat = self.value(d), real(self.visit.gradients[self.index]), real(d)
        dy = self.visit.dy
        with np.errstate(all="ignore"):
            image = dy * (y - self.zero)
            rounding = 4 * self.roundoff * norm(np.where(image != 0, dy * self.zero, 0.0))
            scale = max(norm(image), norm(g * flat))
        measured = dot(image, np.ones_like(image))
        return Slope(dot(g, flat), measured, rounding, rounding, scale, True, bool(image.any()), 0.0)

    def check_linear(self, u: np.ndarray, v: np.ndarray) -> None:
        """Raises ValueError unless F(u + v) = F(u) + F(v)."""
        at_u, at_v, at_both = (self.value(a) for a in (u, v, u + v))
        curved = at_u + at_v - at_both - self.zero
        if not norm(curved) <= 1e7 * self.roundoff * (norm(at_u) + norm(at_v) + norm(self.zero)):
            name = self.pair.slots[self.index].name
            raise ValueError(
                f"{self.pair.operation}: forward is not linear in {name}: F(u) + F(v) differs from F(u + v)"
            )


class _Adjoint(Check):
    def _row(self, index: int) -> Row:
        __tracebackhide__ = True
        pair, slot, x = self.pair, self.pair.slots[index], self.visits[0].point[index]
        row = Row(slot.name)
        if not x.size:
            return row
        self.tolerance = self.options.tolerance or TOLERANCE.get(pair.format, TOLERANCE["bfloat16"])
        rulers = [_AdjointRuler(pair, visit, index) for visit in self.visits]
        size, _ = drawn.scales(x, None)
        rulers[0].check_linear(*(drawn.draw(pair.rng, x, size, None) for _ in range(2)))
        for k in range(self.options.directions):
            ruler = rulers[k % len(rulers)]
            v = drawn.draw(pair.rng, x, size, None)
            v = drawn.favor_small(v, ruler.visit.gradients[index]) if k % 4 in (1, 2) else v
            slope = ruler.at(v)
            if not slope.noise <= max(COARSE, self.tolerance) * slope.scale:
                at_zero = f"y is so large where {slot.name} is 0 that rounding hides d{slot.name}"
                raise GradientError(f"{pair.operation}: {at_zero}")
            found = Found(slope, v, 0.0, slope.noise)
            if not found.is_right(self.tolerance):
                raise report.wrong(self, ruler, found, row, k % len(rulers), self.tolerance)
            self._note(row, found, self.tolerance)
        return row
