"""The gpu backend of adadelta against the reference, under Triton's interpreter."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import adadelta
from tests.tools import pointwise
from tests.tools.interpreter import place, same_bits, watched

TILE = {"BLOCK": 64}
LOW = (None, np.float16, bfloat16)


@settings(max_examples=30)
@given(case=st.sampled_from(LOW).flatmap(lambda low: pointwise.cases("adadelta", low=low)))
def test_adadelta(case):
    with watched(**TILE) as target:
        pointwise.check_backend(case, "gpu", "float32", np.float32, place=lambda name, a: place(a))
    assert target.launches == ["step_kernel"]


def test_ten_steps_and_the_low_precision_copy():
    rng = np.random.default_rng(0)
    buffers = [place(a, np.float32) for a in (rng.standard_normal(100), np.zeros(100), np.zeros(100), np.zeros(100))]
    exact = [a.astype(np.float64) for a in buffers]
    low = place(np.zeros(100), bfloat16)
    for _ in range(10):
        g = rng.standard_normal(100)
        buffers[1][...], exact[1] = g, buffers[1].astype(np.float64)
        exact[1] = buffers[1].astype(np.float64)
        with watched(**TILE):
            adadelta.step(*buffers, low=low, backend="gpu")
        adadelta.step(*exact)
    for found, want in zip(buffers, exact):
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(low, buffers[0].astype(bfloat16))


def test_every_order_of_programs():
    rng = np.random.default_rng(1)
    start = [np.abs(rng.standard_normal(300)).astype(np.float32) for _ in range(4)]

    def run():
        buffers, low = [place(a) for a in start], place(np.zeros(300), np.float16)
        adadelta.step(*buffers, low=low, backend="gpu")
        return *buffers, low

    same_bits(run, **TILE)
