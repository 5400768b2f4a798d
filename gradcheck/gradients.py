"""check_gradients: the call that everybody makes first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .check import Check
from .defaults import chosen
from .errors import GradientError, Unproved
from .options import Options, validate
from .pair import Pair
from .result import Result


def check_gradients(
    forward: Callable, backward: Callable, arguments: Mapping[str, Any] | Sequence[Any], *,
    wrt: str | Sequence[str] | None = None, takes: str | Sequence[str] | None = None, operation: str = "operation",
    directions: int = 4, tolerance: float | None = None, seed: int | None = None, step: float | None = None,
    bounds: Any = None, tangent: Any = None, at_kinks: str = "move", complex: str = "conjugate",
    dtype: Any = None, dy: Any = None,
) -> Result:
    """Checks <dx, v> = d/dt <dy, forward(x + t v)> along random directions v of every float leaf of the arguments.

    forward(*arguments) returns y: an array, a number, or nested containers of them; or (y, cache).
    backward(dy, *arguments), or backward(dy, cache), returns gradients: one, a tuple in the order of wrt or of the
    arguments (None where there is none), or a dict by name ("x" or "dx").

    wrt: names to check, all with float leaves by default. takes: what backward wants after dy: names, "y" for
    forward's result ("result" where an argument is called y), "cache".
    step: relative step instead of the one that is found. bounds: (low, high) that moved arguments respect. tangent:
    "symmetric", "orthogonal", "simplex" or f(rng, x): directions that keep an argument so. Both may be a dict by name.
    at_kinks: "move" the point off a kink, "fail", or "skip" the elements of y that have one. complex: "conjugate" for
    gradients dL/dRe + i dL/dIm (PyTorch), "plain" for dL/dRe - i dL/dIm (JAX). dtype: what to compute in instead of
    float64, which is used unless forward is made for less. dy: the upstream gradient at the point given.

    Raises GradientError for a wrong gradient or where nothing can be said, ValueError and TypeError for wrong calls.
    """
    __tracebackhide__ = True
    options = Options(directions, chosen("tolerance", tolerance), step, bounds, tangent, at_kinks)
    validate(operation, options, complex)
    pair = Pair(
        operation, forward, backward, arguments, wrt=wrt, takes=takes, seed=chosen("seed", seed),
        conjugate=complex == "conjugate", dtype=dtype, dy=dy,
    )
    try:
        return Check(pair, options).run()
    except GradientError as error:
        if not (pair.narrow() if isinstance(error, Unproved) else pair.reorder()):
            raise
        first = error
    try:  # in the dtypes given, or with gradients in the order of the arguments, though wrt has another
        return Check(pair, options).run()
    except GradientError as error:
        raise first if isinstance(error, Unproved) or pair.by_arguments else error from None
