"""Every layer of the network at a large batch, again and again: the same bits each time, then the reference's values.

What races does so rarely, and where the machine is full: small inputs run on few multiprocessors, once. The reference
computes in float64 on the same device.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ltbc.kernels.arrays import sum_dtype
from ltbc.kernels.compare import OUTLIER, tolerance
from ltbc.kernels.gpu import launch
from ltbc.nn.architecture import LayerSpec, Settings, cost_table, layers
from ltbc.nn.layers import as_dtype
from tests.tools import helpers

FIRST = "mid.0"  # dx of 28x28x512: the largest product of all
BAND = 1 << 30  # bytes of the reference's bands: few and large ones


class Sizes(NamedTuple):
    """Pictures, their side, repeats; of layers whose names begin so."""

    batch: int = 128
    side: int = 224
    repeats: int = 50
    names: tuple[str, ...] = ("",)


FULL, TINY = Sizes(), Sizes(1, 16, 2, ("low.0", "color.4", "class.1"))


def checks(sizes: Sizes) -> Iterator[tuple[str, Callable[[], str]]]:
    """(what, check) of every layer, FIRST before the others."""
    settings = Settings(classes=tuple(map(str, range(205))), global_size=sizes.side)
    specs = {spec.name: spec for part in layers(settings).values() for spec in part}
    rows = [row for row in cost_table(settings, sizes.side, sizes.side) if row["name"].startswith(sizes.names)]
    for row in sorted(rows, key=lambda row: row["name"] != FIRST):
        what = f"{row['name']}, batch {sizes.batch}, {sizes.repeats} times"
        yield what, partial(check, specs[row["name"]], row, sizes)


def check(spec: LayerSpec, row: dict[str, Any], sizes: Sizes) -> str:
    """Raises AssertionError where two runs differ in a bit, or one from the reference by more than its tolerance."""
    case, y = drawn(spec, (sizes.batch, *row["input"]), (sizes.batch, *row["output"]))
    first = run(case, y, "gpu")
    for k in range(1, sizes.repeats):
        for name, again in run(case, y, "gpu").items():
            differing = int((again.view("uint8") != first[name].view("uint8")).sum())
            assert not differing, f"{name}: run {k + 1} differs from the first in {differing} bytes"
    exact = {name: a.astype("float64") for name, a in case.arguments.items()}
    want = run(case._replace(arguments=exact, band=BAND), y.astype("float64"), "reference")
    return ", ".join(compared(name, first[name], want[name], case) for name in first)


def drawn(spec: LayerSpec, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> tuple[helpers.Case, Any]:
    """A case of the layer in bfloat16 on the device, and a y to take derivatives from."""
    xp, dtype, rows = launch.target().arrays, as_dtype("bfloat16"), spec.op == "linear"
    random, layer = xp.random.default_rng(0), helpers.LAYERS[spec.op]
    names = ("N", "Cin") if rows else ("N", "H", "W", "Cm" if spec.op == "fusion" else "Cin")
    known = dict(zip(names, (x_shape[0], spec.inputs) if rows else x_shape)) | {"Cout": spec.filters}
    known |= {"Cg": spec.inputs - x_shape[-1]} if spec.op == "fusion" else {}

    def draw(shape: tuple[int, ...], scale: float = 1.0) -> Any:
        return (random.standard_normal(shape, dtype="float32") * np.float32(scale)).astype(dtype)

    arguments = {name: draw(helpers.shape(p, known)) for name, p in layer.arguments.items() if name not in "wb"}
    weights = helpers.shape(layer.arguments["w"], known)
    arguments["w"] = draw(weights, float(np.prod(weights[:-1])) ** -0.5)
    arguments["b"] = draw((spec.filters,)).astype(sum_dtype(dtype))
    settings = {"stride": spec.stride} if spec.op == "conv3x3" else {}
    shape = (x_shape[0], spec.filters) if rows else y_shape
    arguments["dy"] = draw(shape)
    return helpers.Case(spec.op, known, arguments, {**settings, "activation": "relu"}), draw(shape)


def run(case: helpers.Case, y: Any, backend: str) -> dict[str, Any]:
    """Forward, and backward from that y."""
    found = helpers.results(case, backend, y=y)
    return {name: a for name, a in found.items() if a is not None}


def compared(name: str, got: Any, want: Any, case: helpers.Case) -> str:
    """The error, as `kernels/compare.py` defines it, found on the device."""
    xp = launch.target().arrays
    length = int(np.prod(helpers.shape(helpers.LAYERS[case.op].lengths[name], case.sizes)))
    allowed = tolerance("bfloat16", length, str(got.dtype))
    off = got.astype("float64") - want
    size = float(xp.sqrt((want**2).sum()))
    error = float(xp.sqrt((off**2).sum())) / size
    assert error <= allowed, f"{name}: relative error {error:.1e}, tolerance {allowed:.1e}"
    farthest = float((abs(off) / xp.maximum(abs(want), size / want.size**0.5)).max())
    assert farthest <= OUTLIER * allowed, f"{name}: an element is off by {farthest:.1e} of its usual size"
    return f"{name} {error:.1e}"
