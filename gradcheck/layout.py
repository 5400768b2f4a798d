"""Memory layouts: a copy of values that lies in memory as another array does, and layouts by name."""

from typing import Any

import numpy as np

LAYOUTS = ("contiguous", "transposed", "strided", "reversed", "inner")
MARGIN = 4  # elements of the wrong value before and after what does not lie in one piece


def is_plain(a: np.ndarray) -> bool:
    return a.flags.c_contiguous or a.size == 0


def like(values: np.ndarray, template: np.ndarray, dtype: Any) -> np.ndarray:
    """`values` as `dtype`, with the order of axes, the gaps and the negative strides of `template`.

    Gaps and margins hold NaN (0 for integers), so that whoever ignores strides reads it. Axes that `template`
    repeats (stride 0), or whose strides are no whole elements, are laid out without gaps.
    """
    if is_plain(template):
        return np.array(values, dtype, order="C")
    steps = [s / template.itemsize for s in template.strides]
    if not all(s == int(s) and s or n == 1 for s, n in zip(steps, template.shape)) or _overlaps(steps, template.shape):
        return np.array(values, dtype, order="F" if template.flags.f_contiguous else "C")
    strides = [int(s) for s in steps]
    before = sum(-s * (n - 1) for s, n in zip(strides, template.shape) if s < 0)
    after = sum(s * (n - 1) for s, n in zip(strides, template.shape) if s > 0)
    room = np.empty(before + after + 1 + 2 * MARGIN, dtype)
    room.fill(np.nan if is_float(room.dtype) else 0)
    size = room.itemsize
    made = np.ndarray(template.shape, dtype, room, (MARGIN + before) * size, tuple(s * size for s in strides))
    made[...] = values
    return made


def _overlaps(steps: list[float], shape: tuple[int, ...]) -> bool:
    """Whether two indices may share an element: an axis steps over less than the axes inside of it span."""
    spanned = 0.0
    for step, n in sorted((abs(s), n) for s, n in zip(steps, shape) if n > 1):
        if step <= spanned:
            return True
        spanned += step * (n - 1)
    return False


def is_float(dtype: Any) -> bool:
    """float16 to float64 and complex; also bfloat16 and other floats of ml_dtypes, whose kind NumPy calls V."""
    return dtype.kind in "fc" or dtype.kind == "V" and dtype.name.startswith(("bfloat", "float"))


def lay_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory layout, by name.

    transposed: axes in reverse order. strided: every second element of rows twice as long. reversed: from the end of
    the memory to its start. inner: the inside of a larger array. What lies between is NaN (0 for integers), so that
    whoever ignores strides reads it. Raises ValueError for an unknown layout.
    """
    x = np.ascontiguousarray(x) if x.ndim else x
    if layout not in LAYOUTS:
        raise ValueError(f"gradcheck: layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if layout == "contiguous" or x.ndim == 0:
        return x
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "reversed":
        every = (slice(None, None, -1),) * x.ndim
        return np.ascontiguousarray(x[every])[every]
    around = [2 * n for n in x.shape[-1:]] if layout == "strided" else [n + 2 for n in x.shape]
    room = np.full((*x.shape[: x.ndim - len(around)], *around), np.nan if is_float(x.dtype) else 0, x.dtype)
    view = room[..., ::2] if layout == "strided" else room[(slice(1, -1),) * x.ndim]
    view[...] = x
    return view
