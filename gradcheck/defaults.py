"""What checks use that do not say otherwise: the seed, and a tolerance for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

current: dict[str, Any] = {"seed": 0, "tolerance": None}


def chosen(name: str, given: Any) -> Any:
    return current[name] if given is None else given


@contextmanager
def defaults(**values: Any) -> Iterator[None]:
    """`with defaults(tolerance=1e-4): ...`, for seed and tolerance."""
    unknown = set(values) - set(current)
    if unknown:
        raise ValueError(f"gradcheck: no default for {', '.join(sorted(unknown))}; there are {', '.join(current)}")
    before = dict(current)
    current.update(values)
    try:
        yield
    finally:
        current.update(before)
