"""Hypothesis strategies of shapes and arrays, the ones that our own tests use. Needs hypothesis (in the extra `test`).

    from hypothesis import given
    from ltbc.kernels.strategies import arrays, sizes

    @given(s=sizes(N=3, C=8), data=st.data())
    def test_my_operation(s, data):
        x = data.draw(arrays((s["N"], s["C"]), away_from=0))     # keeps off relu's kink

Values come from a drawn seed, so that an example prints as one number and large arrays are drawn at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ltbc.kernels.arrays import is_float

LAYOUTS = ("contiguous", "transposed", "strided", "reversed", "inner")


def sizes(**largest: int) -> st.SearchStrategy[dict[str, int]]:
    """Sizes by name, each from 1 to its largest: one pixel, one channel, odd and even."""
    drawn = st.fixed_dictionaries({name: st.integers(1, n) for name, n in largest.items()})
    return drawn.map(lambda s: {name: s[name] for name in largest})  # in the order given, which hypothesis may change


def layouts() -> st.SearchStrategy[str]:
    """Names of memory layouts for `lay_out`; simplest first."""
    return st.sampled_from(LAYOUTS)


def arrays(
    shape: Sequence[int], *, dtype: Any = np.float64, away_from: float | None = None, margin: float = 0.05,
    scale: float = 1.0, layout: st.SearchStrategy[str] | None = None,
) -> st.SearchStrategy[np.ndarray]:
    """Gaussian arrays of that shape and size (`scale`), no element nearer to `away_from` than `margin * scale`.

    layout: a strategy of names from `LAYOUTS`, contiguous by default; `layouts()` for all of them.
    """

    def make(seed: int, layout: str) -> np.ndarray:
        x = np.random.default_rng(seed).standard_normal(tuple(shape)) * scale
        if away_from is not None:
            x = keep_off(x, away_from, margin * scale)
        return lay_out(x.astype(dtype), layout)

    return st.builds(make, st.integers(0, 2**32 - 1), st.just(LAYOUTS[0]) if layout is None else layout)


def keep_off(x: np.ndarray, point: float, margin: float) -> np.ndarray:
    """x with every element moved away from `point` by `margin`, up or down: nothing is left nearer than that."""
    return x + np.where(x < point, -margin, margin)


def lay_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory layout.

    transposed: axes in reverse order. strided: every second element of rows twice as long. reversed: from the end of
    the memory to its start. inner: the inside of a larger array. What lies between is NaN (0 for integers), so that
    whoever ignores strides reads it. Raises ValueError for an unknown layout.
    """
    x = np.ascontiguousarray(x)
    if layout == "contiguous" or x.ndim == 0:
        return x
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "reversed":
        every = (slice(None, None, -1),) * x.ndim
        return np.ascontiguousarray(x[every])[every]
    if layout not in LAYOUTS:
        raise ValueError(f"strategies: layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    around = [2 * n for n in x.shape[-1:]] if layout == "strided" else [n + 2 for n in x.shape]
    room = np.full((*x.shape[: x.ndim - len(around)], *around), np.nan if is_float(x.dtype) else 0, x.dtype)
    view = room[..., ::2] if layout == "strided" else room[(slice(1, -1),) * x.ndim]
    view[...] = x
    return view
