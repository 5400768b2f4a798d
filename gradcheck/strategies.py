"""Hypothesis strategies of shapes and arrays, and tests of gradients over drawn ones. Needs hypothesis.

    from gradcheck.strategies import given_gradients

    @given_gradients(x="N C", w="C D", b="D")
    def test_dense(check):
        check(forward, backward, takes=("x", "w", "y"))

A failure is shrunk to the smallest shapes and the plainest values that show it, and says how to have it again:

    check_gradients(forward, backward, {"x": array((1, 2), seed=0), ...})          # from gradcheck import array

Values come from a drawn seed, so that an example prints as one number and large arrays are drawn at once.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from .adjoint import check_adjoint
from .errors import GradientError, Unproved
from .gradients import check_gradients
from .layout import LAYOUTS, lay_out
from .made import VALUES, array, described
from .result import Result

__all__ = ["LAYOUTS", "Drawn", "arrays", "given_gradients", "keep_off", "lay_out", "layouts", "sizes"]

SEEDS = st.integers(0, 2**32 - 1)


def sizes(smallest: int = 1, **largest: int) -> st.SearchStrategy[dict[str, int]]:
    """Sizes by name, each from `smallest` to its largest: one pixel, one channel, odd and even."""
    drawn = st.fixed_dictionaries({name: st.integers(smallest, n) for name, n in largest.items()})
    return drawn.map(lambda s: {name: s[name] for name in largest})  # in the order given, which hypothesis may change


def layouts() -> st.SearchStrategy[str]:
    """Names of memory layouts for `lay_out`; simplest first."""
    return st.sampled_from(LAYOUTS)


def arrays(
    shape: int | Sequence[int], *, dtype: Any = np.float64, away_from: float | None = None, margin: float = 0.05,
    scale: float = 1.0, layout: st.SearchStrategy[str] | None = None,
) -> st.SearchStrategy[np.ndarray]:
    """Gaussian arrays of that shape and size (`scale`), no element nearer to `away_from` than `margin * scale`.

    layout: a strategy of names from `LAYOUTS`, contiguous by default; `layouts()` for all of them.
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)

    def make(seed: int, layout: str) -> np.ndarray:
        x = np.random.default_rng(seed).standard_normal(shape) * scale
        if away_from is not None:
            x = keep_off(x, away_from, margin * scale)
        return lay_out(np.asarray(x).astype(dtype), layout)

    return st.builds(make, SEEDS, st.just(LAYOUTS[0]) if layout is None else layout)


def keep_off(x: np.ndarray, point: float, margin: float) -> np.ndarray:
    """x with every element moved away from `point` by `margin`, up or down: nothing is left nearer than that."""
    return x + np.where(x < point, -margin, margin)


class Drawn:
    """Drawn arguments, which check a pair when called: check(forward, backward, **options of check_gradients).

    arguments: arrays by name. sizes: by name.
    """

    def __init__(self, sizes: dict[str, int], made: dict[str, dict[str, Any]]) -> None:
        self.sizes, self.made = sizes, made
        self.arguments = {name: array(**settings) for name, settings in made.items()}

    def __call__(self, forward: Callable, backward: Callable, **options: Any) -> Result:
        __tracebackhide__ = True
        return self._run(check_gradients, forward, backward, options)

    def adjoint(self, forward: Callable, backward: Callable, **options: Any) -> Result:
        """`check_adjoint` of the drawn arguments."""
        __tracebackhide__ = True
        return self._run(check_adjoint, forward, backward, options)

    def _run(self, check: Callable, forward: Callable, backward: Callable, options: dict[str, Any]) -> Result:
        __tracebackhide__ = True
        extra = options.pop("arguments", {})  # of the test's own, such as labels
        try:
            return check(forward, backward, {**self.arguments, **extra}, **options)
        except GradientError as error:
            if isinstance(error, Unproved) and options.get("at_kinks") != "fail":
                reject()  # large values where tanh is flat say nothing; hypothesis ends a test that proves too little
            said = "".join(f", {k}={v!r}" for k, v in options.items())
            found = GradientError(str(error))  # from one line: hypothesis takes all for one failure, and shrinks it
            found.add_note(f"{check.__name__}({_name(forward)}, {_name(backward)}, {self._text(extra)}{said})")
            raise found from None

    def _text(self, extra: Mapping[str, Any]) -> str:
        made = [f"{k!r}: {described(**settings)}" for k, settings in self.made.items()]
        return "{" + ", ".join(made + [f"{k!r}: {v!r}" for k, v in extra.items()]) + "}"

    def __repr__(self) -> str:
        return self._text({})


def _name(function: Callable) -> str:
    return getattr(function, "__name__", "f").replace("<lambda>", "f")


def given_gradients(
    *, _largest: int = 4, _smallest: int = 0, _values: Sequence[str] = VALUES, _dtypes: Sequence[str] | None = None,
    _layouts: Sequence[str] = LAYOUTS, _bounds: Mapping[str, tuple[float, float]] | None = None,
    _settings: settings | None = None, **shapes: str,
) -> Callable[[Callable], Callable]:
    """For a test with an argument `check` (a `Drawn`): shapes such as x="N C", w="C 2*D", drawn anew for each example.

    Sizes go from _smallest (0: empty arrays as well) to _largest; values are of the kinds in `_values` (see `array`),
    of dtypes in `_dtypes` (float64, float32, and bfloat16 where there is ml_dtypes), laid out in memory as `_layouts`
    name. _bounds: {"x": (low, high)} for arguments whose domain is limited. _settings: hypothesis' own, without a
    deadline by default. Further arguments of the test are pytest's fixtures.
    """
    dtypes = _usual_dtypes() if _dtypes is None else tuple(_dtypes)
    names = dict.fromkeys(n for shape in shapes.values() for n in _names(shape))

    @st.composite
    def drawn(draw: Callable) -> Drawn:
        chosen = draw(sizes(_smallest, **dict.fromkeys(names, _largest)))
        dtype, made = draw(st.sampled_from(dtypes)), {}
        for name, shape in shapes.items():
            kind = draw(st.sampled_from(tuple(_values)))
            made[name] = {
                "shape": tuple(_size(part, chosen) for part in shape.split()), "seed": draw(st.integers(0, 999)),
                "values": kind, "dtype": dtype, "layout": draw(st.sampled_from(tuple(_layouts))),
                "bounds": (_bounds or {}).get(name),
            }
        return Drawn(chosen, made)

    def decorate(test: Callable) -> Callable:
        if "check" not in inspect.signature(test).parameters:
            raise TypeError(f"{_name(test)}: a test of drawn gradients takes an argument `check`")
        chosen = settings(deadline=None) if _settings is None else _settings  # a check is many calls
        return chosen(given(check=drawn())(test))

    return decorate


def _usual_dtypes() -> tuple[str, ...]:
    return ("float64", "float32", "bfloat16") if find_spec("ml_dtypes") else ("float64", "float32")


def _names(shape: str) -> list[str]:
    words = shape.replace("+", " ").replace("*", " ").split()
    return [word for word in words if not word.isdigit()]


def _size(part: str, sizes: Mapping[str, int]) -> int:
    """Of "C", "3", "2*C" or "A+B"."""
    return sum(int(np.prod([sizes[f] if f in sizes else int(f) for f in term.split("*")])) for term in part.split("+"))
