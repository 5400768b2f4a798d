"""check_layer: objects with forward, backward, parameters and gradients, as people write them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import leaves
from .gradients import check_gradients
from .result import Result

PARAMETERS = ("params", "parameters", "weights", "_params")
GRADIENTS = ("grads", "gradients", "_grads", "dparams")
ZERO = ("zero_grad", "zero_grads", "zero_gradients", "clear_grads", "cleargrads")


def check_layer(
    layer: Any, x: Any, *, params: Any = None, grads: Any = None, forward: str = "forward", backward: str = "backward",
    operation: str = "", **options: Any,
) -> Result:
    """`check_gradients` for layer.forward(x) and layer.backward(dy), with respect to x and the layer's parameters.

    x: the input, or a tuple of inputs. params, grads: names of the attributes that hold parameters and gradients (found
    where they are called params and grads, or W and dW), or functions of the layer that return them; each is a dict or
    a list; keys of grads may begin with d. A method zero_grad is called before every backward. Parameters are changed
    in place and set back at the end; they are checked in the dtype that they have.
    """
    __tracebackhide__ = True
    name = operation or type(layer).__name__
    inputs = x if isinstance(x, tuple) else (x,)
    held = _Held(layer, name, params, grads)
    names = ["x"] if len(inputs) == 1 else [f"x{i}" for i in range(len(inputs))]
    arguments = {**dict(zip(names, inputs)), **{k: np.array(v) if isinstance(v, np.ndarray) else v
                                                for k, v in held.parameters().items()}}
    clash = set(names) & set(held.parameters())
    if clash:
        raise ValueError(f"{name}: a parameter is called {', '.join(clash)}, as the input is")
    run, back = getattr(layer, forward), getattr(layer, backward)
    zero = next((getattr(layer, z) for z in ZERO if callable(getattr(layer, z, None))), None)

    def forwards(*args: Any) -> Any:
        held.set(dict(zip(list(arguments)[len(names) :], args[len(names) :])))
        return run(*args[: len(names)])

    def backwards(dy: Any, *args: Any) -> Any:
        if zero is not None:
            zero()
        dx = back(dy)
        found = held.gradients()
        return {**dict(zip(names, dx if len(names) > 1 else (dx,))), **found}

    try:
        return check_gradients(forwards, backwards, arguments, operation=name, **options)
    finally:
        held.set({k: arguments[k] for k in held.parameters()})


class _Held:
    """The parameters and gradients that a layer holds, by the parameter's name."""

    def __init__(self, layer: Any, name: str, params: Any, grads: Any) -> None:
        self.layer, self.name = layer, name
        self.params = params if params is not None else next((p for p in PARAMETERS if hasattr(layer, p)), None)
        self.grads = grads if grads is not None else next((g for g in GRADIENTS if hasattr(layer, g)), None)
        self.pairs = [] if self.params is not None else self._attributes()

    def _attributes(self) -> list[tuple[str, str]]:
        """W and dW, or w and grad_w, among the layer's attributes."""
        held = getattr(self.layer, "__dict__", {})
        pairs = []
        for name, value in held.items():
            names = (f"d{name}", f"grad_{name}", f"{name}_grad", f"d_{name}")
            gradient = next((g for g in names if g in held), None)
            if gradient and leaves.is_float(value) and leaves.is_array(value):
                pairs.append((name, gradient))
        return pairs

    def _read(self, where: Any) -> dict[str, Any]:
        found = where(self.layer) if callable(where) else getattr(self.layer, where)
        found = found() if callable(found) else found
        if isinstance(found, Mapping):
            return {str(k): v for k, v in found.items()}
        return {f"params[{i}]": a for i, a in enumerate(found)}

    def parameters(self) -> dict[str, Any]:
        if self.params is None:
            return {name: getattr(self.layer, name) for name, _ in self.pairs}
        return {k: v for k, v in self._read(self.params).items() if leaves.is_float(v) and leaves.is_array(v)}

    def set(self, values: Mapping[str, Any]) -> None:
        """In place, so that whoever holds the same arrays sees it."""
        held = self.parameters()
        for name, value in values.items():
            held[name][...] = value

    def gradients(self) -> dict[str, Any]:
        if self.params is None:
            return {name: getattr(self.layer, gradient) for name, gradient in self.pairs}
        wanted = self.parameters()
        if not wanted:
            return {}
        if self.grads is None:
            raise ValueError(f"{self.name}: where are the gradients of {', '.join(wanted)}? say grads=")
        found = self._read(self.grads)
        made = {}
        for name in wanted:
            keys = [k for k in (name, f"d{name}", f"grad_{name}", f"{name}_grad", f"d_{name}") if k in found]
            if not keys:
                raise ValueError(f"{self.name}: no gradient of {name} among {', '.join(found) or 'none'}")
            made[name] = found[keys[0]]
        return made
