"""linear against PyTorch, against the contract as loops, against finite differences; and what all operations share."""

import numpy as np
import pytest
from hypothesis import given

from gradcheck.strategies import layouts
from ltbc.kernels import dispatch, linear
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


def test_allocate_gives_buffers_for_the_reference():
    x = dispatch.allocate((2, 3, 4, 5), np.float32, "reference")
    assert x.shape == (2, 3, 4, 5) and x.dtype == np.float32 and x.flags.c_contiguous
