"""A pair as other checkers want it: arrays in, arrays out, and a function that brings gradients back."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.gradients import Pair

Arrays = list[np.ndarray]


class Calls:
    """How many of forward there were."""

    n = 0


class Function:
    """leaves: the float arrays that are differentiated; `run` counts in calls."""

    def __init__(self, pair: Pair, calls: Calls) -> None:
        self.pair, self.calls = pair, calls
        self.names = list(pair.wrt or pair.arguments)
        self.leaves = leaves([pair.arguments[name] for name in self.names])
        if pair.style == "layer":
            self.leaves += [param.copy() for param in leaves(pair.forward.params)]  # `run` overwrites them

    def run(self, *given: np.ndarray) -> tuple[Arrays, Callable[[Arrays], Arrays]]:
        """The outputs, and what backward makes of as many dy: a gradient for each leaf."""
        self.calls.n += 1
        pair = self.pair
        filled = with_leaves([pair.arguments[name] for name in self.names], iter(given))
        arguments = {**pair.arguments, **dict(zip(self.names, filled))}
        if pair.style == "layer":
            for param, value in zip(pair.forward.params.values(), given[1:]):
                param[...] = value
            y = pair.forward.forward(given[0])
            return leaves(y), lambda dy: [pair.forward.backward(dy[0]), *pair.forward.grads.values()]
        y = call(pair.forward, arguments)
        if pair.style == "cache":
            y, cache = y
            known = {"cache": cache}
        else:
            known = {name: ({"y": y} | arguments)[name] for name in pair.takes or arguments}
        return leaves(y), lambda dy: self._gradients(call(pair.backward, known, with_leaves(y, iter(dy))))

    def _gradients(self, returned: Any) -> Arrays:
        found = leaves(list(returned) if isinstance(returned, tuple) else [returned])
        if len(found) != len(self.leaves):
            raise ValueError(f"backward returned {len(found)} gradients, wanted {len(self.leaves)}")
        return found


def call(function: Any, arguments: Mapping[str, Any], *first: Any) -> Any:
    """Arguments by position, as most people call, but for those that must be named."""
    named: set[str] = set()
    if inspect.isfunction(function):
        named = {name for name, p in inspect.signature(function).parameters.items() if p.kind == p.KEYWORD_ONLY}
    by_name = {name: a for name, a in arguments.items() if name in named}
    return function(*first, *(a for name, a in arguments.items() if name not in named), **by_name)


def is_leaf(a: Any) -> bool:
    return isinstance(a, float | complex | np.generic | np.ndarray) and (
        np.asarray(a).dtype.kind in "fc" or np.asarray(a).dtype.name == "bfloat16")


def leaves(tree: Any) -> Arrays:
    """Float and complex arrays and numbers of a tree of lists, tuples and dicts."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [np.asarray(tree)] if is_leaf(tree) else []


def with_leaves(tree: Any, values: Any) -> Any:
    """The tree with other leaves, taken in the same order; Python's numbers stay such."""
    if isinstance(tree, Mapping):
        return {name: with_leaves(branch, values) for name, branch in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(with_leaves(branch, values) for branch in tree)
    if not is_leaf(tree):
        return tree
    value = next(values)
    return value if isinstance(tree, np.ndarray) else type(tree)(value)
