"""adadelta against torch.optim.Adadelta, its low-precision copy, its blocks; the rest is in `test_operations.py`."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltbc.kernels import adadelta
from ltbc.kernels.adadelta import reference
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools import pointwise

OP = "adadelta"
ALLOWED = tolerance("float64", pointwise.ROUNDINGS)


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


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@given(case=pointwise.cases(OP))
def test_low_precision_copy(dtype, case):
    """It is the new p, rounded to the nearest."""
    case = case.converted(lambda name, a: a.astype(np.float32))._replace(settings={**case.settings, "low": dtype})
    found = pointwise.results(case)
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
