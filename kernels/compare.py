"""How far two results may lie apart, and why: one error norm, one table of tolerances.

    error = |actual - reference| / |reference|, Euclidean norms over the whole array, in float64               (1)

A result is a sum of K products, y = sum_k a_k b_k, computed from the values that the reference computes from. With u
the unit roundoff of a format (half the spacing of its numbers at 1; 2^-p for p significant bits):

    tolerance = SAFETY (sqrt(factors u_in^2 + K u_sum^2 + u_out^2) + drift K)                                  (2)

- `factors u_in^2`: a factor rounded on the way into the product moves it by at most u_in, in a direction of its own
  for every k. K such errors add up to u_in sqrt(sum (a_k b_k)^2), which is u_in |y| for terms of independent sign and
  less for terms of one sign. Stored 16-bit values are exact; dz = dy act'(y) and sums of weights are rounded again.
- `K u_sum^2`: the running sum s_k is rounded K times, by at most u_sum |s_k|, up or down. |s_k| grows like sqrt(k) or,
  for terms of one sign, like k, so sqrt(sum s_k^2) is |y| sqrt(K/2) or |y| sqrt(K/3). The worst case, u_sum K, needs
  errors that all have one sign; sums in blocks or pairs do better than either.
- `drift K`: matrix units truncate, and truncation errors do have one sign. At most 2^-23 of the running sum goes at
  every instruction, which adds 16 products (8 for tf32). Source: Fasi et al., Numerical behavior of NVIDIA tensor
  cores, PeerJ Computer Science 7 (2021), who find truncation and float32's 24 bits on every generation they tried.
- `u_out^2`: the result is rounded to the dtype that it is stored in.
- Errors of independent sign add as their squares do. Rounding errors spread evenly over -u..u, and u is meant for the
  smallest significand, so that their root mean square is 0.42 u. SAFETY = 2 makes (2) about five times what is to be
  expected: room for the last bits of exp and tanh, for a bias, and for arrays too small to average over.

Terms that cancel leave a small |reference| with errors of the usual size. Where that can happen by chance, in arrays
of few elements, `magnitude` is what the result would be without: sqrt(sum (a_k b_k)^2), element by element; (1) then
divides by the larger norm. As a norm does not see one wrong element among a million, no element may be off by more
than OUTLIER tolerances of its own size or the array's root mean square, whichever is larger: errors reach six times
their own root mean square in large arrays, and the tolerance lies above that already.

A test may scale a tolerance with a reason (Winograd's transforms multiply errors); it never replaces it.
"""

from typing import Any, NamedTuple

import numpy as np

from ltbc.kernels.arrays import Array

SAFETY = 2.0
OUTLIER = 8.0

ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


class Arithmetic(NamedTuple):
    """What products and sums lose: u_in, u_sum and drift of equation (2)."""

    factor: float
    sum: float
    drift: float = 0.0


ARITHMETIC = {
    "float64": Arithmetic(2.0**-53, 2.0**-53),
    "float32": Arithmetic(2.0**-24, 2.0**-24),
    "tf32": Arithmetic(2.0**-10, 2.0**-24, 2.0**-23 / 8),  # 11 bits; matrix units drop the others: 2^-10, not 2^-11
    "float16": Arithmetic(2.0**-11, 2.0**-24, 2.0**-23 / 16),  # 16-bit products are exact in float32 sums
    "bfloat16": Arithmetic(2.0**-8, 2.0**-24, 2.0**-23 / 16),
}


def tolerance(arithmetic: str, length: int, storage: Any = None, factors: int = 2) -> float:
    """Equation (2): the relative error allowed to sums of `length` products.

    arithmetic: a key of `ARITHMETIC`. storage: dtype of the stored result (default: float64 for float64, else
    float32). factors: how many of the two factors are rounded to the arithmetic's format on the way; 0 where they
    are stored in it already. Raises ValueError for an unknown name or a length below 1.
    """
    if arithmetic not in ARITHMETIC:
        raise ValueError(f"compare: arithmetic must be one of {', '.join(ARITHMETIC)}, got {arithmetic!r}")
    if length < 1:
        raise ValueError(f"compare: length must be at least 1, got {length}")
    stored = str(np.dtype(storage)) if storage is not None else "float64" if arithmetic == "float64" else "float32"
    if stored not in ROUNDOFF:
        raise ValueError(f"compare: storage must be one of {', '.join(ROUNDOFF)}, got {stored}")
    row = ARITHMETIC[arithmetic]
    rounding = (factors * row.factor**2 + length * row.sum**2 + ROUNDOFF[stored] ** 2) ** 0.5
    return SAFETY * (rounding + row.drift * length)


def relative_error(actual: Array, reference: Array, magnitude: Array | None = None) -> float:
    """Equation (1); infinite where `actual` holds NaN or infinity, or anything but 0 where the reference is 0.

    Arrays of one shape, NumPy or CuPy, any real dtype. magnitude: see above. Raises ValueError for shapes that differ.
    """
    actual, reference, *others = arrays_of_one_shape(actual, reference, magnitude)
    if not np.isfinite(actual).all():
        return np.inf
    actual, reference, *others = scaled(actual, reference, *others)
    error, size = norm(actual - reference), max(map(norm, (reference, *others)))
    return error / size if size else (np.inf if error else 0.0)


def element_errors(actual: Array, reference: Array, magnitude: Array | None = None) -> np.ndarray:
    """How far each element is off, by its own size or the array's root mean square, whichever is larger: NaN or
    infinity where `actual` is. Arrays as in `relative_error`."""
    actual, reference, *others = scaled(*arrays_of_one_shape(actual, reference, magnitude))
    usual = np.maximum(np.abs(reference), others[0]) if others else reference
    size = np.maximum(np.abs(reference), norm(usual) / max(usual.size, 1) ** 0.5)
    off = np.abs(actual - reference)
    return np.divide(off, size, out=np.where(off == 0, 0.0, np.inf), where=size > 0)


def assert_close(
    name: str, actual: Array, reference: Array, tolerance: float, magnitude: Array | None = None
) -> float:
    """Raises AssertionError unless `actual` is as near to `reference` as stated above; returns the error (1).

    The message names the result, the error, the tolerance and the element that is farthest off, in one line. Raises
    ValueError for a tolerance that is no number from 0 on.
    """
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"compare: tolerance must be a number from 0 on, got {tolerance}")
    actual, reference = to_float64(actual), to_float64(reference)
    if actual.shape != reference.shape:
        raise AssertionError(f"{name}: shape {list(actual.shape)}, the reference has {list(reference.shape)}")
    if not np.isfinite(reference).all():
        raise AssertionError(f"{name}: the reference itself holds NaN or infinity")
    if not np.isfinite(actual).all():
        bad = np.argwhere(~np.isfinite(actual))
        first = tuple(bad[0])
        raise AssertionError(f"{name}: {actual[first]} at {_index(first)}, {len(bad)} of {actual.size} not finite")
    error, off = relative_error(actual, reference, magnitude), element_errors(actual, reference, magnitude)
    if not error <= tolerance or not (off <= OUTLIER * tolerance).all():
        farthest = np.abs(actual / 2 - reference / 2)
        worst, first = (np.unravel_index(i, off.shape) for i in (np.argmax(farthest), np.argmax(off > tolerance)))
        raise AssertionError(
            f"{name}: relative error {error:.2e}, tolerance {tolerance:.2e}; worst at {_index(worst)}: "
            f"got {actual[worst]:.9g}, want {reference[worst]:.9g}; "
            f"{np.count_nonzero(off > tolerance)} of {off.size} elements off, the first at {_index(first)}"
        )
    return error


def norm(x: np.ndarray) -> float:
    """Euclidean, of what is finite: its squares neither overflow nor vanish."""
    largest = float(np.abs(x).max(initial=0.0))
    return largest * float(np.linalg.norm(x / largest)) if largest else 0.0


def scaled(*arrays: np.ndarray) -> list[np.ndarray]:
    """All by one power of two, so that the largest of what is finite in them is about 1."""
    largest = max(float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in arrays)
    exponent = int(np.frexp(largest)[1])
    return [np.ldexp(x, -exponent) for x in arrays]


def arrays_of_one_shape(*arrays: Array | None) -> list[np.ndarray]:
    """Those that are not None, in float64. Raises ValueError for shapes that differ or a magnitude not finite."""
    found = [to_float64(x) for x in arrays if x is not None]
    if found[0].shape != found[1].shape:
        raise ValueError(f"compare: shapes differ, {list(found[0].shape)} and {list(found[1].shape)}")
    if len(found) > 2:
        found[2] = np.broadcast_to(np.abs(found[2]), found[1].shape)
        if not np.isfinite(found[2]).all():
            raise ValueError("compare: magnitude must be finite, got NaN or infinity")
    return found


def to_float64(x: Array) -> np.ndarray:
    """x as a NumPy array of float64: from CuPy, bfloat16 or a Python number. Raises TypeError for complex ones."""
    array = np.asarray(x.get() if hasattr(x, "get") else x)
    if array.dtype.kind == "c":
        raise TypeError(f"compare: arrays must be real, got {array.dtype}")
    return array.astype(np.float64)


def _index(index: tuple) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"
