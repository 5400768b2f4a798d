"""What the Python interface is called with, checked."""

import math
import numbers
from typing import Any

FULL = "full"  # render size: the picture's own


def number(name: str, value: Any, least: float, wanted: str) -> float:
    """The value of a parameter. Raises TypeError for what is no number, ValueError for one that is not wanted."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"colorize: {name} must be {wanted}, got {value!r}")
    if not least <= float(value) < math.inf:
        raise ValueError(f"colorize: {name} must be {wanted}, got {value}")
    return float(value)


def checked_size(render_size: Any) -> int | None:
    """A render size; None for the picture's own, and where none is given."""
    if render_size is None or render_size == FULL:
        return None
    wanted = f"a whole number of pixels, at least 1, or '{FULL}'"
    if number("render_size", render_size, 1, wanted) % 1:
        raise ValueError(f"colorize: render_size must be {wanted}, got {render_size}")
    return int(render_size)
