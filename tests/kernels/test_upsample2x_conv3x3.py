"""upsample2x_conv3x3 against PyTorch's two steps, against the contract as loops, against finite differences."""

from itertools import product

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given

from gradcheck.strategies import layouts
from ltbc.kernels import conv3x3, upsample2x
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools import helpers

OP = "upsample2x_conv3x3"


def torch_forward(x, w, b, activation):
    x, w = F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2), w.permute(3, 2, 0, 1).contiguous()
    return helpers.torch_activation(F.conv2d(x, w, b, padding=1).permute(0, 2, 3, 1), activation)


def loops(x, w, b, dy):
    """The convolution of the upsampled image, whose pixel (h, k) is x's (h // 2, k // 2); no phases, no activation."""
    _, height, width, cin = x.shape
    y, dx, dw, db = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for m, i, j, o in np.ndindex(*dy.shape):
        y[m, i, j, o] = b[o]
        db[o] += dy[m, i, j, o]
        for r, s, c in product(range(3), range(3), range(cin)):
            h, k = i + r - 1, j + s - 1
            if 0 <= h < 2 * height and 0 <= k < 2 * width:
                y[m, i, j, o] += x[m, h // 2, k // 2, c] * w[r, s, c, o]
                dx[m, h // 2, k // 2, c] += dy[m, i, j, o] * w[r, s, c, o]
                dw[r, s, c, o] += x[m, h // 2, k // 2, c] * dy[m, i, j, o]
    return {"y": y, "dx": dx, "dw": dw, "db": db}


@given(case=helpers.cases(OP, layout=layouts()))
def test_torch(case):
    helpers.check_torch(case, torch_forward)


@given(case=helpers.cases(OP, N=2, H=3, W=3, Cin=2, Cout=2, settings={"activation": ("none",)}))
def test_loops(case):
    helpers.assert_results(helpers.results(case), loops(**case.arguments), case)


@given(case=helpers.cases(OP, H=4, W=4))
def test_slopes(case):
    helpers.check_slopes(case)


@given(case=helpers.cases(OP))
def test_equals_the_two_operations(case):
    x, w, b = (case.arguments[k] for k in ("x", "w", "b"))
    y = conv3x3.forward(upsample2x.forward(x), w, b, 1, **case.settings)
    assert_close("y", helpers.forward(case), y, tolerance("float64", 9 * case.sizes["Cin"]), magnitude=np.ones(y.shape))


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@given(case=helpers.cases(OP))
def test_float32(backend, case):
    helpers.check_backend(case, backend, "float32", np.float32)


@given(case=helpers.cases(OP))
def test_out_and_needs_dx(case):
    helpers.check_out(case)
    helpers.check_without_dx(case)
