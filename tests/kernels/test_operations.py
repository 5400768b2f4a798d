"""Every operation's reference over drawn cases: against PyTorch, against the contract as loops, against finite
differences; in each dtype, into buffers, and without what is not needed. Arguments are read-only throughout."""

from importlib import import_module
from inspect import signature

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.strategies import layouts
from ltbc.kernels import conv3x3, dispatch, linear
from tests.tools import helpers, in_torch, loops, pointwise

LAYERS = tuple(helpers.LAYERS)
LOSSES = ("chroma_loss", "class_loss")
OPERATIONS = (*LAYERS, *LOSSES, "adadelta", "color")
PREPARED = tuple(op for op in LAYERS if hasattr(import_module(f"ltbc.kernels.{op}"), "prepare"))
LEFT_OUT = {"needs_dx": {"dx"}, "needs_dw": {"dw", "db"}}  # by flags of backward
FLAGS = [(op, flag) for op in LAYERS for flag in LEFT_OUT
         if flag in signature(import_module(f"ltbc.kernels.{op}").backward).parameters]
SMALL: dict[str, dict] = {  # for loops and slopes
    "conv3x3": dict(N=2, H=5, W=5, Cin=2, Cout=2), "upsample2x_conv3x3": dict(N=2, H=4, W=4, Cin=2, Cout=2),
    "fusion": dict(H=3, W=3, Cm=3, Cg=3, Cout=3), "class_loss": dict(scales=(1.0,)), "color": dict(N=2, H=7, W=7),
}


def words(op):
    """`helpers` or `pointwise`: what the tests of such operations are written in."""
    return helpers if op in LAYERS else pointwise


def draw(data, op, **options):
    def read_only(name, a):
        a.flags.writeable = False
        return a

    return data.draw(words(op).cases(op, **options)).converted(read_only)


def assert_equal(case, want):
    """Gradients come from the y wanted: sigmoid's derivative y (1 - y) multiplies its last bit by 1 / (1 - y)."""
    found = words(case.op).results(case, **({"y": want["y"]} if case.op in LAYERS else {}))
    words(case.op).assert_results(found, want, case, scale=2 if case.op == "color" else 1)


@pytest.mark.parametrize("op", LAYERS + LOSSES)
@given(data=st.data())
def test_torch(op, data):
    case = draw(data, op, layout=layouts())
    assert_equal(case, in_torch.results(case))


@pytest.mark.parametrize("op", OPERATIONS)
@given(data=st.data())
def test_loops(op, data):
    case = helpers.without_activation(draw(data, op, layout=layouts(), **SMALL.get(op, {})))
    assert_equal(case, loops.results(case))


@pytest.mark.parametrize("op", LAYERS + LOSSES)
@given(data=st.data())
def test_slopes(op, data):
    words(op).check_slopes(draw(data, op, **SMALL.get(op, {})))


@pytest.mark.parametrize("op, dtype", [(op, np.float32) for op in OPERATIONS] + [
    (op, dtype) for op in OPERATIONS if op != "adadelta" for dtype in (np.float16, ml_dtypes.bfloat16)])
@given(data=st.data())
def test_dtypes(op, dtype, data):
    case, name = draw(data, op, layout=layouts()), np.dtype(dtype).name
    words(op).check_backend(case, "reference", name, dtype, scale=2 if op == "color" else 1)


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op != "adadelta"])
@given(data=st.data())
def test_out(op, data):
    words(op).check_out(draw(data, op))


@pytest.mark.parametrize("op, flag", FLAGS)
@given(data=st.data())
def test_left_out(op, flag, data):
    """Those gradients, and nothing else."""
    case = draw(data, op)
    y = helpers.forward(case)
    for name, want, found in zip(helpers.LAYERS[op].gradients, helpers.backward(case, y),
                                 helpers.backward(case, y, **{flag: False})):
        assert (found is None) == (name in LEFT_OUT[flag])
        if found is not None:
            np.testing.assert_array_equal(found, want, err_msg=name)


@pytest.mark.parametrize("op", PREPARED)
@given(data=st.data())
def test_prepared_weights(op, data):
    """Change nothing; nor do those of other weights that are filled anew."""
    case = draw(data, op)
    w, y = case.arguments["w"], helpers.forward(case)
    prepared = case.module.prepare(w, out=case.module.prepare(w + 1))
    np.testing.assert_array_equal(helpers.forward(case, prepared=prepared), y)
    for found, want in zip(helpers.backward(case, y, prepared=prepared), helpers.backward(case, y)):
        np.testing.assert_array_equal(found, want)


def test_bands_do_not_change_results():
    """An image of many bands, the last of them short; the sums over bands may differ in the last bits."""
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 23, 17, 3)), rng.standard_normal((3, 3, 3, 4)), rng.standard_normal(4)
    for stride in (1, 2):
        for rows in (1, 2, 5):
            with helpers.band_bytes(rows * -(-17 // stride) * 9 * 3 * 8):
                banded = conv3x3.forward(x, w, b, stride)
            np.testing.assert_allclose(banded, conv3x3.forward(x, w, b, stride), rtol=1e-13, atol=1e-14)


def test_sigmoid_does_not_overflow():
    x = np.array([[1000.0], [-1000.0], [0.0]])
    with np.errstate(all="raise"):
        y = linear.forward(x, np.ones((1, 1)), np.zeros(1), "sigmoid")
    np.testing.assert_array_equal(y, [[1.0], [0.0], [0.5]])


def test_allocate_gives_buffers_for_the_reference():
    x = dispatch.allocate((2, 3, 4, 5), np.float32, "reference")
    assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32 and x.flags.c_contiguous
