"""The gpu backend of upsample2x against the reference, under Triton's interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import upsample2x
from tests.tools import helpers
from tests.tools.interpreter import place, same_bits, watched

TILE = {"BLOCK_P": 16, "BLOCK_C": 4}


@settings(max_examples=20)
@given(case=helpers.cases("upsample2x", C=9), dtype=st.sampled_from([np.float32, np.float16, bfloat16]))
def test_upsample2x(case, dtype):
    with watched(**TILE) as target:
        helpers.check_backend(case, "gpu", np.dtype(dtype).name, dtype, place=lambda name, a: place(a))
    assert target.launches == ["forward_kernel", "backward_kernel"]


@pytest.mark.parametrize("channels", [1, 7, 40])
def test_the_tables_own_tiles_in_every_order_of_programs(channels):
    x = place(np.random.default_rng(0).standard_normal((2, 5, 9, channels)), bfloat16)
    dy = place(x[:, :4, :8])
    y, dx = same_bits(lambda: (upsample2x.forward(x, backend="gpu"), upsample2x.backward(dy, backend="gpu")))
    np.testing.assert_array_equal(y, upsample2x.forward(x))
    want = upsample2x.backward(dy.astype(np.float64))
    np.testing.assert_array_equal(dx, want.astype(np.float32).astype(bfloat16))


def test_out_decides_the_dtype():
    x = place(np.random.default_rng(1).standard_normal((1, 2, 4, 3)), bfloat16)
    y, dx = (place(np.zeros(s), np.float32) for s in ((1, 4, 8, 3), (1, 1, 2, 3)))
    with watched(**TILE):
        assert upsample2x.forward(x, out=y, backend="gpu") is y
        assert upsample2x.backward(x, out=dx, backend="gpu") is dx
    np.testing.assert_array_equal(y, upsample2x.forward(x.astype(np.float32)))
    np.testing.assert_allclose(dx, upsample2x.backward(x.astype(np.float32)), rtol=1e-6)
