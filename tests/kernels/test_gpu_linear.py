"""The gpu backend of linear against the reference, under Triton's interpreter."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import linear
from tests.tools import helpers
from tests.tools.interpreter import place, same_bits, watched

launch, matrices, gpu = (
    import_module(f"ltbc.kernels.{name}") for name in ("gpu.launch", "gpu.matrices", "linear.gpu")
)  # after

TILE = {"BLOCK_P": 16, "BLOCK_C": 16, "BLOCK_O": 16}
DTYPES = (np.float32, np.float16, bfloat16)
SPLIT = {"N": 3, "Cin": 70, "Cout": 20}  # inputs for two splits of forward
MANY = {"N": 35, "Cin": 18, "Cout": 20}  # rows for three splits of backward


@pytest.fixture(autouse=True)
def short_splits(monkeypatch):
    """Sums are split from a few steps on, not only those of long layers."""
    monkeypatch.setattr(gpu, "STEPS", 2)
    monkeypatch.setattr(matrices, "STEPS", 1)


def draw(seed=0, dtype=bfloat16, activation="relu", **sizes):
    """A case of those sizes, in dtype."""
    rng = np.random.default_rng(seed)
    patterns = helpers.LAYERS["linear"].arguments | {"dy": "N Cout"}
    arguments = {k: rng.standard_normal(helpers.shape(p, sizes)) for k, p in patterns.items()}
    return helpers.Case("linear", sizes, arguments, {"activation": activation})


def check(case, dtype, capability=90, **tile):
    with watched(capability, **tile) as target:
        helpers.check_backend(case, "gpu", np.dtype(dtype).name, dtype, place=lambda name, a: place(a))
    return target.launches


@settings(max_examples=10)
@given(
    case=helpers.cases("linear", N=20, Cin=40, Cout=40), dtype=st.sampled_from(DTYPES),
    capability=st.sampled_from([80, 90]),
)
def test_linear(case, dtype, capability):
    check(case, dtype, capability, **TILE)


def test_small():
    """Splits of both kinds, no size a multiple of its tile."""
    check(draw(7, N=35, Cin=70, Cout=20), bfloat16, **TILE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid"])
def test_split_over_inputs(activation, dtype):
    assert "finish_kernel" in check(draw(1, activation=activation, **SPLIT), dtype, **TILE)


@pytest.mark.parametrize("dtype", [np.float32, bfloat16])
def test_split_over_rows(dtype):
    assert "sum_splits_kernel" in check(draw(2, **MANY), dtype, **TILE)


@pytest.mark.parametrize("sizes", [SPLIT, MANY])
def test_every_order_of_programs(sizes):
    case = draw(3, **sizes).converted(lambda k, a: place(a, np.float32 if k == "b" else bfloat16))
    same_bits(lambda: tuple(helpers.results(case, "gpu").values()), **TILE)


def test_the_tables_own_tiles():
    check(draw(4, N=40, Cin=70, Cout=130), bfloat16)
    check(draw(4, N=1, Cin=70, Cout=130), np.float32)


def test_float32_products_are_chosen(monkeypatch):
    monkeypatch.setattr(launch, "_chosen", dict(launch._chosen))
    launch.set_float32_products("tf32")
    case = draw(8, N=5, Cin=40, Cout=20)
    with watched(**TILE):
        helpers.check_backend(case, "gpu", "tf32", np.float32, place=lambda name, a: place(a))
    with pytest.raises(AssertionError, match="relative error"):
        check(case, np.float32, **TILE)


def test_out_decides_the_dtype_and_gradients_may_be_left_out():
    case = draw(5, N=5, Cin=20, Cout=7).converted(lambda k, a: place(a, np.float32 if k == "b" else bfloat16))
    y, dw, db = (place(np.zeros(s), np.float32) for s in ((5, 7), (20, 7), (7,)))
    with watched(**TILE) as target:
        assert helpers.forward(case, "gpu", out=y) is y
        dx, *gradients = helpers.backward(case, y, "gpu", out=(None, dw, db), needs_dx=False)
    assert dx is None and gradients[0] is dw and gradients[1] is db
    assert target.launches == ["forward_kernel", "derivative_kernel", "backward_weights_kernel"]
    with watched(**TILE) as target:
        assert helpers.backward(case, y, "gpu", needs_dw=False)[1:] == (None, None)
    assert target.launches == ["derivative_kernel", "backward_data_kernel"]
    want = helpers.forward(case.converted(lambda k, a: a.astype(np.float64)))
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)  # 16-bit storage would be off by 1e-2


@pytest.mark.parametrize("wrong, error, message", [
    ({"x": np.ones((4, 6), np.float32)[:, ::2]}, ValueError,
     "linear: backend gpu takes contiguous arrays; copy x with ascontiguousarray"),
    ({"x": np.ones((4, 3)), "w": np.ones((3, 5)), "b": np.ones(5)}, TypeError,
     "linear: backend gpu computes in bfloat16, float16, float32; x is float64"),
])
def test_rejects(wrong, error, message):
    right = {"x": np.ones((4, 3), np.float32), "w": np.ones((3, 5), np.float32), "b": np.ones(5, np.float32)}
    with watched():
        helpers.rejects(message, error, linear.forward, **right | wrong, backend="gpu")
