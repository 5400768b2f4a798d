"""linear against PyTorch, against the contract as loops, against finite differences; and what all operations share."""

import numpy as np
import pytest
from hypothesis import given

from ltbc.kernels import dispatch, linear
from ltbc.kernels.strategies import layouts
from tests.tools import helpers

OP = "linear"


def torch_forward(x, w, b, activation):
    return helpers.torch_activation(x @ w + b, activation)


def loops(x, w, b, dy):
    """Equations (1) and (3), without activation."""
    y, dx, dw, db = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n, o in np.ndindex(*dy.shape):
        y[n, o] = b[o]
        db[o] += dy[n, o]
        for c in range(x.shape[1]):
            y[n, o] += x[n, c] * w[c, o]
            dx[n, c] += dy[n, o] * w[c, o]
            dw[c, o] += x[n, c] * dy[n, o]
    return {"y": y, "dx": dx, "dw": dw, "db": db}


@given(case=helpers.cases(OP, layout=layouts()))
def test_torch(case):
    helpers.check_torch(case, torch_forward)


@given(case=helpers.cases(OP, settings={"activation": ("none",)}))
def test_loops(case):
    helpers.assert_results(helpers.results(case), loops(**case.arguments), case)


@given(case=helpers.cases(OP))
def test_slopes(case):
    helpers.check_slopes(case)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@given(case=helpers.cases(OP))
def test_float32(backend, case):
    helpers.check_backend(case, backend, "float32", np.float32)


@given(case=helpers.cases(OP))
def test_out_and_needs_dx(case):
    helpers.check_out(case)
    helpers.check_without_dx(case)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@given(case=helpers.cases(OP))
def test_needs_dw(backend, case):
    helpers.check_without_dw(case.converted(lambda k, a: a.astype(np.float32)), backend)


def test_sigmoid_does_not_overflow():
    x = np.array([[1000.0], [-1000.0], [0.0]])
    with np.errstate(all="raise"):
        y = linear.forward(x, np.ones((1, 1)), np.zeros(1), "sigmoid")
    np.testing.assert_array_equal(y, [[1.0], [0.0], [0.5]])


@pytest.mark.parametrize("wrong, error, message", [
    ({"activation": "tanh"}, ValueError, "linear: activation must be one of none, relu, sigmoid, got 'tanh'"),
    ({"x": np.ones((3, 4))}, ValueError, "linear: w must be [Cin, Cout] with Cin=4 (from x), got [5, 2]"),
    ({"b": np.ones((1, 2))}, ValueError, "linear: b must be [Cout] with Cout=2 (from w), got [1, 2]"),
    ({"x": np.ones((3, 5), np.float32)}, TypeError, "linear: w must be float32 like x, got float64"),
    ({"w": None}, TypeError, "linear: w must be a NumPy or CuPy array, got NoneType"),
    ({"out": np.ones((2, 3))}, ValueError, "linear: out y must be [3, 2], got [2, 3]"),
])  # fmt: skip
def test_forward_rejects(wrong, error, message):
    right = {"x": np.ones((3, 5)), "w": np.ones((5, 2)), "b": np.ones(2)}
    helpers.rejects(message, error, linear.forward, **right | wrong)


@pytest.mark.parametrize("wrong, error, message", [
    ({"dy": np.ones((3, 5))}, ValueError,
     "linear: dy must be [N, Cout] with N=3 (from x), Cout=2 (from w), got [3, 5]"),
    ({"y": np.ones((3, 2), np.float16)}, TypeError, "linear: y must be float64 where x is float64, got float16"),
    ({"out": (np.ones((3, 5)), None, np.ones(5))}, ValueError, "linear: out db must be [2], got [5]"),
])  # fmt: skip
def test_backward_rejects(wrong, error, message):
    right = {"dy": np.ones((3, 2)), "x": np.ones((3, 5)), "w": np.ones((5, 2)), "y": np.ones((3, 2))}
    helpers.rejects(message, error, linear.backward, **right | wrong)


def test_a_missing_backend_is_an_error_not_a_fallback(monkeypatch):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    message = "linear: has no cpu implementation yet; use backend='reference'"
    helpers.rejects(message, ValueError, linear.forward, np.ones((3, 5)), np.ones((5, 2)), np.ones(2), backend="cpu")


def test_allocate_gives_buffers_for_the_reference():
    x = dispatch.allocate((2, 3, 4, 5), np.float32, "reference")
    assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32 and x.flags.c_contiguous
