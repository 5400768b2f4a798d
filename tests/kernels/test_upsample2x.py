"""upsample2x against PyTorch, against the contract as loops, against its adjoint identity."""

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given

from gradcheck.strategies import layouts
from tests.tools import helpers

OP = "upsample2x"


def torch_forward(x):
    return F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="nearest").permute(0, 2, 3, 1)


def loops(x, dy):
    """Equations (1) and (2)."""
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for n, i, j, c in np.ndindex(*dy.shape):
        y[n, i, j, c] = x[n, i // 2, j // 2, c]
        dx[n, i // 2, j // 2, c] += dy[n, i, j, c]
    return {"y": y, "dx": dx}


@given(case=helpers.cases(OP, layout=layouts()))
def test_torch(case):
    helpers.check_torch(case, torch_forward)


@given(case=helpers.cases(OP))
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
def test_out(case):
    helpers.check_out(case)
