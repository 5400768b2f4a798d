"""Nested containers: their leaves with names as they are written in Python, and the same containers with others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

Leaves = Iterator[tuple[str, Any]]


def leaves(tree: Any, name: str = "") -> Leaves:
    """("params['w'][0]", leaf) of dicts, lists, tuples, named tuples and dataclasses, in order. None is a leaf."""
    children = _children(tree)
    if children is None:
        yield name, tree
    else:
        for part, child in children:
            yield from leaves(child, name + part)


def rebuild(tree: Any, new: Callable[[Any], Any]) -> Any:
    """The same containers with new(leaf) for every leaf, called in the order of `leaves`."""
    if is_container(tree):
        if isinstance(tree, Mapping):
            made = {key: rebuild(child, new) for key, child in tree.items()}
            return made if type(tree) is dict else _mapping(tree, made)
        if is_dataclass(tree):
            return replace(tree, **{f.name: rebuild(getattr(tree, f.name), new) for f in fields(tree)})  # type: ignore
        made_list = [rebuild(child, new) for child in tree]
        return type(tree)(*made_list) if hasattr(tree, "_fields") else type(tree)(made_list)
    return new(tree)


def is_container(tree: Any) -> bool:
    return isinstance(tree, (Mapping, list, tuple)) or is_dataclass(tree) and not isinstance(tree, type)


def _children(tree: Any) -> list[tuple[str, Any]] | None:
    if not is_container(tree):
        return None
    if isinstance(tree, Mapping):
        return [(f"[{key!r}]", child) for key, child in tree.items()]
    if is_dataclass(tree):
        return [(f".{f.name}", getattr(tree, f.name)) for f in fields(tree)]
    names = getattr(tree, "_fields", None)
    return [(f".{names[i]}" if names else f"[{i}]", child) for i, child in enumerate(tree)]


def _mapping(tree: Mapping, made: dict) -> Any:
    """Ordered and other dicts keep their type where it takes a dict; what does not becomes a dict."""
    try:
        return type(tree)(made)  # type: ignore[call-arg]
    except TypeError:
        return made
