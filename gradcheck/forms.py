"""What backward returned, matched with the arguments and checked for its form."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import leaves, tree
from .errors import GradientError


class Slot(NamedTuple):
    """A float leaf of the arguments: its name, the argument that holds it, the leaf as given, its format in calls."""

    name: str
    argument: str
    leaf: Any
    form: str


def by_argument(
    operation: str, returned: Any, arguments: Mapping[str, Any], floats: Sequence[str], wrt: Sequence[str],
    explicit: bool,
) -> dict[str, Any]:
    """{argument: gradient}, from a dict, from one gradient, or from a tuple in the order of wrt or of the arguments."""
    if isinstance(returned, Mapping) and not (len(wrt) == 1 and _same_keys(returned, arguments[wrt[0]])):
        return _from_mapping(operation, returned, wrt)
    if len(wrt) == 1 and _is_one(returned, arguments[wrt[0]]):
        return {wrt[0]: returned}
    values = list(returned) if isinstance(returned, (tuple, list)) else [returned]
    arrays = [name for name in floats if any(leaves.is_array(a) for _, a in tree.leaves(arguments[name]))]
    orders = [wrt, floats, arrays, list(arguments)] if explicit else [floats, arrays, list(arguments)]
    fitting = [names for names in orders if len(names) == len(values)]
    if not fitting:
        wanted = ", ".join(f"d{k}" for k in (wrt if explicit else arrays or floats))
        raise GradientError(f"{operation}: backward returned {len(values)} gradients, wanted {wanted}")
    names = next((order for order in fitting if _shapes_fit(order, values, arguments)), fitting[0])
    return dict(zip(names, values))


def _is_one(returned: Any, argument: Any) -> bool:
    """Whether what came back is the gradient of one argument, and no tuple that holds it."""
    if not isinstance(returned, (tuple, list)):
        return True
    if tree.is_container(argument):
        return len(returned) == len(argument) and len(returned) > 1
    return isinstance(returned, list) and not any(leaves.is_array(a) or tree.is_container(a) for a in returned)


def leaf_gradients(operation: str, slots: Sequence[Slot], argument: Any, gradient: Any) -> list[Any]:
    """The leaves of a gradient that belong to the float leaves of its argument, None where it has none."""
    if not tree.is_container(argument):
        return [gradient]
    if gradient is None:
        return [None] * len(slots)
    found = dict(tree.leaves(gradient))
    suffixes = [slot.name.removeprefix(slot.argument) for slot in slots]
    missing = [slot.name for slot, suffix in zip(slots, suffixes) if suffix not in found]
    if missing and len(found) == len(slots) and not isinstance(gradient, Mapping):
        return list(found.values())  # a tuple for a list, a dataclass for a dict
    if missing:
        got = ", ".join(found) or type(gradient).__name__
        raise GradientError(f"{operation}: the gradient of {slots[0].argument} has no {missing[0]}; it holds {got}")
    return [found[suffix] for suffix in suffixes]


def checked(operation: str, slot: Slot, gradient: Any, value: np.ndarray, lenient: bool) -> np.ndarray:
    """The gradient in float64 or complex128, a copy; raises GradientError for a wrong shape, dtype or NaN."""
    where, shape = f"{operation}: d{slot.name}", value.shape
    if gradient is None:
        raise GradientError(f"{where} is None; leave {slot.argument} out of wrt if it has no gradient")
    try:
        found = np.array(leaves.to_numpy(gradient))
    except (TypeError, ValueError):
        found = np.array(None)
    if found.dtype.kind not in "fc":
        if found.dtype.kind not in "iub" or leaves.is_array(gradient) and found.ndim:
            raise GradientError(f"{where} is {_kind(gradient)}, but {slot.name} is {slot.form}")
        found = found.astype(np.float64)
    if found.shape != shape:
        cause = _sum_missing(found.shape, shape)
        raise GradientError(f"{where} has shape {list(found.shape)}, but {slot.name} has {list(shape)}{cause}")
    form = leaves.format_of(gradient) or "float64"
    if (found.dtype.kind == "c") != (value.dtype.kind == "c"):
        raise GradientError(f"{where} is {form}, but {slot.name} is {slot.form}")
    if not lenient and leaves.real_format(form) != "float64":
        raise GradientError(f"{where} is {form}, but {slot.name} is {slot.form}")
    if not np.isfinite(found).all():
        at = np.argwhere(~np.isfinite(found))[0]
        raise GradientError(f"{where} is {found[tuple(at)]} at {at.tolist()}")
    return found


def _sum_missing(got: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """The cause of a wrong shape, where it is a sum over broadcast axes, or a transposition."""
    if len(got) == len(wanted) and got == wanted[::-1]:
        return "; it is transposed"
    lead = len(got) - len(wanted)
    if lead >= 0:
        axes = [*range(lead), *(lead + i for i, (g, w) in enumerate(zip(got[lead:], wanted)) if w == 1 != g)]
        fits = all(g == w or w == 1 for g, w in zip(got[lead:], wanted))
        if fits and any(got[i] != 1 for i in axes):
            return f"; it misses the sum over {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
    return ""


def _kind(gradient: Any) -> str:
    return leaves.format_of(gradient) or type(gradient).__name__


def _same_keys(gradient: Mapping, argument: Any) -> bool:
    return isinstance(argument, Mapping) and set(gradient) == set(argument)


def _from_mapping(operation: str, returned: Mapping, wrt: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name in wrt:
        keys = [key for key in (name, f"d{name}", f"grad_{name}", f"d_{name}", f"{name}_grad") if key in returned]
        if not keys:
            got = ", ".join(map(str, returned)) or "nothing"
            raise GradientError(f"{operation}: backward returned gradients of {got}, wanted {name}")
        found[name] = returned[keys[0]]
    return found


def _shapes_fit(names: Sequence[str], values: Sequence[Any], arguments: Mapping[str, Any]) -> bool:
    for name, value in zip(names, values):
        argument = arguments[name]
        if leaves.is_array(argument) and leaves.is_array(value) and tuple(value.shape) != tuple(argument.shape):
            return False
        if not tree.is_container(argument) and not leaves.is_float(argument) and value is not None:
            return False
    return True
