"""Sums of several trips and of several splits, in every gpu kernel that has a loop, under Triton's interpreter.

Values are multiples of 1/16 up to 1, dy's of 1/256: stored exactly in every dtype; products and sums of them are exact
in float32, in whatever order. So results are compared bit by bit, and a trip left out, taken twice, forgotten by the
next one or rounded to storage shows.
"""

from importlib import import_module

import numpy as np
import pytest
from ml_dtypes import bfloat16

from tests.tools import helpers
from tests.tools.interpreter import place, watched

boxes, derivative, matrices, linear, *others = (
    import_module(f"ltbc.kernels.{name}") for name in (
        "gpu.boxes", "gpu.derivative", "gpu.matrices", "linear.gpu", "conv3x3.gpu", "conv3x3.gpu_few",
        "upsample2x_conv3x3.gpu",
    )
)  # after the interpreter
TILE = {name: 16 for name in ("BLOCK_P", "BLOCK_C", "BLOCK_O", "BLOCK_G", "BLOCK_N")}


class Split:
    """Sums over pixels or rows are made in `number` splits, whatever the machine; `boxes` says of how many boxes."""

    def __init__(self, number, monkeypatch):
        self.number, self.boxes, real = number, set(), boxes.split

        def split(op, shape, outputs, count, programs, dw, db):
            monkeypatch.setattr(boxes, "PROGRAMS", number * programs)
            found = real(op, shape, outputs, count, programs, dw, db)
            assert found.number == number
            self.boxes.add((count, found.boxes))
            return found

        for module in (matrices, *others):
            if hasattr(module, "split"):
                monkeypatch.setattr(module, "split", split)
        monkeypatch.setattr(matrices, "STEPS", 1)
        monkeypatch.setattr(derivative, "BLOCK_P", 16)


def exact_case(op, sizes, dtype, activation="relu", **settings):
    """A case whose sums are exact, and a y to take derivatives from; both stored in dtype."""
    layer, rng = helpers.LAYERS[op], np.random.default_rng(0)
    draw = lambda shape, parts=16: rng.integers(-parts, parts + 1, shape) / parts  # noqa: E731
    arguments = {k: draw(helpers.shape(p, sizes)) for k, p in layer.arguments.items()}
    case = helpers.Case(op, sizes, arguments, {**settings, "activation": activation})
    shape = helpers.forward(case).shape
    case.arguments["dy"], y = draw(shape, 256), draw(shape)
    return case.converted(lambda k, a: a.astype(np.float32 if k == "b" else dtype)), y.astype(dtype)


def check(case, y, capability=90, tile=TILE):
    """All results, kept in float32, against the reference in float64."""
    exact = case.converted(lambda k, a: a.astype(np.float64))
    want = helpers.forward(exact), *helpers.backward(exact, y.astype(np.float64))
    out = [place(np.zeros(a.shape), np.float32) for a in want]
    with watched(capability, **tile) as target:
        placed = case.converted(lambda k, a: place(a))
        helpers.forward(placed, "gpu", out=out[0])
        helpers.backward(placed, place(y), "gpu", out=tuple(out[1:]))
    for name, got, expected in zip(("y", *helpers.LAYERS[case.op].gradients), out, want):
        np.testing.assert_array_equal(got, expected, f"{name} of {case.op} {case.sizes}")
    return target.launches


def few(n, h, w, cin, cout):
    return dict(N=n, H=h, W=w, Cin=cin, Cout=cout)


# sizes, stride, dtype, capability, splits, (boxes of 16 pixels, of a split): the last split is shorter, or none is
CONV = {
    "boxes": (few(3, 4, 4, 32, 16), 1, bfloat16, 90, 2, (3, 2)),
    "boxes-stride-2": (few(4, 8, 8, 16, 24), 2, np.float16, 90, 2, (4, 2)),
    "pointers": (few(3, 3, 4, 5, 33), 1, np.float32, 80, 1, (3, 3)),
    "pointers-stride-2": (few(3, 7, 7, 17, 16), 2, bfloat16, 80, 2, (3, 2)),
    "few-inputs": (few(5, 8, 8, 1, 24), 2, bfloat16, 90, 2, (5, 3)),
    "few-outputs": (few(4, 4, 4, 33, 2), 1, bfloat16, 90, 2, (4, 2)),
    "few-outputs-filled": (few(3, 4, 4, 32, 3), 1, np.float32, 90, 1, (3, 3)),
}


def marked(cases):
    """Those by pointers, whose loops are those by boxes, are slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * ("pointers" in name)) for name in cases]


@pytest.mark.parametrize("case", marked(CONV))
def test_conv3x3(case, monkeypatch):
    sizes, stride, dtype, capability, number, count = CONV[case]
    split = Split(number, monkeypatch)
    check(*exact_case("conv3x3", sizes, dtype, stride=stride), capability)
    assert split.boxes == {count}


UP = {
    "boxes": (few(3, 4, 4, 32, 16), bfloat16, 90, 2, (3, 2)),
    "pointers": (few(4, 4, 4, 5, 17), np.float32, 80, 2, (4, 2)),
}


@pytest.mark.parametrize("case", marked(UP))
def test_upsample2x_conv3x3(case, monkeypatch):
    sizes, dtype, capability, number, count = UP[case]
    split = Split(number, monkeypatch)
    check(*exact_case("upsample2x_conv3x3", sizes, dtype), capability)
    assert split.boxes == {count}


@pytest.mark.parametrize("rows, inputs, steps, number, count, dtype", [
    (70, 70, 2, 2, (5, 3), bfloat16), (64, 64, 2, 2, (4, 2), np.float16), (33, 65, 5, 1, (3, 3), np.float32),
], ids=["shorter-last", "equal", "one-split"])
def test_linear(rows, inputs, steps, number, count, dtype, monkeypatch):
    split = Split(number, monkeypatch)
    monkeypatch.setattr(linear, "STEPS", steps)
    launches = check(*exact_case("linear", dict(N=rows, Cin=inputs, Cout=40), dtype))
    assert split.boxes == {count} and ("finish_kernel" in launches) == (number > 1)


@pytest.mark.parametrize("sizes, number, count", [
    (dict(N=2, H=5, W=8, Cg=33, Cm=48, Cout=40), 2, (5, 3)), (dict(N=33, H=1, W=2, Cg=16, Cm=16, Cout=17), 1, (5, 5)),
], ids=["large", "many"])
def test_fusion(sizes, number, count, monkeypatch):
    split = Split(number, monkeypatch)
    check(*exact_case("fusion", sizes, bfloat16))
    assert split.boxes == {count}


REAL = [  # a layer of the network, on an image of few pixels, with the tiles that it has there
    ("conv3x3", few(1, 2, 3, 256, 512), {"stride": 1}), ("conv3x3", few(1, 4, 2, 64, 128), {"stride": 2}),
    ("conv3x3", few(1, 3, 2, 32, 2), {"stride": 1}), ("upsample2x_conv3x3", few(1, 2, 1, 128, 64), {}),
    ("linear", dict(N=2, Cin=1024, Cout=512), {}), ("fusion", dict(N=1, H=2, W=2, Cg=256, Cm=256, Cout=256), {}),
]


@pytest.mark.parametrize("op, sizes, settings", REAL)
def test_channels_of_a_real_layer(op, sizes, settings):
    check(*exact_case(op, sizes, bfloat16, **settings), tile={})
