"""chroma_loss against PyTorch, against the contract as loops, against finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from gradcheck import check_loss
from gradcheck.strategies import layouts
from ltbc.kernels import chroma_loss
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools import helpers, pointwise

OP = "chroma_loss"


def loops(y, target, scale):
    """Equations (1) and (2)."""
    loss, dy = 0.0, np.zeros(y.shape)
    for at in np.ndindex(*y.shape):
        loss += (y[at] - target[at]) ** 2 / y.size
        dy[at] = scale * 2 / y.size * (y[at] - target[at])
    return {"loss": np.array(loss), "dy": dy}


def assert_equal(case, want):
    for name, value in pointwise.results(case).items():
        assert_close(name, value, want[name], tolerance("float64", case.arguments["y"].size))


@given(case=pointwise.cases(OP, layout=layouts()))
def test_torch(case):
    y = torch.tensor(case.arguments["y"].copy(), requires_grad=True)
    loss = F.mse_loss(y, torch.tensor(case.arguments["target"].copy()))
    loss.backward()
    assert_equal(case, {"loss": loss.detach().numpy(), "dy": case.settings["scale"] * y.grad.numpy()})


@given(case=pointwise.cases(OP))
def test_loops(case):
    assert_equal(case, loops(**case.arguments, **case.settings))


@given(case=pointwise.cases(OP))
def test_slopes(case):
    check_loss(chroma_loss.value_and_gradient, case.arguments, wrt=["y"], operation=OP)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@given(case=pointwise.cases(OP))
def test_float32(backend, case):
    pointwise.check_backend(case, backend, "float32", np.float32)


@given(case=pointwise.cases(OP))
def test_out(case):
    dy = np.full(case.arguments["y"].shape, np.nan)
    loss, found = chroma_loss.value_and_gradient(**case.arguments, **case.settings, out=dy)
    assert found is dy and loss.shape == ()
    assert_equal(case, {"loss": loss, "dy": dy})
