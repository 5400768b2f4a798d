"""The point given lies on a kink: which elements of y have it, and whether the gradient there could be one at all."""

import numpy as np

from .errors import OutOfDomain
from .numbers import dot
from .ruler import Ruler
from .values import real

BENT = 1e-3  # of the change of an element of y: by how much two estimates of its slope differ at a kink, and more
DRAWS = 4


def bent(ruler: Ruler, directions: list[np.ndarray]) -> np.ndarray:
    """The elements of y that have a kink or a jump along one of some directions."""
    found = np.zeros(ruler.visit.y.shape, bool)
    for v in directions:
        try:
            ruler.at(ruler.step * v)
        except OutOfDomain:
            continue
        up, down, off = ruler.sides
        size = np.maximum(np.abs(up), np.abs(down))
        found |= np.abs(off) > np.maximum(BENT * size, 1e3 * ruler.roundoff * np.abs(ruler.visit.y))
    return found


def outside(ruler: Ruler, directions: list[np.ndarray]) -> str:
    """What to say where backward's slope lies outside of the one-sided slopes on both sides of a kink, or ""."""
    gradient, dy = real(ruler.visit.gradients[ruler.index]), ruler.visit.dy
    for v in directions:
        try:
            ruler.at(ruler.step * v)
        except OutOfDomain:
            continue
        up, down, _ = ruler.sides
        sides = np.stack([dy * up, -dy * down]) / ruler.step
        low, high = float(sides.min(0).sum()), float(sides.max(0).sum())
        claimed = dot(gradient, real(ruler.displacement)) / ruler.step
        if not low - 1e-3 * abs(low) <= claimed <= high + 1e-3 * abs(high):
            return f"; there backward gives a slope of {claimed:.4g}, one-sided slopes are {low:.4g} to {high:.4g}"
    return ""
