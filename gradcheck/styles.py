"""How people write forward and backward: by position or keyword, (y, cache), several outputs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import leaves

CACHES = ("cache", "ctx", "context", "saved", "saved_tensors", "residuals", "res", "mem", "memory", "state", "tape")


def named(forward: Callable, arguments: Any, operation: str) -> dict[str, Any]:
    """Arguments by name: a mapping as it is, a sequence by the names of forward's parameters."""
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if not isinstance(arguments, Sequence) or isinstance(arguments, str):
        arguments = [arguments]
    names = [p.name for p in parameters(forward) or () if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(names) < len(arguments):
        names = ["x"] if len(arguments) == 1 else [f"x{i}" for i in range(len(arguments))]
    return dict(zip(names, arguments))


def parameters(function: Callable) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # built in, or written in C
        return None


def positional(function: Callable) -> int | None:
    """How many arguments a function wants by position, or None if it takes any number or does not say."""
    found = parameters(function)
    if found is None or any(p.kind == p.VAR_POSITIONAL for p in found):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in found)


class Caller:
    """Calls a function with arguments by name: by position in their order, or by keyword where it wants that.

    By keyword are also handed over all that are parameters of the function, if they are in another order there.
    """

    def __init__(self, function: Callable, names: Sequence[str], lead: int = 0) -> None:
        self.function, found = function, parameters(function) or []
        only = {p.name for p in found if p.kind == p.KEYWORD_ONLY}
        free = [p.name for p in found if p.kind == p.POSITIONAL_OR_KEYWORD][lead:]
        order = [name for name in names if name not in only]
        if order != free[: len(order)] and set(order) <= set(free):
            only |= set(order)
        self.position = [name for name in names if name not in only]
        self.keyword = [name for name in names if name in only]

    def __call__(self, lead: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
        by_position = [by_name[name] for name in self.position]
        return self.function(*lead, *by_position, **{name: by_name[name] for name in self.keyword})


def returns_cache(out: Any, backward: Callable, arguments: Mapping[str, Any], takes: Sequence[str] | None) -> bool:
    """Whether forward's result is (y, cache) and backward is backward(dy, cache)."""
    if not isinstance(out, (tuple, list)) or len(out) < 2:
        return False
    if takes is not None:
        return "cache" in takes and "cache" not in arguments
    if positional(backward) != 2:
        return False
    second = [p.name for p in parameters(backward) or ()][1]
    if len(arguments) != 1 or second in CACHES:
        return True
    return second not in arguments or not leaves.is_float(out[-1])


def split_cache(out: Any) -> tuple[Any, Any]:
    """(y, cache) of (y, cache) or (y1, y2, cache)."""
    return (out[0] if len(out) == 2 else tuple(out[:-1])), out[-1]
