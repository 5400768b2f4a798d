"""A forward/backward pair at a point, as `kernels/gradcheck.py` sees it: NumPy arguments by name, results checked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ltbc.kernels.arrays import array_module


class GradientError(AssertionError):
    """A gradient is wrong, has a wrong form, or could not be checked; one line says which and where."""


class Pair:
    """forward and backward at a point: float64 arguments by name, and what comes back checked for its form."""

    def __init__(
        self, operation: str, forward: Callable, backward: Callable, arguments: Mapping[str, Any],
        wrt: Sequence[str] | None, takes: Sequence[str] | None, seed: int,
    ) -> None:
        self.operation, self.forward, self.backward = operation, forward, backward
        self.point = {k: _host(a).astype(np.float64) if _is_float(a) else a for k, a in arguments.items()}
        self.floats = [k for k, a in arguments.items() if _is_float(a)]
        self.wrt = as_list(self.floats if wrt is None else wrt)
        self.takes = as_list(list(arguments) if takes is None else takes)
        for name, known in [(k, self.floats) for k in self.wrt] + [(k, [*arguments, "y"]) for k in self.takes]:
            if name not in known:
                raise ValueError(f"{operation}: {name!r} must be one of {', '.join(known)}")
        self.xp = array_module(arguments[self.floats[0]]) if self.floats else np
        self.rng = np.random.default_rng(seed)

    def direction(self, x: np.ndarray) -> np.ndarray:
        """Random, as large as x, with no element near 0 and no two alike: errors can neither hide nor cancel."""
        size = float(np.sqrt(np.mean(x * x))) if x.size else 0.0
        return self.rng.choice((-1, 1), x.shape) * self.rng.uniform(0.5, 1.5, x.shape) * (size or 1.0)

    def move(self, part: float) -> None:
        """Moves every float argument by that part of its size."""
        for k in self.floats if part else ():
            self.point[k] = self.point[k] + part * self.direction(self.point[k])

    def value(self, name: str = "", x: np.ndarray | None = None) -> np.ndarray:
        """forward at the point, with x in the place of the argument `name`."""
        y = _host(self.forward(*(self._device(x if k == name else a) for k, a in self.point.items())))
        if y.dtype != np.float64:
            raise TypeError(f"{self.operation}: forward returned {y.dtype} for float64 arguments; check it in float64")
        if not np.isfinite(y).all():
            raise GradientError(f"{self.operation}: forward returned NaN or infinity")
        return y

    def gradients(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """(dy, y, gradients by name) at the point, for a random dy."""
        y = self.value()
        dy = self.direction(np.ones_like(y))
        handed = {"dy": dy, **{k: {"y": y, **self.point}[k] for k in self.takes}}
        sent = {k: self._device(a) for k, a in handed.items()}
        returned = self.backward(*sent.values())
        for k, a in handed.items():
            if isinstance(a, np.ndarray) and not np.array_equal(_host(sent[k]), a):
                raise GradientError(f"{self.operation}: backward changed its argument {k} in place")
        returned = returned if isinstance(returned, (tuple, list)) else (returned,)
        names = self.floats if len(returned) == len(self.floats) else self.wrt
        if len(returned) != len(names):
            wanted = ", ".join(f"d{k}" for k in names)
            raise GradientError(f"{self.operation}: backward returned {len(returned)} gradients, wanted {wanted}")
        found = dict(zip(names, returned))
        return dy, y, {k: self._checked(k, found[k]) for k in self.wrt}

    def _checked(self, name: str, gradient: Any) -> np.ndarray:
        where, shape = f"{self.operation}: d{name}", self.point[name].shape
        if gradient is None:
            raise GradientError(f"{where} is None; leave {name} out of wrt if it has no gradient")
        gradient = _host(gradient)
        if gradient.shape != shape:
            raise GradientError(f"{where} has shape {list(gradient.shape)}, but {name} has {list(shape)}")
        if gradient.dtype != np.float64:
            raise GradientError(f"{where} is {gradient.dtype}, but {name} is float64")
        if not np.isfinite(gradient).all():
            at = np.argwhere(~np.isfinite(gradient))[0]
            raise GradientError(f"{where} is {gradient[tuple(at)]} at {at.tolist()}")
        return gradient

    def _device(self, a: Any) -> Any:
        return self.xp.array(a) if isinstance(a, np.ndarray) else a


def as_list(given: Sequence[str]) -> list[str]:
    """One name alone may stand for a list of one."""
    return [given] if isinstance(given, str) else list(given)


def _host(a: Any) -> np.ndarray:
    return np.asarray(a.get() if hasattr(a, "get") else a)


def _is_float(a: Any) -> bool:
    return isinstance(a, array_module(a).ndarray) and a.dtype.kind == "f"
