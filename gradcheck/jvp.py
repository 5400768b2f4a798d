"""check_jvp: forward mode. The tangent of y along a direction is held against differences, element by element of y."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import leaves, styles, tree
from .check import Check
from .defaults import chosen
from .errors import GradientError
from .numbers import dot, norm, root_mean_square
from .options import Options, validate
from .pair import Pair
from .result import Result, Row
from .ruler import Ruler
from .slopes import Found, Slope
from .values import Point, Visit, real

TUPLES = ("primals", "arguments", "args", "inputs", "primal")


def check_jvp(
    forward: Callable, jvp: Callable, arguments: Mapping[str, Any] | Sequence[Any], *,
    wrt: str | Sequence[str] | None = None, operation: str = "operation", directions: int = 4,
    tolerance: float | None = None, seed: int | None = None, step: float | None = None, bounds: Any = None,
    tangent: Any = None, at_kinks: str = "move", dtype: Any = None,
) -> Result:
    """Checks jvp(*arguments, *tangents), the derivative of forward along tangents, argument by argument.

    jvp(primals, tangents) gets two tuples where its first parameter is called so. It returns y's tangent, or (y,
    tangent). Tangents of what holds no floats are None. All else as in `check_gradients`.
    """
    __tracebackhide__ = True
    options = Options(directions, chosen("tolerance", tolerance), step, bounds, tangent, at_kinks)
    validate(operation, options)
    pair = _ForwardPair(operation, forward, jvp, arguments, wrt=wrt, seed=chosen("seed", seed), dtype=dtype)
    return _Forward(pair, options).run()


class _ForwardPair(Pair):
    """A pair whose `backward` is the tangent of y; gradients are left at 0, so that nothing favors any element."""

    def visit(self, point: Point, dy: np.ndarray | None = None) -> Visit:
        self.takes = []
        made = self.build(point)
        flat = self._flat_y(self._forward(made))
        dy = self.signs(flat.size) if dy is None else dy
        indices = [i for i, slot in enumerate(self.slots) if slot.argument in self.wrt]
        self.unchecked.update({s.name: "not in wrt" for s in self.slots if s.argument not in self.wrt})
        if not indices:
            raise GradientError(f"{self.operation}: nothing was checked (no argument holds floats)")
        return Visit(point, flat, dy, {i: np.zeros_like(point[i]) for i in indices})

    def _split(self, out: Any) -> tuple[Any, Any]:
        self.shape = np.shape(out) if leaves.is_float(out) else None
        return out, None

    def tangent(self, point: Point, index: int, d: np.ndarray) -> np.ndarray:
        """jvp's tangent of y for d, all other tangents 0; flat."""
        made, before = self.build(point), self.build(point)
        zeros = [d if i == index else np.zeros_like(x) for i, x in enumerate(point)]
        tangents = self.build(zeros)
        tangents = {name: a if name in self.floats else None for name, a in tangents.items()}
        self.calls["backward"] += 1
        parameters = styles.parameters(self.backward)
        if parameters and parameters[0].name in TUPLES and parameters[0].kind != parameters[0].VAR_POSITIONAL:
            found = self.backward(tuple(made.values()), tuple(tangents.values()))
        else:
            found = self.backward(*made.values(), *tangents.values())
        self._compare({k: [np.array(leaves.to_numpy(a)) if leaves.is_array(a) else None for _, a in tree.leaves(v)]
                       for k, v in before.items()}, made, "jvp")
        return self._tangent(found)

    def _tangent(self, found: Any) -> np.ndarray:
        flat = [real(leaves.to_numpy(a)).ravel() for _, a in tree.leaves(found) if leaves.is_float(a)]
        joined = np.concatenate(flat) if flat else np.zeros(0)
        if joined.size == 2 * self.y_size and isinstance(found, tuple) and len(found) == 2:
            joined = joined[self.y_size :]
        if joined.size != self.y_size:
            raise GradientError(f"{self.operation}: jvp returned {joined.size} numbers, y has {self.y_size}")
        if not np.isfinite(joined).all():
            raise GradientError(f"{self.operation}: jvp returned NaN or infinity")
        return joined

    def _flat_y(self, y: Any) -> np.ndarray:
        flat = super()._flat_y(y)
        self.y_size = flat.size
        return flat


class _TangentRuler(Ruler):
    """<dy, tangent> against <dy, differences>; keeps both, element by element, for the message."""

    def at(self, d: np.ndarray) -> Slope:
        slope = super().at(d)
        self.claimed = self.pair.tangent(self.visit.point, self.index, self.displacement)  # type: ignore[attr-defined]
        size = norm(self.visit.dy * self.claimed)
        return slope._replace(backward=dot(self.visit.dy, self.claimed), scale=max(abs(slope.measured), size))


class _Forward(Check):
    ruler = _TangentRuler

    def _wrong(self, ruler: Ruler, found: Found, row: Row, at: int, tolerance: float) -> GradientError:
        ruler.at(found.direction)
        claimed, measured = ruler.claimed / found.step, ruler.cubic / found.step  # type: ignore[attr-defined]
        i = int(np.argmax(np.abs(claimed - measured)))
        shape = self.pair.shape  # type: ignore[attr-defined]
        one = shape is not None and int(np.prod(shape)) == claimed.size
        where = [int(k) for k in np.unravel_index(i, shape)] if one else i
        size = np.maximum(np.abs(measured), root_mean_square(measured))
        off = np.abs(claimed - measured) > 10 * tolerance * size
        error = found.slope.miss / found.slope.scale
        return GradientError(
            f"{self.pair.operation}: the tangent along {row.name} is wrong at {where} of y: jvp gives "
            f"{claimed[i]:.6g}, {ruler.judge} {measured[i]:.6g}, difference {claimed[i] - measured[i]:.6g} "
            f"(relative error {error:.1e}, tolerance {tolerance:g}; "
            f"{max(1, np.count_nonzero(off))} of {off.size} elements are off)"
        )
