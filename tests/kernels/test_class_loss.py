"""class_loss, both kinds, against PyTorch, against the contract as loops, against finite differences."""

from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from gradcheck import check_loss
from gradcheck.strategies import layouts
from ltbc.kernels import class_loss
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools import helpers, pointwise

OP = "class_loss"


def loops(z, labels, scale, kind):
    """Equations (1) to (4), word for word: for tame logits only."""
    n, classes = z.shape
    loss, dz = 0.0, np.zeros(z.shape)
    for m in range(n):
        for c in range(classes):
            t = float(c == labels[m])
            if kind == "softmax":
                p = exp(z[m, c]) / sum(exp(z[m, k]) for k in range(classes))
                loss -= t * log(p) / n
            else:
                p, q = 1 / (1 + exp(-z[m, c])), 1 / (1 + exp(z[m, c]))  # q = 1 - p, which cancels if written so
                loss -= (t * log(p) + (1 - t) * log(q)) / n
            dz[m, c] = scale / n * (p - t)
    return {"loss": np.array(loss), "dz": dz}


def torch_results(z, labels, scale, kind):
    z, labels = torch.tensor(z.copy(), requires_grad=True), torch.tensor(labels)
    if kind == "softmax":
        loss = F.cross_entropy(z, labels)
    else:
        target = F.one_hot(labels, z.shape[1]).to(z.dtype)
        loss = F.binary_cross_entropy_with_logits(z, target, reduction="sum") / len(labels)
    loss.backward()
    return {"loss": loss.detach().numpy(), "dz": scale * z.grad.numpy()}


def assert_equal(case, want):
    for name, value in pointwise.results(case).items():
        allowed = tolerance("float64", case.arguments["z"].size)
        assert_close(name, value, want[name], allowed, pointwise.magnitude(case, name, want[name]))


@given(case=pointwise.cases(OP, layout=layouts()))
def test_torch(case):
    assert_equal(case, torch_results(**case.arguments, **case.settings))


@given(case=pointwise.cases(OP))
def test_loops(case):
    tame = case.converted(lambda name, a: np.clip(a, -20, 20) if name == "z" else a)
    assert_equal(tame, loops(**tame.arguments, **tame.settings))


@given(case=pointwise.cases(OP))
def test_slopes(case):
    tame = {**case.arguments, "z": np.clip(case.arguments["z"], -5, 5)}
    kind = case.settings["kind"]
    check_loss(lambda z, labels: class_loss.value_and_gradient(z, labels, kind=kind), tame, wrt=["z"], operation=OP)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@given(case=pointwise.cases(OP))
def test_float32(backend, case):
    pointwise.check_backend(case, backend, "float32", np.float32)


@pytest.mark.parametrize("backend", helpers.BACKENDS)
@pytest.mark.parametrize("kind", class_loss.KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(backend, kind, dtype):
    """Nothing overflows; a class that is certain and right costs nothing, one that is certain and wrong its logit."""
    z = np.array([[1e4, -1e4, 0], [-1e4, 1e4, -1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, dz = class_loss.value_and_gradient(z, np.array([0, 0]), kind=kind, backend=backend)
    want = torch_results(z.astype(np.float64), np.array([0, 0]), 1.0, kind)
    np.testing.assert_allclose(loss, want["loss"], rtol=1e-6)
    np.testing.assert_allclose(dz, want["dz"], atol=1e-6)
    assert loss.dtype == dz.dtype == dtype


@given(case=pointwise.cases(OP))
def test_out(case):
    z = case.arguments["z"].copy()
    buffer = np.full(z.shape, np.nan, np.float32)
    loss, dz = class_loss.value_and_gradient(**case.arguments, **case.settings, out=buffer)
    assert dz is buffer and loss.shape == ()
    np.testing.assert_array_equal(dz, pointwise.results(case)["dz"].astype(np.float32))
    np.testing.assert_array_equal(z, case.arguments["z"])  # the logits are left alone
