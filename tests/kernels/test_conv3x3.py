"""conv3x3 against PyTorch, against the contract written as loops, against finite differences."""

import sys
from itertools import product

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given

from ltbc.kernels import conv3x3
from ltbc.kernels.strategies import layouts
from tests.tools import helpers

OP = "conv3x3"


def torch_forward(x, w, b, stride, activation):
    x, w = x.permute(0, 3, 1, 2).contiguous(), w.permute(3, 2, 0, 1).contiguous()
    return helpers.torch_activation(F.conv2d(x, w, b, stride=stride, padding=1).permute(0, 2, 3, 1), activation)


def loops(x, w, b, dy, stride):
    """Equations (1) to (5) of the contract, without activation."""
    _, height, width, cin = x.shape
    y, dx, dw, db = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for m, i, j, o in np.ndindex(*dy.shape):
        y[m, i, j, o] = b[o]
        db[o] += dy[m, i, j, o]
        for r, s, c in product(range(3), range(3), range(cin)):
            h, k = i * stride + r - 1, j * stride + s - 1
            if 0 <= h < height and 0 <= k < width:
                y[m, i, j, o] += x[m, h, k, c] * w[r, s, c, o]
                dx[m, h, k, c] += dy[m, i, j, o] * w[r, s, c, o]
                dw[r, s, c, o] += x[m, h, k, c] * dy[m, i, j, o]
    return {"y": y, "dx": dx, "dw": dw, "db": db}


@given(case=helpers.cases(OP, layout=layouts()))
def test_torch(case):
    helpers.check_torch(case, torch_forward)


@given(case=helpers.cases(OP, N=2, H=4, W=4, Cin=2, Cout=2, settings={"activation": ("none",)}))
def test_loops(case):
    helpers.assert_results(helpers.results(case), loops(**case.arguments, stride=case.settings["stride"]), case)


@given(case=helpers.cases(OP, H=5, W=5))
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


def test_bands_do_not_change_results():
    """An image of many bands, the last of them short; the sums over bands may differ in the last bits."""
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 23, 17, 3)), rng.standard_normal((3, 3, 3, 4)), rng.standard_normal(4)
    for stride, rows in product((1, 2), (1, 2, 5)):
        with helpers.band_bytes(rows * -(-17 // stride) * 9 * 3 * 8):
            banded = conv3x3.forward(x, w, b, stride)
        np.testing.assert_allclose(banded, conv3x3.forward(x, w, b, stride), rtol=1e-13)


@pytest.mark.parametrize("wrong, error, message", [
    ({"stride": 3}, ValueError, "conv3x3: stride must be 1 or 2, got 3"),
    ({"activation": "gelu"}, ValueError, "conv3x3: activation must be one of none, relu, sigmoid, got 'gelu'"),
    ({"backend": "tpu"}, ValueError, "conv3x3: backend must be one of reference, cpu, gpu, got 'tpu'"),
    ({"x": np.ones((5, 5, 2))}, ValueError, "conv3x3: x must be [N, H, W, Cin], got [5, 5, 2]"),
    ({"w": np.ones((3, 3, 4, 4))}, ValueError,
     "conv3x3: w must be [3, 3, Cin, Cout] with Cin=2 (from x), got [3, 3, 4, 4]"),
    ({"w": np.ones((5, 5, 2, 4))}, ValueError,
     "conv3x3: w must be [3, 3, Cin, Cout] with Cin=2 (from x), got [5, 5, 2, 4]"),
    ({"b": np.ones(3)}, ValueError, "conv3x3: b must be [Cout] with Cout=4 (from w), got [3]"),
    ({"x": np.ones((1, 5, 5, 2), int)}, TypeError, "conv3x3: x must be of a float dtype, got int64"),
    ({"w": np.ones((3, 3, 2, 4), np.float32)}, TypeError, "conv3x3: w must be float64 like x, got float32"),
    ({"b": np.ones(4, np.float32)}, TypeError, "conv3x3: b must be float64 where x is float64, got float32"),
    ({"x": [[0.0]]}, TypeError, "conv3x3: x must be a NumPy or CuPy array, got list"),
    ({"out": np.ones((1, 5, 5, 2))}, ValueError, "conv3x3: out y must be [1, 5, 5, 4], got [1, 5, 5, 2]"),
])  # fmt: skip
def test_forward_rejects(wrong, error, message):
    right = {"x": np.ones((1, 5, 5, 2)), "w": np.ones((3, 3, 2, 4)), "b": np.ones(4)}
    helpers.rejects(message, error, conv3x3.forward, **right | wrong)


@pytest.mark.parametrize("wrong, error, message", [
    ({"stride": 0}, ValueError, "conv3x3: stride must be 1 or 2, got 0"),
    ({"dy": np.ones((1, 5, 5, 4))}, ValueError, "conv3x3: dy must be [1, 3, 3, 4], got [1, 5, 5, 4]"),
    ({"y": np.ones((1, 3, 3, 2))}, ValueError, "conv3x3: y must be [1, 3, 3, 4], got [1, 3, 3, 2]"),
    ({"dy": np.ones((1, 3, 3, 4), np.float32)}, TypeError,
     "conv3x3: dy must be float64 where x is float64, got float32"),
    ({"out": (None, np.ones((3, 3)), None)}, ValueError, "conv3x3: out dw must be [3, 3, 2, 4], got [3, 3]"),
])  # fmt: skip
def test_backward_rejects(wrong, error, message):
    y = np.ones((1, 3, 3, 4))
    right = {"dy": y, "x": np.ones((1, 5, 5, 2)), "w": np.ones((3, 3, 2, 4)), "y": y, "stride": 2}
    helpers.rejects(message, error, conv3x3.backward, **right | wrong)


def test_mixed_array_modules_are_rejected(monkeypatch):
    """A CuPy array among NumPy arrays, played by a class of that name: no GPU needed."""
    class Elsewhere(np.ndarray):
        pass

    cupy = type(np)("cupy")
    cupy.ndarray = Elsewhere
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    b = np.ones(4).view(Elsewhere)
    message = "conv3x3: b is a cupy array but x is a numpy array"
    helpers.rejects(message, TypeError, conv3x3.forward, np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4)), b)
