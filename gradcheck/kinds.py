"""Losses with their gradients, forward mode, and the backward pass of a backward pass."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import leaves, styles, tree
from .gradients import check_gradients
from .result import Result


def check_loss(
    value_and_gradient: Callable, arguments: Mapping[str, Any] | Sequence[Any], *,
    wrt: str | Sequence[str] | None = None, operation: str = "loss", **options: Any,
) -> Result:
    """`check_gradients` for value_and_gradient(*arguments), which returns the loss and its gradients.

    As (loss, gradient, ...), (loss, (gradient, ...)) or (loss, {name: gradient}), one for each of `wrt`.
    """
    __tracebackhide__ = True

    def value(*args: Any, **named: Any) -> Any:
        out = value_and_gradient(*args, **named)
        if not isinstance(out, (tuple, list)) or len(out) < 2:
            raise ValueError(f"{operation}: wanted (loss, gradients), got {type(out).__name__}")
        if np.size(leaves.to_numpy(out[0]) if leaves.is_float(out[0]) else out[0]) != 1:
            raise ValueError(f"{operation}: the loss must be one number, got shape {list(np.shape(out[0]))}")
        return out[0]

    def gradients(dy: Any, *args: Any, **named: Any) -> Any:
        _, *found = value_and_gradient(*args, **named)
        scaled = tree.rebuild(found[0] if len(found) == 1 else tuple(found), lambda g: None if g is None else dy * g)
        return scaled

    _sign(value, value_and_gradient, 0)
    _sign(gradients, value_and_gradient, 1)
    return check_gradients(value, gradients, arguments, wrt=wrt, operation=operation, **options)


def check_double_backward(
    backward: Callable, double_backward: Callable, arguments: Mapping[str, Any], *, dy: Any,
    operation: str = "backward", **options: Any,
) -> Result:
    """`check_gradients` for backward(dy, *arguments) as a function of dy and of the arguments.

    double_backward(ddx, dy, *arguments) returns gradients with respect to dy and each argument; where backward returns
    several gradients, ddx is a tuple of as many, or double_backward takes them one by one.
    """
    __tracebackhide__ = True
    if "dy" in arguments:
        raise ValueError(f"{operation}: an argument must not be called dy here")
    return check_gradients(backward, double_backward, {"dy": dy, **arguments}, operation=operation, **options)


def _sign(wrapper: Callable, wrapped: Callable, lead: int) -> None:
    """Gives a wrapper the parameters of what it wraps, after `lead` of its own."""
    found = styles.parameters(wrapped)
    if found is not None:
        own = [inspect.Parameter(f"_{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(lead)]
        wrapper.__signature__ = inspect.Signature(own + found)  # type: ignore[attr-defined]
