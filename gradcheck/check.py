"""check_gradients: visits of points, directions, and the verdict."""

from typing import Any

import numpy as np

from . import directions as drawn
from . import kinks, leaves, report, state
from .doubt import excused
from .errors import GradientError, OutOfDomain, Unproved
from .options import Options
from .pair import Pair, Point, Visit
from .result import Result, Row
from .ruler import Ruler
from .slopes import Found

DRAWS = 4  # directions drawn for every one that is needed
MOVES = (1e-3, 1e-3, 1e-2)  # of each element's size, for points at which no direction is smooth
BESIDE = (0.05, 0.01, 0.001)  # how far off the second point lies; nearer where forward is not defined there
PLAN = ((0, False), (1, True), (0, True), (1, False))  # (point, favors small gradients), one direction after the other
UNSEEN = "small gradients are not resolved beside large ones"
FAVOR = 10.0  # the tolerance of directions that favor small gradients, in those of others


class _NotSmooth(Exception):
    """Too few directions are smooth enough to measure a slope."""


class Check:
    """One check: the point given, a second point beside it with another dy, directions at both."""

    ruler = Ruler

    def __init__(self, pair: Pair, options: Options) -> None:
        self.pair, self.options = pair, options
        self.notes: list[str] = []
        self.moved = False
        self.refuted = ""  # what is wrong at the point given, if the check beside it finds nothing
        self.limits: dict[int, Any] = {}

    def run(self) -> Result:
        __tracebackhide__ = True
        pair = self.pair
        point = self._inside(pair.start())
        first = pair.visit(point)
        state.compare(pair, first, pair.visit(point, first.dy))
        self.visits = [first]
        if self.options.directions > 1:
            self.visits.append(self._beside(first))
            state.compare(pair, first, pair.visit(point, first.dy))
        self.tolerance = self.options.tolerance or leaves.TOLERANCE.get(pair.format, leaves.TOLERANCE["bfloat16"])
        for part in (0.0, *(MOVES if self.options.at_kinks == "move" else ())):
            if part:
                self._leave(part)
            try:
                rows = []
                for i in first.gradients:  # no comprehension, whose frame would show in tracebacks
                    rows.append(self._row(i))
                break
            except _NotSmooth as reason:
                last = reason
        else:
            if self.options.at_kinks != "skip":
                raise Unproved(f"{pair.operation}: {self._unsmooth()}: {last}")
            rows = self._skip(str(last))
        if self.refuted:
            raise GradientError(f"{pair.operation}: {self.refuted}")
        return Result(pair.operation, rows, dict(pair.unchecked), dict(pair.calls), pair.format, self.notes)

    def _unsmooth(self) -> str:
        fails = self.options.at_kinks == "fail"
        return "the point given is not smooth" if fails else "no smooth point found, so nothing is proved"

    def _inside(self, point: Point) -> Point:
        """The point with what lies on a bound moved off it."""
        for i, slot in enumerate(self.pair.slots):
            limits = drawn.for_argument(self.options.bounds, slot.argument)
            if limits is None or slot.argument not in self.pair.wrt:
                continue
            low, high = (np.broadcast_to(np.asarray(a, np.float64), point[i].shape) for a in limits)
            if (low >= high).any():
                raise ValueError(f"{self.pair.operation}: bounds of {slot.name} leave no room")
            if (point[i] < low).any() or (point[i] > high).any():
                raise ValueError(f"{self.pair.operation}: {slot.name} lies outside of its bounds")
            self.limits[i] = (low, high)
            size, _ = drawn.scales(point[i], None)
            room = np.minimum(1e-3 * size, (high - low) / 4)
            inner = np.clip(point[i], low + room, high - room)
            if (inner != point[i]).any():
                count = np.count_nonzero(inner != point[i])
                self.notes.append(f"{slot.name}: {count} elements on a bound, checked 1e-3 inside")
                point[i] = np.where((point[i] - low < room) | (high - point[i] < room), inner, point[i])
        return point

    def _shifted(self, point: Point, part: float) -> Point:
        """The point with every checked argument moved by that part of each element's size."""
        moved = list(point)
        for i, slot in enumerate(self.pair.slots):
            if slot.argument in self.pair.wrt:
                tangent = drawn.for_argument(self.options.tangent, slot.argument)
                size, own = drawn.scales(point[i], self.limits.get(i))
                d = part * drawn.draw(self.pair.rng, point[i], size, tangent)
                go = drawn.curve(tangent)
                there = go(point[i], d) if go else point[i] + (d if tangent is not None else d * own)
                moved[i] = leaves.stored(there, slot.leaf, slot.form)
        return moved

    def _beside(self, first: Visit) -> Visit:
        """A visit of a second point with another dy; of the first point again where there is no other."""
        self.pair.given_dy = None
        for part in BESIDE:
            try:
                with np.errstate(all="ignore"):
                    return self.pair.visit(self._shifted(first.point, part), self.pair.signs(first.y.size))
            except (OutOfDomain, ArithmeticError, ValueError, GradientError) as error:
                if isinstance(error, GradientError) and "NaN or infinity" not in str(error):
                    raise
        return self.pair.visit(first.point, self.pair.signs(first.y.size))

    def _around(self, index: int) -> tuple[Ruler, list[kinks.Look]]:
        """A ruler at the first point, and what it shows along some directions."""
        ruler, size, tangent = self._ruler(self.visits[0], index)
        x = self.visits[0].point[index]
        directions = [drawn.draw(self.pair.rng, x, size, tangent) for _ in range(kinks.DRAWS if x.size else 0)]
        return ruler, kinks.looks(ruler, directions)

    def _skip(self, reason: str) -> list[Row]:
        """The check without the elements of y that have a kink at the point given."""
        first = self.visits[0]
        bent = np.logical_or.reduce([kinks.bent(*self._around(i)) for i in first.gradients])
        if bent.all():
            raise GradientError(f"{self.pair.operation}: every element of y has a kink, so nothing is proved: {reason}")
        self.notes.append(f"left out {np.count_nonzero(bent)} of {bent.size} elements of y, which have a kink there")
        self.visits[0] = self.pair.visit(first.point, np.where(bent, 0.0, first.dy))
        try:
            return [self._row(i) for i in first.gradients]
        except _NotSmooth as last:
            raise GradientError(f"{self.pair.operation}: {self._unsmooth()}: {last}") from None

    def _leave(self, part: float) -> None:
        """Goes on beside a point that is not smooth, and says so."""
        first = self.visits[0]
        if not self.moved:
            for i in first.gradients:
                ruler, seen = self._around(i)
                if kinks.bent(ruler, seen).any():
                    name, said = self.pair.slots[i].name, kinks.refuted(self.pair, ruler, seen)
                    self.refuted = self.refuted or said and f"d{name} is wrong at a kink: {said}"
                    self.notes.append(f"{name}: not smooth at the point given (kinks); checked beside it")
        self.visits[0] = self.pair.visit(self._shifted(first.point, part), first.dy)
        self.moved = True

    def _ruler(self, visit: Visit, index: int) -> tuple[Ruler, float, Any]:
        slot = self.pair.slots[index]
        tangent = drawn.for_argument(self.options.tangent, slot.argument)
        size, own = drawn.scales(visit.point[index], self.limits.get(index))
        curve, limits = drawn.curve(tangent), self.limits.get(index)
        own_steps = own if tangent is None else None  # what is scaled element by element leaves a manifold
        ruler = self.ruler(self.pair, visit, index, curve, own_steps, self.options.step, limits)
        return ruler, size, tangent

    def _row(self, index: int) -> Row:
        """All directions of one slot."""
        __tracebackhide__ = True
        slot, x = self.pair.slots[index], self.visits[0].point[index]
        row = Row(slot.name, moved=self.moved)
        if not x.size:
            return row
        rulers = [self._ruler(visit, index) for visit in self.visits]
        for k in range(self.options.directions):
            at, favors = PLAN[k % len(PLAN)]
            favors = favors and self.pair.format in ("float64", "float32")
            at = min(at, len(rulers) - 1)
            found = self._direction(rulers[at], favors)
            if found is None and favors:
                row.notes.append("small gradients are hidden beside the others")
                favors, found = False, self._direction(rulers[at], False)
            if found is None and at:
                at, found = 0, self._direction(rulers[0], favors)
            if found is None:
                raise _NotSmooth(self._why(row.directions, slot.name))
            tolerance = self.tolerance * (FAVOR if favors else 1)
            if not found.is_right(tolerance):
                found = excused(rulers[at][0], found)
            if not found.is_right(tolerance):
                raise self._wrong(rulers[at][0], found, row, at, tolerance)
            self._note(row, found, tolerance)
        return row

    def _direction(self, ruler_with: tuple[Ruler, float, Any], favors: bool) -> Found | None:
        """The slope along the first of some directions that is smooth."""
        ruler, size, tangent = ruler_with
        x, gradient = ruler.visit.point[ruler.index], ruler.visit.gradients[ruler.index]
        for k in range(DRAWS):
            v = drawn.draw(self.pair.rng, x, size, tangent)
            favored = favors and tangent is None and k < DRAWS // 2
            if favored:
                v = drawn.favor_small(v, gradient)
            found = ruler.measure(v, self.tolerance * (FAVOR if favors else 1))
            if found is not None:
                return found if favored == (favors and tangent is None) else found._replace(note=found.note or UNSEEN)
        return None

    def _wrong(self, ruler: Ruler, found: Found, row: Row, at: int, tolerance: float) -> GradientError:
        return report.wrong(self, ruler, found, row, at, tolerance)

    def _note(self, row: Row, found: Found, tolerance: float) -> None:
        widened = found.slack / found.slope.scale if found.is_measured else 0.0
        row.error = max(row.error, found.error())
        row.tolerance = max(row.tolerance, tolerance + widened)
        row.directions += 1
        row.step = max(row.step, found.step)
        if found.note and found.note not in row.notes:
            row.notes.append(found.note)

    def _why(self, smooth: int, name: str) -> str:
        wanted = self.options.directions
        return (
            f"only {smooth} of {DRAWS * wanted} directions of {name} are smooth (kinks, jumps or noise"
            f"{', such as rounding to ' + self.pair.format if self.pair.format != 'float64' else ''}); "
            "move the arguments away from kinks"
        )
