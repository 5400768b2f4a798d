"""forward and backward at a point: arguments made anew for every call, results copied, arguments compared."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from . import forms, layout, leaves, styles, tree
from .errors import GradientError, OutOfDomain
from .forms import Slot
from .numbers import signs
from .values import Point, Visit, as_list, copies, described, real, same


class Pair:
    """forward and backward, called with float64 arguments, or with the dtype that they compute in."""

    def __init__(
        self, operation: str, forward: Callable, backward: Callable, arguments: Any, *, wrt: Any = None,
        takes: Any = None, seed: int = 0, conjugate: bool = True, dtype: str | None = None, dy: Any = None,
    ) -> None:
        self.operation, self.backward = operation, backward
        self.arguments = styles.named(forward, arguments, operation)
        self.given_dy, self.conjugate = dy, conjugate
        self.rng = np.random.default_rng(seed)
        self.floats = [k for k, a in self.arguments.items() if any(leaves.is_float(x) for _, x in tree.leaves(a))]
        self.explicit = wrt is not None
        self.wrt = as_list(self.floats if wrt is None else wrt)
        self.takes = None if takes is None else as_list(takes)
        self._check_names()
        self.slots = self._slots(dtype)
        self.call = styles.Caller(forward, list(self.arguments))
        self.y_forms: list[str] = []
        self.calls = {"forward": 0, "backward": 0}
        self.unchecked: dict[str, str] = {}
        self.cached: bool | None = None
        self.fixed_dtype = dtype is not None
        self.by_arguments = self.by_order = False

    def _check_names(self) -> None:
        known = [(k, self.floats) for k in self.wrt]
        known += [(k, [*self.arguments, "y", "result", "cache"]) for k in self.takes or ()]
        for name, names in known:
            if name not in names:
                raise ValueError(f"{self.operation}: {name!r} must be one of {', '.join(dict.fromkeys(names))}")
        if len(set(self.wrt)) < len(self.wrt):
            raise ValueError(f"{self.operation}: wrt names an argument twice: {', '.join(self.wrt)}")

    def _slots(self, dtype: str | None, given: bool = False) -> list[Slot]:
        found = []
        for argument, value in self.arguments.items():
            for name, leaf in tree.leaves(value, argument):
                if leaves.is_float(leaf):
                    form = leaves.format_of(leaf)
                    form = leaves.like_format(form, dtype) if dtype else form if given else leaves.wider(form, leaf)
                    found.append(Slot(name, argument, leaf, form))
        return found

    def reorder(self) -> bool:
        """Takes gradients in the order of the arguments from now on, if wrt names them in another; once."""
        if self.by_arguments or not self.by_order or self.wrt == [name for name in self.floats if name in self.wrt]:
            return False
        self.by_arguments = True
        return True

    def narrow(self) -> bool:
        """Takes the arguments' own formats instead of wider ones, which forward may round off; once."""
        wide, self.slots = self.slots, self._slots(None, given=True)
        return not self.fixed_dtype and wide != self.slots

    def start(self) -> Point:
        """The point given, once it is known which dtype forward computes in."""
        point: Point = [np.array(leaves.to_numpy(slot.leaf)) for slot in self.slots]
        narrow = [leaves.format_of(slot.leaf) for slot in self.slots]
        if self.fixed_dtype or narrow == [slot.form for slot in self.slots]:
            return self._stored(point)
        with suppress(Exception):  # code for float32 alone says so in many ways; what else is wrong comes again
            self.evaluate(point)
            if self.format == "float64":
                return self._stored(point)
        wide, self.slots = self.slots, self._slots(None, given=True)
        try:
            self.evaluate(point)
        except Exception:
            self.slots = wide
        return self._stored(point)

    def _stored(self, point: Point) -> Point:
        """The point as its formats hold it."""
        return [leaves.stored(x, slot.leaf, slot.form) for x, slot in zip(point, self.slots)]

    @property
    def format(self) -> str:
        """The coarsest of the formats of results and checked arguments."""
        found = [*self.y_forms, *(slot.form for slot in self.slots if slot.argument in self.wrt)]
        return max(map(leaves.real_format, found), key=leaves.roundoff, default="float64")

    @property
    def result_format(self) -> str:
        """The coarsest of the formats of results."""
        return max(map(leaves.real_format, self.y_forms), key=leaves.roundoff)

    def build(self, point: Point) -> dict[str, Any]:
        """Arguments by name, of the libraries, formats and memory layouts that were given."""
        made = iter(zip(self.slots, point))

        def leaf(a: Any) -> Any:
            if leaves.is_float(a):
                slot, x = next(made)
                return leaves.native(x, slot.leaf, slot.form)
            return layout.like(a, a, a.dtype) if isinstance(a, np.ndarray) and a.dtype.kind in "iub" else a

        return {name: tree.rebuild(a, leaf) for name, a in self.arguments.items()}

    def evaluate(self, point: Point) -> np.ndarray:
        """forward's result at a point, flat."""
        y, _ = self._split(self._forward(self.build(point)))
        return self._flat_y(y)

    def moved(self, point: Point, index: int, x: np.ndarray) -> np.ndarray:
        """forward's result with another value of one slot; OutOfDomain where it has none."""
        there = [*point[:index], x, *point[index + 1 :]]
        try:
            with np.errstate(all="ignore"):
                y = self.evaluate(there)
        except GradientError as error:
            raise OutOfDomain(str(error)) from error
        except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
            raise OutOfDomain(f"{type(error).__name__}: {error}") from error
        return y

    def visit(self, point: Point, dy: np.ndarray | None = None) -> Visit:
        """forward, then backward with that dy (flat) or a random one, then whether all has been left alone."""
        made = self.build(point)
        before = copies(made)
        out = self._forward(made)
        self._compare(before, made, "forward")
        y, cache = self._split(out)
        flat = self._flat_y(y)
        if dy is None:
            dy = self.draw_dy(y)
        handed_dy = self._dy_tree(y, dy)
        given = {"y": y, **made, "result": y, "cache": cache}
        takes = self._takes()
        sent = {"dy": handed_dy, **{name: given[name] for name in takes if name != "cache"}}
        before = copies(sent)
        self.calls["backward"] += 1
        returned = self._call_backward(handed_dy, given, takes)
        gradients = self._gradients(returned, point)
        self._compare(before, sent, "backward")
        return Visit(point, flat, dy, gradients)

    def _takes(self) -> list[str]:
        if self.takes is not None:
            return self.takes
        return ["cache"] if self.cached else list(self.arguments)

    def _forward(self, made: dict[str, Any]) -> Any:
        self.calls["forward"] += 1
        return self.call((), made)

    def _call_backward(self, dy: Any, given: Mapping[str, Any], takes: Sequence[str]) -> Any:
        lead: Sequence[Any] = [dy]
        if isinstance(dy, (tuple, list)) and len(dy) > 1 and styles.positional(self.backward) == len(dy) + len(takes):
            lead = list(dy)
        return styles.Caller(self.backward, takes, len(lead))(lead, given)

    def _split(self, out: Any) -> tuple[Any, Any]:
        if self.cached is None:
            self.cached = styles.returns_cache(out, self.backward, self.arguments, self.takes)
        return styles.split_cache(out) if self.cached else (out, None)

    def _flat_y(self, y: Any) -> np.ndarray:
        found = [a for _, a in tree.leaves(y) if leaves.is_float(a)]
        if not found:
            what = "a dict without arrays of floats" if isinstance(y, Mapping) else described(y)
            raise ValueError(f"{self.operation}: forward returned {what}, wanted an array, a number or several of them")
        self.y_forms = [leaves.format_of(a) for a in found]
        flat = [real(leaves.to_numpy(a)).ravel() for a in found]
        joined = np.array(flat[0]) if len(flat) == 1 else np.concatenate(flat)
        if not np.isfinite(joined).all():
            raise GradientError(f"{self.operation}: forward returned NaN or infinity")
        return joined

    def draw_dy(self, y: Any) -> np.ndarray:
        """Random, of size 1, none near 0, no two alike: errors neither hide nor cancel. At first the one given."""
        if self.given_dy is not None:
            given = [real(leaves.to_numpy(a)).ravel() for _, a in tree.leaves(self.given_dy)]
            return np.concatenate(given).astype(np.float64)
        return self.signs(sum(real(leaves.to_numpy(a)).size for _, a in tree.leaves(y) if leaves.is_float(a)))

    def signs(self, shape: Any) -> np.ndarray:
        return signs(self.rng, shape)

    def _dy_tree(self, y: Any, flat: np.ndarray) -> Any:
        """The flat dy as what y is: library, shape, layout (or that of the dy given); None where y has no floats."""
        start = 0
        templates = None if self.given_dy is None else iter([a for _, a in tree.leaves(self.given_dy)])

        def leaf(a: Any) -> Any:
            nonlocal start
            if not leaves.is_float(a):
                return None
            values = leaves.to_numpy(a)
            size = real(values).size
            part = flat[start : start + size]
            start += size
            part = part.view(np.complex128) if values.dtype.kind == "c" else part
            part = part.reshape(values.shape)
            template = a if templates is None else next(templates)
            if np.shape(template) != values.shape:
                shapes = f"dy has shape {list(np.shape(template))}, y has {list(values.shape)}"
                raise ValueError(f"{self.operation}: {shapes}")
            return leaves.native(part if self.conjugate else part.conj(), template, leaves.format_of(a))

        return tree.rebuild(y, leaf)

    def _gradients(self, returned: Any, point: Point) -> dict[int, np.ndarray]:
        order = [name for name in self.floats if name in self.wrt] if self.by_arguments else self.wrt
        self.by_order |= isinstance(returned, (tuple, list)) and len(order) > 1
        found = forms.by_argument(self.operation, returned, self.arguments, self.floats, order, self.explicit)
        lenient, gradients = self.format != "float64", {}
        for argument in self.wrt:
            indices = [i for i, slot in enumerate(self.slots) if slot.argument == argument]
            slots = [self.slots[i] for i in indices]
            if argument not in found:
                self.unchecked.update({slot.name: "backward returns no gradient" for slot in slots})
                continue
            values = forms.leaf_gradients(self.operation, slots, self.arguments[argument], found[argument])
            for i, slot, value in zip(indices, slots, values):
                if value is None and not self.explicit and not leaves.is_array(slot.leaf):
                    self.unchecked[slot.name] = "backward gives None"
                    continue
                g = forms.checked(self.operation, slot, value, point[i], lenient)
                gradients[i] = g if self.conjugate else g.conj()
        self.unchecked.update({slot.name: "not in wrt" for slot in self.slots if slot.argument not in self.wrt})
        if not gradients:
            left = ", ".join(self.unchecked) or "no argument holds floats"
            raise GradientError(f"{self.operation}: nothing was checked ({left})")
        return gradients

    def _compare(self, before: dict[str, Any], after: dict[str, Any], who: str) -> None:
        for name, old in before.items():
            new = [a for _, a in tree.leaves(after[name])]
            for a, b in zip(old, new):
                if a is not None and not same(a, np.asarray(leaves.to_numpy(b))):
                    raise GradientError(f"{self.operation}: {who} changed its argument {name} in place")

