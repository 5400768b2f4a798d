"""What `python -m bench gpu` compiles: every call of a training step at width 1, as calls of the operations' gpu
modules on arrays that are never touched."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ltbc.kernels import color
from ltbc.nn.architecture import LayerSpec, Settings, cost_table, layers

CLASSES = 205
CROP_MARGIN = 8 / 7  # pictures are a little larger than the crops that training takes from them


@dataclass(frozen=True)
class Case:
    """One layer, or what is around them, with a batch: `call(module, empty)` calls the operation's gpu module on arrays
    that `empty(shape, dtype)` makes; dtype None: that of storage, "wide": that in which sums are kept. flop: of each of
    its products."""

    layer: str
    op: str
    flop: int
    call: Callable[[Any, Callable], None]


def cases(batch: int, side: int) -> Iterator[Case]:
    """All layers of the network, then what is around them. `upsample2x`, which the network does not call, stands where
    `upsample2x_conv3x3` does."""
    settings = Settings(classes=tuple(map(str, range(CLASSES))), global_size=side)
    parts = [part for part in layers(settings).values() if part]
    specs = {spec.name: spec for part in parts for spec in part}
    pairs = [pair for part in parts for pair in zip(part, part[1:]) if "conv3x3" in pair[1].op]
    before = {spec.name: previous.activation for previous, spec in pairs}  # that dx is taken through
    derived = {previous.name for previous, _ in pairs}  # layers whose dy has been taken so
    for row in cost_table(settings, side, side):
        spec, x, y = specs[row["name"]], (batch, *row["input"]), (batch, *row["output"])
        flop = 2 * batch * row["macs"]
        if spec.op == "upsample2x_conv3x3":
            flop = flop * 4 // 9
            yield Case(spec.name, "upsample2x", 0, partial(run_upsample, x))
        if spec.op == "linear":
            x = (batch, spec.inputs)
        if spec.op == "fusion":
            flop = flop * x[-1] // spec.inputs
        through = {"through": before[spec.name]} if spec.name in before else {}
        yield Case(spec.name, spec.op, flop, partial(run_layer, spec, x, y, spec.name in derived, through))
    yield Case("loss", "chroma_loss", 0, partial(run_chroma_loss, y))  # behind the last layer of all
    yield Case("loss", "class_loss", 0, partial(run_class_loss, (batch, CLASSES), settings.class_loss))
    yield Case("parameters", "adadelta", 0, partial(run_adadelta, sum(spec.parameters for spec in specs.values())))
    yield Case("pixels", "color", 0, partial(run_color, batch, side, settings.color_space))


def run_layer(
    spec: LayerSpec, x_shape: tuple, y_shape: tuple, derived: bool, through: dict, gpu: Any, empty: Callable
) -> None:
    """Forward and backward of one layer, as `nn` calls them."""
    w, b = empty(spec.weight_shape), empty((spec.filters,), "wide")
    inputs = [empty(x_shape)]
    if spec.op == "fusion":
        inputs.append(empty((x_shape[0], spec.inputs - x_shape[-1])))
    stride = (spec.stride,) if spec.op == "conv3x3" else ()
    needs = {} if spec.op == "fusion" else {"needs_dx": spec.name != "low.0"}
    last = "wide" if spec.activation != "relu" and spec.op != "fusion" else None  # chroma and logits are kept wide
    prepared, y = gpu.prepare(w), empty(y_shape, last)
    gpu.forward(*inputs, w, b, *stride, spec.activation, out=y, prepared=prepared)
    dy, out = empty(y_shape, last), (inputs[0] if through else None, *(None,) * (len(inputs) + 1))
    activation = "none" if derived else spec.activation
    gpu.backward(dy, *inputs, w, y, *stride, activation, **needs, **through, out=out, prepared=prepared)


def run_upsample(x_shape: tuple, gpu: Any, empty: Callable) -> None:
    gpu.backward(gpu.forward(empty(x_shape)))


def run_chroma_loss(shape: tuple, gpu: Any, empty: Callable) -> None:
    gpu.value_and_gradient(empty(shape, "wide"), empty(shape, "wide"), 1.0)


def run_class_loss(shape: tuple, kind: str, gpu: Any, empty: Callable) -> None:
    gpu.value_and_gradient(empty(shape, "wide"), empty(shape[:1], np.int64), 0.003, kind)


def run_adadelta(parameters: int, gpu: Any, empty: Callable) -> None:
    """In 16 bits with the copy that layers read."""
    low = empty((parameters,))
    buffers = [empty((parameters,), "wide") for _ in range(4)]
    gpu.step(*buffers, 1.0, 0.95, 1e-6, low=low if low.itemsize == 2 else None)


def run_color(batch: int, side: int, space: str, gpu: Any, empty: Callable) -> None:
    """Crops, mirrored where `flip` says so, from larger pictures; and colors from the network's two results."""
    larger, float32 = round(side * CROP_MARGIN), np.float32
    rgb, corners = empty((batch, larger, larger, 3), np.uint8), [empty((batch,), np.int64) for _ in range(2)]
    gpu.encode(rgb, space, *corners, empty((batch,), np.bool_), (side, side))
    chroma = empty((batch, side, side, color.CHANNELS[space]), float32)
    gpu.decode(empty((batch, side, side, 1), float32), chroma, space)
