"""What a measurement of a slope gives, and what can be said of it."""

from typing import NamedTuple

import numpy as np

COARSE = 1e-2  # of the slope: what noise may be where rounding forbids more; the tolerance is widened and said
CHANCE = 10.0  # by how much noise may fall when the step grows
ZERO = "no change of y beyond rounding"
HIDDEN = "saturated: a slope within rounding of the others"


class Slope(NamedTuple):
    """The slope by backward and as measured, along one displacement."""

    backward: float
    measured: float
    noise: float  # bound of the error of `measured`
    potential: float  # what rounding could hide if all elements of y changed
    scale: float
    rounding: bool  # noise is of the size of rounding errors
    moved: bool  # some element of y changed
    change: float  # the largest change of y seen, in the norm of the noise

    def is_resolved(self, allowed: float) -> bool:
        return self.noise <= allowed * self.scale and not self.is_hidden

    @property
    def is_hidden(self) -> bool:
        """Nothing changed, but something of the size of the claim would not have been seen either."""
        return not self.moved and 0 < self.scale <= self.potential

    @property
    def is_coarse(self) -> bool:
        """Resolved as far as rounding allows."""
        return self.rounding and self.noise <= COARSE * self.scale and self.scale > 0 and not self.is_hidden

    @property
    def is_zero(self) -> bool:
        """Neither the claim nor what was seen is above rounding."""
        return max(abs(self.backward), abs(self.measured)) <= 4 * self.noise + (0 if self.moved else self.potential)

    @property
    def miss(self) -> float:
        return abs(self.backward - self.measured)


class Try(NamedTuple):
    """A slope with the displacement that gave it; the step and whether it was scaled by each element's size."""

    step: float
    by_element: bool
    d: np.ndarray
    slope: Slope

    def is_near(self, allowed: float) -> bool:
        """Beyond the argument's own size a slope counts if it is seen itself: what is bounded is flat from afar."""
        return self.step <= 1 or self.slope.noise <= allowed * abs(self.slope.measured)

    def agrees(self, other: "Try") -> bool:
        """Whether it fits a try before: a larger step within the smaller one's rounding, a smaller one if y moves."""
        if self.by_element != other.by_element:
            return True
        mine, first = self.slope, other.slope
        if self.step < other.step:
            return mine.moved or not first.moved
        if first.noise > CHANCE * mine.noise:
            return False  # jumps that agreed by chance
        allowed = 8 * (first.noise if first.moved else first.noise + first.potential) / other.step
        return abs(mine.measured / self.step - first.measured / other.step) <= allowed + mine.noise / self.step


class Found(NamedTuple):
    """A slope with the direction and step that gave it; `slack` widens the tolerance, `note` says why."""

    slope: Slope
    direction: np.ndarray
    step: float
    slack: float = 0.0
    note: str = ""

    def error(self) -> float:
        return self.slope.miss / self.slope.scale if self.is_measured else 0.0

    @property
    def is_measured(self) -> bool:
        """Rounding left something to compare."""
        return self.slope.scale > 0 and self.note not in (ZERO, HIDDEN)

    def is_right(self, tolerance: float) -> bool:
        return self.slope.miss <= tolerance * self.slope.scale + self.slack < np.inf  # false for NaN
