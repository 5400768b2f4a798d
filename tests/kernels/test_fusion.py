"""fusion against PyTorch's concatenation, against the contract as loops, against finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given

from gradcheck.strategies import layouts
from tests.tools import helpers

OP = "fusion"


def torch_forward(mid, global_, w, b, activation):
    """With the concatenated tensor [global ; mid] that our versions never form."""
    n, height, width, _ = mid.shape
    everywhere = global_[:, None, None].expand(n, height, width, -1)
    return helpers.torch_activation(torch.cat([everywhere, mid], -1) @ w + b, activation)


def loops(mid, global_, w, b, dy):
    """Equations (1) and (4) to (6), without activation."""
    cg, cm = global_.shape[1], mid.shape[3]
    y, dmid, dglobal, dw, db = (np.zeros_like(a) for a in (dy, mid, global_, w, b))
    for n, i, j, o in np.ndindex(*dy.shape):
        y[n, i, j, o] = b[o]
        db[o] += dy[n, i, j, o]
        for g in range(cg):
            y[n, i, j, o] += global_[n, g] * w[g, o]
            dglobal[n, g] += dy[n, i, j, o] * w[g, o]
            dw[g, o] += global_[n, g] * dy[n, i, j, o]
        for c in range(cm):
            y[n, i, j, o] += mid[n, i, j, c] * w[cg + c, o]
            dmid[n, i, j, c] += dy[n, i, j, o] * w[cg + c, o]
            dw[cg + c, o] += mid[n, i, j, c] * dy[n, i, j, o]
    return {"y": y, "dmid": dmid, "dglobal": dglobal, "dw": dw, "db": db}


@given(case=helpers.cases(OP, layout=layouts()))
def test_torch(case):
    helpers.check_torch(case, torch_forward)


@given(case=helpers.cases(OP, H=3, W=3, Cm=3, Cg=3, Cout=3, settings={"activation": ("none",)}))
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
