"""What is measured: every operation at every layer shape of the network, its arithmetic and its least traffic.

FLOPs count what the contract's formula multiplies and adds, two a product: nine taps at every pixel for `conv3x3`,
four for `upsample2x_conv3x3`, the global half of `fusion` once an image. A kernel that needs fewer (Winograd) may so
exceed the matrix unit's ceiling. Bytes count every array of a call once, as if nothing had to be read twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ltbc.kernels.arrays import sum_dtype
from ltbc.nn import Settings
from ltbc.nn.architecture import LayerSpec, cost_table, layers
from ltbc.nn.layers import OUTPUTS

Shape = tuple[int, ...]
CROP_MARGIN = 8 / 7  # pictures are a little larger than the crops that training takes from them
WIDE = {"b", "db", "dw", "loss", "p", "g", "eg", "ed"}  # in the dtype that sums are kept in
FLOAT32 = {"luminance", "chroma", "colors"}
INTEGER = {"rgb": np.uint8, "labels": np.int64, "top": np.int64, "left": np.int64, "flip": np.bool_}


@dataclass(frozen=True)
class Case:
    """One function of an operation's contract at the shapes of one layer.

    inputs: shapes of its array arguments; options: its plain arguments; both by the contract's names. results: shapes
    of what it gives or changes. lengths: products summed into an element of each result. wide: arrays that are kept
    in the dtype of sums here.
    """

    op: str
    layer: str
    work: str
    batch: int
    inputs: dict[str, Shape]
    results: dict[str, Shape]
    lengths: dict[str, int]
    flops: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    wide: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return f"{self.op} {self.layer} {self.work}"

    def dtype(self, name: str, storage: Any) -> np.dtype:
        """Of an argument or result where activations and weights are stored in `storage`."""
        if name in INTEGER:
            return np.dtype(INTEGER[name])
        if name in FLOAT32:
            return np.dtype(np.float32)
        return sum_dtype(storage) if name in WIDE | self.wide else np.dtype(storage)

    def bytes(self, storage: Any) -> int:
        """Of all arguments and results together, each once; what is changed in place is read and written."""
        arrays = [*self.inputs.items(), *self.results.items()]
        skipped = {"low"} if np.dtype(storage).itemsize > 2 else set()  # the copy that 16-bit networks need
        return sum(prod(shape) * self.dtype(name, storage).itemsize for name, shape in arrays if name not in skipped)


def cases(settings: Settings, size: int, batch: int) -> list[Case]:
    """Every case of a training step on `batch` pictures of size x size, layer after layer, then what is around them.

    The global branch sees the same picture, so size must be the settings' `global_size` (or that 0). `upsample2x`,
    which the network does not call, is measured where `upsample2x_conv3x3` stands.
    """
    specs = {spec.name: spec for part in layers(settings).values() for spec in part}
    rows = {row["name"]: row for row in cost_table(settings, size, size)}
    found: list[Case] = []
    for name, spec in specs.items():
        found += layer_cases(spec, batch, tuple(rows[name]["input"]))
        if spec.op == "upsample2x_conv3x3":
            found += upsample_cases(spec, batch, tuple(rows[name]["input"]))
    found += loss_cases(settings, batch, tuple(rows["color.4"]["output"]))
    parameters = sum(spec.parameters for spec in specs.values())
    found.append(adadelta_case(parameters, batch))
    return found + list(color_cases(settings, size, batch))


def layer_cases(spec: LayerSpec, batch: int, shape: Shape) -> list[Case]:
    """Forward and backward of one layer; shape: of its input without the batch."""
    h_w, channels = shape[:-1], spec.inputs
    x, y = (batch, *shape), (batch, *spec.output_shape(shape))
    taps = 9 if "conv3x3" in spec.op else 1
    products = prod(y) * channels * taps
    pixels = prod(y[:-1])
    inputs = {"x": x, "w": spec.weight_shape, "b": (spec.filters,)}
    lengths = {"y": taps * channels, "dx": taps * spec.filters, "dw": pixels, "db": pixels}
    if spec.op == "upsample2x_conv3x3":
        products = products * 4 // 9
        lengths["dx"] *= 4
    if spec.op == "fusion":
        mid = shape[-1]
        inputs = {"mid": x, "global_": (batch, channels - mid), "w": spec.weight_shape, "b": (spec.filters,)}
        products = pixels * mid * spec.filters + batch * (channels - mid) * spec.filters
        lengths = {"y": channels, "dmid": spec.filters, "dglobal": prod(h_w) * spec.filters, "dw": pixels, "db": pixels}
    first = spec.name == "low.0"
    gradients = {"d" + name.rstrip("_"): dims for name, dims in inputs.items() if not (first and name == "x")}
    common: dict[str, Any] = {
        "op": spec.op, "layer": spec.name, "batch": batch, "lengths": lengths,
        "wide": frozenset({"y", "dy"} if spec.name in OUTPUTS else ()),
    }
    options = {"activation": spec.activation} | ({"stride": spec.stride} if spec.op == "conv3x3" else {})
    taken = {"dy": y, **{name: dims for name, dims in inputs.items() if name != "b"}, "y": y}
    return [
        Case(work="forward", inputs=inputs, results={"y": y}, flops=2 * products, options=options, **common),
        Case(work="backward", inputs=taken, results=gradients, flops=(2 if first else 4) * products,
             options=options | ({"needs_dx": False} if first else {}), **common),
    ]


def upsample_cases(spec: LayerSpec, batch: int, shape: Shape) -> list[Case]:
    h, w, c = shape
    x, y = (batch, *shape), (batch, 2 * h, 2 * w, c)
    common: dict[str, Any] = {"op": "upsample2x", "layer": spec.name, "batch": batch, "lengths": {"y": 1, "dx": 4}}
    return [
        Case(work="forward", inputs={"x": x}, results={"y": y}, **common),
        Case(work="backward", inputs={"dy": y}, results={"dx": x}, **common),
    ]


def loss_cases(settings: Settings, batch: int, chroma: Shape) -> Iterator[Case]:
    work, y = "value_and_gradient", (batch, *chroma)
    yield Case("chroma_loss", "loss", work, batch, {"y": y, "target": y}, {"loss": (), "dy": y},
               {"loss": prod(y), "dy": 1}, wide=frozenset({"y", "dy", "target"}))
    if settings.global_size:
        z = (batch, len(settings.classes))
        yield Case("class_loss", "loss", work, batch, {"z": z, "labels": (batch,)}, {"loss": (), "dz": z},
                   {"loss": prod(z), "dz": z[1]}, options={"kind": settings.class_loss}, wide=frozenset({"z", "dz"}))


def adadelta_case(parameters: int, batch: int) -> Case:
    buffers: dict[str, Shape] = {name: (parameters,) for name in ("p", "g", "eg", "ed")}
    changed: dict[str, Shape] = {name: (parameters,) for name in ("p", "eg", "ed", "low")}
    return Case("adadelta", "parameters", "step", batch, buffers, changed, dict.fromkeys(changed, 3),
                options={"rho": 0.95})


def color_cases(settings: Settings, size: int, batch: int) -> Iterator[Case]:
    """Crops, mirrored where `flip` says so, from larger pictures; and colors from the network's two results."""
    larger, channels = round(size * CROP_MARGIN), len("ab" if settings.color_space != "rgb" else "rgb")
    luminance, chroma = (batch, size, size, 1), (batch, size // 2, size // 2, channels)
    pictures = {"rgb": (batch, larger, larger, 3), "top": (batch,), "left": (batch,), "flip": (batch,)}
    yield Case("color", "pixels", "encode", batch, pictures, {"luminance": luminance, "chroma": chroma},
               {"luminance": 3, "chroma": 12}, options={"space": settings.color_space, "size": (size, size)})
    yield Case("color", "pixels", "decode", batch, {"luminance": luminance, "chroma": (*luminance[:3], channels)},
               {"colors": (*luminance[:3], 3)}, {"colors": 3}, options={"space": settings.color_space})
