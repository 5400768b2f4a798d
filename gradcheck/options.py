"""Options of a check, and what of them makes no sense."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from . import directions as drawn

KINKS = ("move", "fail", "skip")


class Options(NamedTuple):
    directions: int = 4
    tolerance: float | None = None
    step: float | None = None
    bounds: Any = None
    tangent: Any = None
    at_kinks: str = "move"


def validate(operation: str, options: Options, complex: str = "conjugate") -> None:
    """Raises ValueError for options that would check nothing or accept anything."""
    if not (isinstance(options.directions, int | np.integer) and options.directions >= 1):
        raise ValueError(f"{operation}: directions must be a whole number of at least 1, got {options.directions!r}")
    for name, value in (("tolerance", options.tolerance), ("step", options.step)):
        if value is not None and not (isinstance(value, int | float | np.number) and 0 < value < np.inf):
            raise ValueError(f"{operation}: {name} must be a positive number, got {value!r}")
    if options.tolerance is not None and options.tolerance >= 1:
        raise ValueError(f"{operation}: tolerance must be below 1, which takes any gradient, got {options.tolerance!r}")
    if options.at_kinks not in KINKS:
        raise ValueError(f"{operation}: at_kinks must be one of {', '.join(KINKS)}, got {options.at_kinks!r}")
    if complex not in ("conjugate", "plain"):
        raise ValueError(f"{operation}: complex must be conjugate or plain, got {complex!r}")
    for each in options.tangent.values() if isinstance(options.tangent, Mapping) else [options.tangent]:
        drawn.check_tangent(operation, each)
