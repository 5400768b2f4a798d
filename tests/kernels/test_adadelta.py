"""adadelta against torch.optim.Adadelta and against the contract as loops."""

from math import sqrt

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltbc.kernels import adadelta
from ltbc.kernels.adadelta import reference
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools import helpers, pointwise

OP = "adadelta"
ALLOWED = tolerance("float64", pointwise.ROUNDINGS)


def loops(p, g, eg, ed, lr, rho, eps, low=None):
    """Equations (1) to (4)."""
    p, eg, ed = p.copy(), eg.copy(), ed.copy()
    for k in range(p.size):
        eg[k] = rho * eg[k] + (1 - rho) * g[k] ** 2
        d = g[k] * sqrt(ed[k] + eps) / sqrt(eg[k] + eps)
        ed[k] = rho * ed[k] + (1 - rho) * d**2
        p[k] -= lr * d
    return {"p": p, "g": g, "eg": eg, "ed": ed}


@given(case=pointwise.cases(OP))
def test_loops(case):
    want = loops(**case.arguments, **case.settings)
    for name, value in pointwise.results(case).items():
        assert_close(name, value, want[name], ALLOWED, pointwise.magnitude(case, name, want[name]))


@given(case=pointwise.cases(OP), steps=st.integers(1, 10), seed=st.integers(0, 99))
def test_torch(case, steps, seed):
    p = case.arguments["p"].copy()
    settings = {k: v for k, v in case.settings.items() if k != "low"}
    parameter = torch.nn.Parameter(torch.tensor(p))
    optimizer = torch.optim.Adadelta([parameter], **settings)
    eg, ed, rng = np.zeros_like(p), np.zeros_like(p), np.random.default_rng(seed)
    for _ in range(steps):
        g = rng.standard_normal(p.shape)
        parameter.grad = torch.tensor(g)
        optimizer.step()
        adadelta.step(p, g, eg, ed, **settings)
    state = optimizer.state[parameter]
    for name, ours, theirs in (("p", p, parameter), ("eg", eg, state["square_avg"]), ("ed", ed, state["acc_delta"])):
        assert_close(name, ours, theirs.detach().numpy(), steps * ALLOWED, np.abs(ours) + 1)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@given(case=pointwise.cases(OP))
def test_float32(backend, case):
    pointwise.check_backend(case, backend, "float32", np.float32)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@given(case=pointwise.cases(OP))
def test_low_precision_copy(backend, dtype, case):
    """It is the new p, rounded to the nearest."""
    case = case.converted(lambda name, a: a.astype(np.float32))._replace(settings={**case.settings, "low": dtype})
    found = pointwise.results(case, backend)
    assert found["low"].dtype == dtype
    np.testing.assert_array_equal(found["low"], found["p"].astype(dtype))


def test_more_than_a_block():
    """The last block is short; every element gets what it would get alone."""
    k = 2 * reference.BLOCK + 77
    p, g = np.zeros(k), np.tile([1.0, -2.0, 0.0], k)[:k]
    eg, ed = np.zeros(k), np.zeros(k)
    adadelta.step(p, g, eg, ed)
    one = [np.zeros(3) for _ in range(3)]
    adadelta.step(one[0], g[:3], one[1], one[2])
    for ours, alone in zip((p, eg, ed), one):
        np.testing.assert_array_equal(ours, np.tile(alone, k)[:k])
