"""Arrays that a line of text makes again: `array((2, 3), seed=7, values="ties", layout="reversed")`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .layout import LAYOUTS, lay_out
from .leaves import numpy_dtype

VALUES = ("normal", "ties", "zeros", "small", "large", "uneven")


def array(
    shape: Sequence[int], *, seed: int = 0, values: str = "normal", dtype: str = "float64", layout: str = "contiguous",
    bounds: tuple[float, float] | None = None,
) -> np.ndarray:
    """An array of that shape, the same for the same arguments.

    values: "normal" (Gaussian), "ties" (Gaussian, rounded to whole numbers), "zeros" (half of them 0), "small" and
    "large" (a ten-thousandth and a hundred times the size), "uneven" (sizes from 1e-6 to 1). bounds: (low, high) that
    all lie well inside of. layout: a name from `LAYOUTS`. Raises ValueError for unknown names.
    """
    if values not in VALUES:
        raise ValueError(f"gradcheck: values must be one of {', '.join(VALUES)}, got {values!r}")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(tuple(shape))
    if bounds is not None:
        low, high = bounds
        x = low + (high - low) * rng.uniform(0.02, 0.98, tuple(shape))
    elif values == "ties":
        x = np.rint(x)
    elif values == "zeros":
        x = x * (rng.random(tuple(shape)) < 0.5)
    elif values == "uneven":
        x = x * 10.0 ** -rng.integers(0, 7, tuple(shape))
    else:
        x = x * {"normal": 1.0, "small": 1e-4, "large": 100.0}[values]
    return lay_out(np.asarray(x).astype(numpy_dtype(dtype)), layout)


def described(shape: Sequence[int], **settings: Any) -> str:
    """The call of `array` as text, without what it assumes anyway."""
    usual = {"values": "normal", "dtype": "float64", "layout": LAYOUTS[0], "bounds": None}
    said = [f"{k}={v!r}" for k, v in settings.items() if k not in usual or v != usual[k]]
    return f"array({', '.join([repr(tuple(shape)), *said])})"
