"""conv3x3 against PyTorch, against the contract written as loops, against finite differences."""

from itertools import product

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given

from gradcheck.strategies import layouts
from ltbc.kernels import conv3x3
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
        np.testing.assert_allclose(banded, conv3x3.forward(x, w, b, stride), rtol=1e-13, atol=1e-14)
