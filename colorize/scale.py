"""Which value is white, where no file states it: in floats, and in whole numbers of 32 bits.

A scale fits where hardly anything lies beyond it, as little as sharpening leaves there: one value in a hundred, up to
as far again as the scale is long, or any number up to a tenth of it. The larger ones must be used as well: nobody means
by 0.9 a black of 0 to 255. What fits none is refused, and the user says it (`--white`).
"""

import numpy as np

from ltbc.colorize.errors import ImageError

WHITES = {"f": (1, 255, 65535), "u": (65535, (1 << 32) - 1)}
FEW, FAR, NEAR = 0.01, 1.0, 0.1  # share of values that may lie FAR beyond; any may lie NEAR
USED = 1 / 16  # what the largest value must reach of a scale that is not the smallest


def scaled(
    colors: np.ndarray, alpha: np.ndarray | None, stated: float | None, chosen: float | None
) -> tuple[np.ndarray, np.ndarray | None, float, list[str]]:
    """(colors and alpha without what lies beyond the scale, white, notes).

    colors: `[H, W, C]`, floats or whole numbers. stated: the largest value as the file says it (SMaxSampleValue).
    chosen: white, as the user says it. Raises ImageError where it cannot be told.
    """
    kind = "f" if colors.dtype.kind == "f" else "u"
    name = "floats" if kind == "f" else "whole numbers"
    odd = 0 if kind == "u" else colors.size - int(np.count_nonzero(np.isfinite(colors)))
    whites = WHITES[kind]
    options = f"say it with --white {', '.join(map(str, whites[:-1]))} or {whites[-1]}"
    if odd and chosen is None:
        raise ImageError(f"{odd:,} of its values are no finite numbers; {options}, and they become black or white")
    low, high = float(colors.min()), float(colors.max())
    white, why = chosen, "as --white says"
    if white is None and stated in whites and fits(colors, stated, low, high):
        white, why = stated, "as the file states"
    for i, scale in enumerate(whites):
        if white is None and (i == 0 or high > USED * scale) and fits(colors, scale, low, high):
            white, why = scale, "by most of them"
    if white is None:
        raise ImageError(f"{name} from {low:g} to {high:g}: which of them is white cannot be told; {options}")
    beyond = int(np.count_nonzero((colors < 0) | (colors > white))) + int(np.count_nonzero(np.isnan(colors)))
    notes = []
    if beyond or white != whites[0] or chosen is not None:
        clipped = f"; {beyond:,} of {colors.size:,} values lie beyond and were clipped" if beyond else ""
        notes.append(f"{name} from {low:g} to {high:g}: white is {white:g}, {why}{clipped}")
    if beyond:
        colors = np.clip(np.nan_to_num(colors, nan=0, posinf=np.inf, neginf=-np.inf), 0, white).astype(colors.dtype)
    if alpha is not None and kind == "f":
        alpha = np.clip(np.nan_to_num(alpha) * (white if alpha.max() <= 1 else 1), 0, white).astype(colors.dtype)
    return colors, alpha, white, notes


def fits(colors: np.ndarray, white: float, low: float, high: float) -> bool:
    """Whether hardly anything lies below 0 and beyond white."""
    return all(
        by <= 0 or by <= NEAR * white or (by <= FAR * white and np.count_nonzero(out) <= FEW * colors.size)
        for by, out in ((-low, colors < 0), (high - white, colors > white))
    )
