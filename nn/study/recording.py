"""What every layer of a network saw and gave for one photograph, forward and backward."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ltbc.kernels import color, conv3x3
from ltbc.kernels.arrays import activation_backward
from ltbc.kernels.compare import to_float64
from ltbc.nn.architecture import INPUT_OF, LayerSpec
from ltbc.nn.network import Network


class Record:
    """What a layer of one backend saw and gave for one image, in float64; maps are `[H, W, C]`."""

    def __init__(self, spec: LayerSpec, w: Any, b: Any, inputs: Iterable[Any], y: Any, backend: str) -> None:
        self.spec, self.w, self.b = spec, to_float64(w), to_float64(b)
        self.inputs, self.y = [as_map(x) for x in inputs], as_map(y)
        self.dy: np.ndarray | None = None
        self.arithmetic = "bfloat16" if w.dtype.itemsize == 2 else "float32"
        self.method = conv3x3.Method()
        if spec.op == "conv3x3":
            cin, cout = w.shape[2:]
            self.method = conv3x3.method(w.dtype, spec.stride, cin, cout, y.shape[:3], backend=backend)

    def dz(self) -> np.ndarray:
        assert self.dy is not None
        return activation_backward(self.dy, self.y, self.spec.activation)


def as_map(x: Any) -> np.ndarray:
    """`[1, H, W, C]` or rows `[H W, C]` (one row: a vector; more: a square image) as `[H, W, C]`."""
    x = to_float64(x)
    side = math.isqrt(x.shape[0])
    return x[0] if x.ndim == 4 else x.reshape(side, side, -1)


class RecordingNetwork(Network):
    """A network of one photograph at a time that keeps a `Record` of every layer."""

    def record(self, pixels: np.ndarray, label: int | None, gradient: bool) -> dict[str, Record]:
        """The records of a photograph `[S, S, 3]`, sRGB codes. label: its class; None: the one found most likely,
        which stays in `self.label` (None without classes)."""
        self.records: dict[str, Record] = {}
        for layer in self.layers:
            layer.overwrites = False
            vars(layer)["forward"] = self.recording(layer, type(layer).forward)
            vars(layer)["backward"] = self.recording_backward(layer, type(layer).backward)
        luminance, self.target = color.encode(
            pixels[None], self.settings.color_space, dtype=self.parameters.flat.dtype
        )
        luminance, target = self.xp.asarray(luminance), self.xp.asarray(self.target)
        if label is None or not gradient:
            _, logits = self.forward(luminance)
            label = int(logits[0].argmax()) if label is None and logits is not None else label
        self.label = label
        if gradient:
            self.loss_and_gradients(luminance, target, self.xp.asarray([label or 0]))
        return self.records

    def recording(self, layer: Any, call: Any) -> Any:
        def recorded(*inputs: Any, out: Any) -> Any:
            y = call(layer, *inputs, out=out)
            self.records[layer.spec.name] = Record(layer.spec, layer.w, layer.b, inputs, y, self.backend)
            return y

        return recorded

    def recording_backward(self, layer: Any, call: Any) -> Any:
        def recorded(dy: Any, *inputs: Any, **named: Any) -> Any:
            self.records[layer.spec.name].dy = as_map(dy)
            return call(layer, dy, *inputs, **named)

        return recorded


def sources(table: dict[str, list[LayerSpec]]) -> dict[str, tuple[str, ...]]:
    """For each layer the layers whose outputs it reads."""
    found: dict[str, tuple[str, ...]] = {}
    for part, specs in table.items():
        before, _, index = INPUT_OF.get(part, "").partition(".")
        first: tuple[str, ...] = (table[before][int(index or -1)].name,) if before else ("photo",)
        if part == "fusion":
            first = tuple(table[p][-1].name for p in ("mid", "global_fc") if p in table)
        for spec, above in zip(specs, [None, *specs]):
            found[spec.name] = (above.name,) if above else first
    return found
