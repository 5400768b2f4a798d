"""Forward/backward pairs, right and wrong, on which gradient checkers are held against each other.

An entry is a function (rng, n) that returns a `Pair`: forward, the right backward, and what people write instead, by
what is wrong with it. Where it has sizes, n is the number of elements of its largest argument.

    @entry(10, 1000)
    def square(rng, n):
        return Pair(lambda x: x * x, lambda dy, x: 2 * dy * x, {"x": rng.normal(size=n)},
                    wrong={"forgets the 2": lambda dy, x: dy * x})
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

FILES = ("elementwise", "rows", "products", "windows", "extremes", "edges", "styles", "complexes", "state")


class Pair(NamedTuple):
    """forward and backward at a point.

    style: "plain"   forward(**arguments) returns outputs; backward(dy, what `takes` names, "y" for the outputs)
           "cache"   forward returns (outputs, cache); backward(dy, cache)
           "layer"   forward is an object: forward(x), backward(dy) returns dx, the others in params and grads by name
    wrong: backward, or (forward, backward), or another layer, by what is wrong with it. backward None: no right one.
    wrt: what is differentiated, in the order of backward's results; default all float arguments.
    convention: "torch" dL/da + i dL/db of complex gradients, "jax" dL/da - i dL/db.
    double: whether it computes in float64; otherwise it is checked in the dtype of its arguments.
    pure: whether it is about values alone, not about state or memory layouts.
    tangent: arguments that may move along symmetric matrices only.
    """

    forward: Any
    backward: Callable | None
    arguments: Mapping[str, Any]
    takes: Sequence[str] | None = None
    wrong: Mapping[str, Any] = {}
    style: str = "plain"
    wrt: Sequence[str] | None = None
    convention: str = "torch"
    double: bool = True
    pure: bool = True
    tangent: Mapping[str, str] = {}


class Case(NamedTuple):
    """A right pair (fault "") or a wrong one; size 0 for entries that have one size alone."""

    entry: str
    fault: str
    size: int
    make: Callable[[np.random.Generator, int], Pair]

    @property
    def name(self) -> str:
        return f"{self.entry}{': ' * bool(self.fault)}{self.fault}{f', {self.size}' if self.size else ''}"

    def pair(self) -> Pair:
        """Made anew, with a state of its own; what is wrong with it stands in forward and backward."""
        pair = self.make(np.random.default_rng(len(self.entry)), self.size)
        if not self.fault:
            return pair
        wrong = pair.wrong[self.fault]
        if pair.style == "layer":
            return pair._replace(forward=wrong)
        return pair._replace(**dict(zip(("forward", "backward"), wrong if isinstance(wrong, tuple) else
                                        (pair.forward, wrong))))


ENTRIES: dict[str, tuple[Callable, tuple[int, ...]]] = {}


def entry(*sizes: int) -> Callable:
    def register(make: Callable) -> Callable:
        ENTRIES[make.__name__.replace("_", " ").strip()] = make, sizes
        return make

    return register


def cases() -> Iterator[Case]:
    """All of them: those of one size first, then the others from small to large."""
    for file in FILES:
        import_module(f"bench.gradients.{file}")
    for size in sorted({size for _, sizes in ENTRIES.values() for size in sizes or (0,)}):
        for name, (make, sizes) in ENTRIES.items():
            if size in (sizes or (0,)):
                pair = make(np.random.default_rng(0), min(size, 10))
                right = pair.style == "layer" or pair.backward is not None
                yield from (Case(name, fault, size, make) for fault in [""] * right + list(pair.wrong))
