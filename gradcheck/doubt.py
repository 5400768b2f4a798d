"""How far rounding excuses a miss: looked at before anybody is accused.

Where a function is saturated (softmax of large logits, tanh, y near 1 of a sigmoid), elements of y that do depend on x
stand still at a small step: the measured slope lacks them, and backward, which takes 1 - y from the same rounded y, is
off by as much. They are those that move somewhere on the way from x to 0, where the function is not saturated:

    excused = 4 u |dy y'| + tiny |d|                                                                                (2)

with the unit roundoff u, y' the elements of y that move anywhere on that way, and tiny the smallest normal number,
below which gradients lose their digits.
"""

import numpy as np

from . import leaves
from .errors import OutOfDomain
from .numbers import norm
from .ruler import Ruler
from .slopes import HIDDEN, Found

LEFT = (0.9, 0.5, 0.1, 1e-3, 0.0)  # of x, on the way to 0
TYPICAL = 0.75  # quantile of |d|/|x|: elements that move as much and more say of which size x is
HUGE = 1e6  # of that size: elements of x that stay where they are


def excused(ruler: Ruler, found: Found) -> Found:
    """The same slope with the slack of equation (2); as it is where that does not apply."""
    if ruler.own is None or ruler.pair.result_format not in ("float64", "float32"):
        return found
    visit, x, d = ruler.visit, ruler.visit.point[ruler.index], found.direction
    slot, moves = ruler.pair.slots[ruler.index], np.zeros(visit.y.shape, bool)
    with np.errstate(all="ignore"):
        part = np.where(x != 0, np.abs(d) / np.abs(x), 0)
        if not part.any():
            return found
        going = np.abs(x) <= HUGE * np.median(np.abs(x[part >= np.quantile(part[part > 0], TYPICAL)]))
        for left in LEFT:
            node = np.where(going, left * x, x)
            node = leaves.stored(node if ruler.limits is None else np.clip(node, *ruler.limits), slot.leaf, slot.form)
            try:
                moves |= ruler.pair.moved(visit.point, ruler.index, node) != visit.y
            except OutOfDomain:
                break
        u, tiny = leaves.roundoff(ruler.pair.result_format), float(np.finfo(ruler.pair.result_format).tiny)
        slack = 4 * u * norm(np.where(moves, visit.dy * visit.y, 0.0)) + tiny * norm(np.abs(d))
    return found._replace(slack=found.slack + slack, note=HIDDEN)
