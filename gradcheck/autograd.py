"""check_autograd: functions that PyTorch or JAX differentiate themselves, with rules that you wrote."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import leaves, styles, tree
from .gradients import check_gradients
from .result import Result


def check_autograd(
    function: Callable, arguments: Mapping[str, Any] | Sequence[Any], *, operation: str = "", **options: Any,
) -> Result:
    """`check_gradients` for a function whose gradients its library finds, by rules of yours.

    PyTorch: Function.apply of a torch.autograd.Function, a module (its parameters are checked as well), any function
    of tensors. JAX: any function, such as one with a custom_vjp. Which of them is told by the arguments.
    """
    __tracebackhide__ = True
    operation = operation or _name(function)
    arguments = styles.named(function, arguments, operation)
    found = [leaves.library(a) for value in arguments.values() for _, a in tree.leaves(value)]
    source = next((s for s in found if s in ("torch", "jax")), "")
    if not source:
        raise TypeError(f"{operation}: no argument is a PyTorch tensor or a JAX array")
    options.setdefault("complex", "plain" if source == "jax" else "conjugate")
    if source == "jax":
        return check_gradients(function, _jax_backward(function), arguments, operation=operation, **options)
    torch = sys.modules["torch"]
    if isinstance(function, torch.nn.Module):
        function, arguments = _functional(function, arguments)
    backward = _torch_backward(function, operation, list(arguments))
    return check_gradients(_detached(function, arguments), backward, arguments, operation=operation, **options)


def _name(function: Any) -> str:
    owner = getattr(function, "__self__", None)
    return getattr(owner, "__name__", None) or getattr(function, "__name__", None) or type(function).__name__


def _jax_backward(function: Callable) -> Callable:
    jax = sys.modules["jax"]

    def backward(dy: Any, *args: Any) -> Any:
        floats = [i for i, a in enumerate(args) if any(leaves.is_float(x) for _, x in tree.leaves(a))]

        def of_floats(*some: Any) -> Any:
            every = list(args)
            for i, a in zip(floats, some):
                every[i] = a
            return function(*every)

        gradients = jax.vjp(of_floats, *(args[i] for i in floats))[1](dy)
        return tuple(gradients[floats.index(i)] if i in floats else None for i in range(len(args)))

    return backward


def _detached(function: Callable, arguments: Mapping[str, Any]) -> Callable:
    torch = sys.modules["torch"]

    def forward(*args: Any) -> Any:
        with torch.no_grad():
            return function(*args)

    return forward


def _torch_backward(function: Callable, operation: str, names: list[str]) -> Callable:
    torch = sys.modules["torch"]

    def backward(dy: Any, *args: Any) -> Any:
        inputs: list[Any] = []

        def leaf(a: Any) -> Any:
            if leaves.library(a) == "torch" and leaves.is_float(a):
                inputs.append(a.detach().requires_grad_(True))
                return inputs[-1]
            return a

        y = function(*(tree.rebuild(a, leaf) for a in args))
        flat = [(a, d) for (_, a), (_, d) in zip(tree.leaves(y), tree.leaves(dy)) if getattr(a, "requires_grad", False)]
        if not flat:
            raise ValueError(f"{operation}: the result does not depend on any argument, as PyTorch sees it")
        outputs, given = zip(*flat)
        found = iter(torch.autograd.grad(outputs, inputs, given, allow_unused=True))
        zero = lambda a: torch.zeros_like(a) if (g := next(found)) is None else g  # noqa: E731
        return tuple(
            tree.rebuild(a, lambda x: zero(x) if leaves.library(x) == "torch" and leaves.is_float(x) else None)
            for a in args
        )

    return backward


def _functional(module: Any, arguments: dict[str, Any]) -> tuple[Callable, dict[str, Any]]:
    """A module as a function of its arguments and parameters."""
    torch = sys.modules["torch"]
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    count = len(arguments)

    def function(*args: Any) -> Any:
        held = dict(zip(parameters, args[count:]))
        like = [a.dtype for _, value in tree.leaves(list(args)) for a in [value] if leaves.is_float(a)][0]
        buffers = {k: b.to(like, copy=True) if b.is_floating_point() else b.clone() for k, b in module.named_buffers()}
        return torch.func.functional_call(module, {**held, **buffers}, args[:count])

    clash = set(arguments) & set(parameters)
    if clash:
        raise ValueError(f"{type(module).__name__}: a parameter is called {', '.join(clash)}, as an argument is")
    return function, {**arguments, **parameters}
