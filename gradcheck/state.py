"""Whether two visits of one point give the same."""

import numpy as np

from . import leaves
from .errors import GradientError
from .numbers import dot, norm
from .pair import Pair
from .values import Visit, real

ROUNDINGS = 1e4  # that threads may add up in another order


def compare(pair: Pair, first: Visit, again: Visit) -> None:
    """Raises GradientError where forward or backward give something else for the same arguments."""
    __tracebackhide__ = True
    allowed = min(ROUNDINGS * leaves.roundoff(pair.format), 0.01)
    if first.y.shape != again.y.shape or not norm(first.y - again.y) <= allowed * norm(first.y):
        raise GradientError(
            f"{pair.operation}: forward is not deterministic: the same arguments give another result"
            f"{_where(first.y, again.y)}; does it draw random numbers or keep something of the call before?"
        )
    for i, old in first.gradients.items():
        new = again.gradients[i]
        if norm(real(new) - real(old)) <= allowed * max(norm(real(old)), norm(real(new))):
            continue
        raise GradientError(
            f"{pair.operation}: backward is not reentrant: called again with the same arguments, d{pair.slots[i].name} "
            f"{_ratio(real(old), real(new))}"
        )


def _where(a: np.ndarray, b: np.ndarray) -> str:
    if a.shape != b.shape or not a.size:
        return ""
    i = int(np.argmax(np.abs(a - b)))
    return f", {b[i]:.6g} for {a[i]:.6g}"


def _ratio(old: np.ndarray, new: np.ndarray) -> str:
    square = dot(old, old)
    ratio = dot(old, new) / square if square else np.nan
    if norm(new - ratio * old) <= 1e-6 * norm(new):
        whole = ratio > 1 and abs(ratio - round(ratio)) < 1e-6
        adds = "; are gradients added to those of the call before?" if whole else ""
        return f"is {ratio:.4g} times the first{adds}"
    i = int(np.argmax(np.abs(new - old)))
    at = [int(k) for k in np.unravel_index(i, old.shape)]
    return f"is {new.flat[i]:.6g} for {old.flat[i]:.6g} at {at}; does it keep something of the call before?"
