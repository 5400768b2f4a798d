"""The gpu backend of chroma_loss against the reference, under Triton's interpreter."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import chroma_loss
from tests.tools import pointwise
from tests.tools.interpreter import place, same_bits, watched

TILE = {"BLOCK": 64}


@settings(max_examples=30)
@given(case=pointwise.cases("chroma_loss"), dtype=st.sampled_from([np.float32, np.float16, bfloat16]))
def test_chroma_loss(case, dtype):
    with watched(**TILE) as target:
        pointwise.check_backend(case, "gpu", np.dtype(dtype).name, dtype, place=lambda name, a: place(a))
    assert target.launches == ["loss_kernel", "total_kernel"]


def draw(*shape):
    rng = np.random.default_rng(0)
    return place(rng.random(shape), bfloat16), place(rng.random(shape), np.float32)


def test_float32_target_and_out():
    y, target = draw(2, 3, 5, 2)
    dy = place(np.zeros(y.shape), np.float32)
    with watched(**TILE):
        loss, found = chroma_loss.value_and_gradient(y, target, 3.0, out=dy, backend="gpu")
    want = chroma_loss.value_and_gradient(y.astype(np.float64), target.astype(np.float64), 3.0)
    assert found is dy and loss.shape == () and loss.dtype == np.float32
    np.testing.assert_allclose(loss, want[0], rtol=1e-6)
    np.testing.assert_allclose(dy, want[1], rtol=1e-5, atol=1e-9)


def test_more_programs_than_the_second_pass_takes_at_once(monkeypatch):
    monkeypatch.setattr("ltbc.kernels.gpu.total.BLOCK", 16)
    y, target = draw(1, 6, 37, 3)
    y = place(y, np.float32)
    with watched(BLOCK=16):
        loss, dy = chroma_loss.value_and_gradient(y, target, backend="gpu")
    want = chroma_loss.value_and_gradient(y.astype(np.float64), target.astype(np.float64))
    np.testing.assert_allclose(loss, want[0], rtol=1e-6)
    np.testing.assert_allclose(dy, want[1], rtol=1e-5, atol=1e-10)


def test_every_order_of_programs():
    y, target = draw(2, 7, 9, 2)
    same_bits(lambda: chroma_loss.value_and_gradient(y, target, backend="gpu"), **TILE)


def test_losses_of_two_calls_are_two_arrays():
    y, target = draw(1, 2, 2, 2)
    with watched(**TILE):
        first, _ = chroma_loss.value_and_gradient(y, target, backend="gpu")
        kept = first.copy()
        chroma_loss.value_and_gradient(y, 0 * target, backend="gpu")
    assert first == kept
