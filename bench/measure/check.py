"""Is it right, before it is timed: every result of a case against the reference in float64, from the same values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bench import CheckError
from bench.measure.calls import arguments, call, place, result_names
from bench.measure.cases import Case
from ltbc.kernels import conv3x3
from ltbc.kernels.compare import OUTLIER, element_errors, relative_error, to_float64, tolerance
from ltbc.nn.network import as_dtype

SHOWN = 5  # differing elements that a failed check lists
STEEP = {"color": (16, "16 for powers and cube roots, which are steep near black")}


class Allowed(NamedTuple):
    """A tolerance and the words that say where it comes from."""

    value: float
    reason: str


def allowed(
    case: Case, name: str, backend: str, dtype: Any, stored: Any = None, ours: bool = True, exact: bool = True
) -> Allowed:
    """`compare.tolerance` of one result: arithmetic of the backend, length of the sum, dtype of the stored result.

    ours: computed by our kernel, by whose algorithm the tolerance is scaled. exact: the reference computes from the
    same stored values, so that no factor has been rounded.
    """
    arithmetic = arithmetic_of(backend, dtype) if case.flops else sums_of(dtype)
    length, stored = case.lengths[name], stored or case.dtype(name, as_dtype(dtype))
    error = method_of(case, backend, dtype).error(name) if ours and case.op == "conv3x3" else 1
    if as_dtype(dtype).itemsize == 2:  # F(4x4) then has products of float32, 12 times whose errors are nothing here
        error = min(error, 2)
    scale, why = STEEP.get(case.op) or (error, f"{error:g} for Winograd's transforms" if error > 1 else "")
    factors = 2 if error > 1 or not exact or as_dtype(dtype).itemsize > 2 else rounded(case, name)
    what = f"{arithmetic} sums of {length}, factors rounded: {factors}, " if case.flops else f"{arithmetic}, "
    reason = f"{what}stored as {stored}{', times ' * bool(why)}{why}"
    return Allowed(scale * tolerance(arithmetic, length, stored, factors), reason)


def method_of(case: Case, backend: str, dtype: Any) -> conv3x3.Method:
    """How that backend computes a case of conv3x3."""
    y, (*_, cin, cout) = case.results.get("y") or case.inputs["y"], case.inputs["w"]
    return conv3x3.method(as_dtype(dtype), case.options["stride"], cin, cout, tuple(y[:3]), backend=backend)


def rounded(case: Case, name: str) -> int:
    """How many factors of a result's products are rounded to the 16-bit storage once more: stored ones are exact, but
    dz is new where the activation is no ReLU or dy is wider; so are summed weights, and an image's sums of dz."""
    dz = case.work == "backward" and (case.options.get("activation") == "sigmoid" or "dy" in case.wide)
    weights = case.op == "upsample2x_conv3x3" and name in ("y", "dx")
    return dz + weights + (case.op == "fusion" and name in ("dglobal", "dw"))


def arithmetic_of(backend: str, dtype: Any) -> str:
    """What products are computed in: the storage dtype's format, or TF32 where the gpu backend was told so."""
    if backend == "gpu" and str(as_dtype(dtype)) == "float32":
        from ltbc.kernels.gpu import launch

        return "tf32" if launch.precision() == "tf32" else "float32"
    return str(as_dtype(dtype))


def sums_of(dtype: Any) -> str:
    return "float64" if as_dtype(dtype) == np.float64 else "float32"


def reference(case: Case, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Results of the reference in float64 on exactly these values."""
    wide = {k: to_float64(x) if x.dtype.kind not in "iub" else x for k, x in arrays.items()}
    if case.work == "encode":
        case = with_options(case, dtype=np.float64)
    return call(case, {k: x.copy() for k, x in wide.items()}, np.float64, "reference")()


def with_options(case: Case, **options: Any) -> Case:
    return Case(**{**vars(case), "options": case.options | options})


def check(case: Case, backend: str, dtype: Any, runs: int = 1) -> dict[str, tuple]:
    """{result: (relative error, Allowed)} of the last run of our kernel; raises CheckError at the first result that is
    wrong, by its value, dtype or shape, and where an input was overwritten. Every run gets fresh values in the same
    buffers; the first those of seed 0."""
    placed = place(arguments(case, dtype), backend)
    found = {}
    for seed in range(runs):
        arrays = arguments(case, dtype, seed)
        for name, x in place(arrays, backend).items():
            placed[name][...] = x
        got, want = call(case, placed, dtype, backend)(), reference(case, arrays)
        if list(got) != (names := result_names(case, dtype)):
            raise CheckError(f"{case.name}: gives {', '.join(got)}, wanted {', '.join(names)}")
        for name in got:
            kind, limit = case.dtype(name, as_dtype(dtype)), allowed(case, name, backend, dtype)
            if got[name].dtype != kind:
                raise CheckError(f"{case.name}: {name} is {got[name].dtype}, wanted {kind}")
            found[name] = compare(f"{case.name}: {name}", to_float64(got[name]), want[alias(name)], limit), limit
        for name, x in arrays.items():
            if name not in case.results and (to_float64(placed[name]) != to_float64(x)).any():
                raise CheckError(f"{case.name}: overwrites its input {name}")
    return found


def alias(name: str) -> str:
    return "p" if name == "low" else name  # the low-precision copy is p, rounded


def compare(
    what: str, got: np.ndarray, want: np.ndarray, limit: Allowed, places: Sequence[tuple] | None = None
) -> float:
    """The relative error; raises CheckError where it, or one element, is beyond the tolerance.

    places: indices of elements that are a sample of an array."""
    if got.shape != want.shape:
        raise CheckError(f"{what} has shape {list(got.shape)}, the reference has {list(want.shape)}")
    error = relative_error(got, want)
    each = element_errors(got, want)
    off = ~(each <= limit.value)  # NaN counts as off
    if not error <= limit.value or not (each <= OUTLIER * limit.value).all():
        show = off if off.any() else np.ones_like(off)
        lines = [
            f"  [{', '.join(map(str, places[index[0]] if places else index))}]: "
            f"got {got[tuple(index)]:.9g}, want {want[tuple(index)]:.9g}"
            for index in np.argwhere(show)[:SHOWN]
        ]
        head = f"{what} is wrong: relative error {error:.2e}, tolerance {limit.value:.2e} ({limit.reason}); "
        raise CheckError(f"{head}{np.count_nonzero(off)} of {off.size} elements off, the first:\n" + "\n".join(lines))
    return error
