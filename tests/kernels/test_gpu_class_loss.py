"""The gpu backend of class_loss against the reference, under Triton's interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import class_loss
from tests.tools import helpers, pointwise
from tests.tools.interpreter import place, same_bits, watched


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of sigmoid, which is right for infinity
@settings(max_examples=40)
@given(case=pointwise.cases("class_loss", K=20), dtype=st.sampled_from([np.float32, np.float16, bfloat16]))
def test_class_loss(case, dtype):
    with watched() as target:
        pointwise.check_backend(case, "gpu", np.dtype(dtype).name, dtype, place=lambda name, a: place(a))
    assert target.launches == ["loss_kernel", "total_kernel"]


def draw(n=4, classes=205, dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(0)
    return place(scale * rng.standard_normal((n, classes)), dtype), rng.integers(0, classes, n)


@pytest.mark.parametrize("kind", class_loss.KINDS)
@pytest.mark.parametrize("labels", [np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_labels_of_every_integer_dtype_and_out(kind, labels):
    z, true = draw()
    dz, true = place(np.zeros(z.shape), np.float32), place(np.minimum(true, 200), labels)
    with watched():
        loss, found = class_loss.value_and_gradient(z, true, 2.0, kind, out=dz, backend="gpu")
    want = class_loss.value_and_gradient(z.astype(np.float64), true, 2.0, kind)
    assert found is dz and loss.shape == () and loss.dtype == np.float32
    np.testing.assert_allclose(loss, want[0], rtol=1e-6)
    np.testing.assert_allclose(dz, want[1], rtol=1e-5, atol=1e-8)


def test_small_terms_are_not_lost():
    """Far from 0 a class costs e^-|z|, less than float32 sees beside 1."""
    z = place(np.array([[-20.0, -25.0, 22.0]]), np.float32)
    with watched():
        loss, _ = class_loss.value_and_gradient(z, place(np.array([2])), kind="sigmoid", backend="gpu")
    np.testing.assert_allclose(loss, np.log1p(np.exp([-20.0, -25.0, -22.0])).sum(), rtol=1e-5)


@pytest.mark.parametrize("kind", class_loss.KINDS)
@pytest.mark.parametrize("label", [-1, 3, 100, 2**32])
def test_a_label_that_is_no_class_gives_nan(kind, label):
    """Labels on a GPU are not looked at before the launch."""
    from ltbc.kernels.class_loss import gpu

    z, labels = draw(2, 3)[0], place(np.array([1, label]))
    with watched():
        loss, _ = gpu.value_and_gradient(z, labels, 1.0, kind)
    assert np.isnan(loss)


@pytest.mark.parametrize("kind", class_loss.KINDS)
def test_every_order_of_programs(kind):
    z, labels = draw(7, 19, bfloat16)
    labels = place(labels)
    same_bits(lambda: class_loss.value_and_gradient(z, labels, kind=kind, backend="gpu"))


def test_more_classes_than_a_program_holds_are_refused():
    z = np.ones((2, 65537), np.float32)
    message = "class_loss: backend gpu takes up to 65536 classes, got 65537; use backend='reference'"
    with watched():
        helpers.rejects(message, ValueError, class_loss.value_and_gradient, z, np.array([0, 2]), backend="gpu")
