"""dx through the activation that made x, on the reference and on the gpu backend, under Triton's interpreter; the cpu
backend's is in `test_cpu_layers.py`."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

from ltbc.kernels.arrays import ACTIVATIONS, activation_backward
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools import helpers

LEFT = {"none": lambda z: z, "relu": lambda z: np.maximum(z, 0), "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
FULL, ODD = dict(N=2, H=4, W=6, Cin=16, Cout=24), dict(N=1, H=3, W=5, Cin=5, Cout=7)
CASES = {  # operation, sizes, settings, the GPU's capability
    "boxes": ("conv3x3", FULL, {"stride": 1}, 90), "boxes-stride-2": ("conv3x3", FULL, {"stride": 2}, 90),
    "pointers": ("conv3x3", ODD, {"stride": 1}, 80), "pointers-stride-2": ("conv3x3", ODD, {"stride": 2}, 90),
    "few-outputs": ("conv3x3", FULL | {"Cout": 2}, {"stride": 1}, 90),
    "few-inputs": ("conv3x3", ODD | {"Cin": 2}, {"stride": 1}, 90),
    "upsampled": ("upsample2x_conv3x3", FULL | {"Cout": 8}, {}, 90),
    "upsampled-pointers": ("upsample2x_conv3x3", ODD, {}, 80),
}


def drawn(name, before):
    """A case whose x comes out of that activation, and y."""
    op, sizes, settings, capability = CASES[name]
    rng = np.random.default_rng(5)
    patterns = helpers.LAYERS[op].arguments
    arguments = {k: rng.standard_normal(helpers.shape(p, sizes)) for k, p in patterns.items()}
    arguments["x"] = LEFT[before](arguments["x"])
    case = helpers.Case(op, sizes, arguments, {**settings, "activation": "none"})
    y = helpers.forward(case)
    case.arguments["dy"] = rng.standard_normal(y.shape)
    return case, y, capability


@pytest.mark.parametrize("before", ACTIVATIONS)
@pytest.mark.parametrize("name", CASES)
def test_reference(name, before):
    """dx is that of the contract times the derivative, written over x or not; dw and db are what they are without."""
    case, y, _ = drawn(name, before)
    dx, dw, db = helpers.backward(case, y)
    x = case.arguments["x"]
    want = activation_backward(dx, x, before), dw, db
    for found, expected in zip(helpers.backward(case, y, through=before), want):
        np.testing.assert_array_equal(found, expected)
    over = helpers.backward(case, y, through=before, out=(x, None, None))
    assert over[0] is x
    for found, expected in zip(over, want):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("before", ["relu", "sigmoid"])
@pytest.mark.parametrize("name", CASES)
def test_gpu(name, before):
    from tests.tools.interpreter import place, watched  # skips where Triton is missing

    dtype = bfloat16 if name.startswith("boxes") else np.float32
    case, y, capability = drawn(name, before)
    stored = case.converted(lambda k, a: place(a, np.float32 if k == "b" else dtype))
    y = place(y, dtype)
    want = helpers.backward(stored.converted(lambda k, a: a.astype(np.float64)), y.astype(np.float64), through=before)
    with watched(capability, BLOCK_P=32, BLOCK_O=16, BLOCK_C=16):
        found = helpers.backward(stored, y, "gpu", through=before)
        x = stored.arguments["x"]
        over = helpers.backward(stored, y, "gpu", through=before, out=(x, None, None))
    assert over[0] is x
    length, sums = int(np.prod(helpers.shape(helpers.LAYERS[case.op].lengths["dx"], case.sizes))), y[..., 0].size
    for what, got, again, expected in zip(("dx", "dw", "db"), found, over, want):
        assert got.tobytes() == again.tobytes()
        allowed = tolerance(np.dtype(dtype).name, length if what == "dx" else sums, got.dtype, factors=1)
        assert_close(what, got, expected, allowed, 1.0)


def test_dz_is_dy_itself_where_nothing_is_to_be_done():
    from tests.tools.interpreter import place, watched

    case, y, capability = drawn("boxes", "relu")
    stored = case.converted(lambda k, a: place(a, np.float32 if k == "b" else bfloat16))
    wide = stored.converted(lambda k, a: place(a, np.float32) if k == "dy" else a)
    with watched(capability, BLOCK_P=32, BLOCK_O=16, BLOCK_C=16) as target:
        want = helpers.backward(stored, place(y, bfloat16), "gpu")
        assert "derivative_kernel" not in target.launches
        found = helpers.backward(wide, place(y, np.float32), "gpu")  # the same values: they are rounded to 16 bits
        assert "derivative_kernel" in target.launches
    assert [a.tobytes() for a in found] == [a.tobytes() for a in want]
