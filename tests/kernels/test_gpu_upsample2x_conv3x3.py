"""The gpu backend of upsample2x_conv3x3 against the reference, under Triton's interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import upsample2x_conv3x3 as op
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools.interpreter import place, same_bits, watched

TILE = {"BLOCK_P": 32, "BLOCK_O": 16, "BLOCK_C": 16}
DTYPES = (np.float32, np.float16, bfloat16)


def check(n, h, w, cin, cout, dtype, activation, runner):
    """Forward and backward within `runner`, which runs a function, against the reference."""
    rng = np.random.default_rng(0)
    x, weights = place(rng.standard_normal((n, h, w, cin)), dtype), place(rng.standard_normal((3, 3, cin, cout)), dtype)
    b, dy = place(rng.standard_normal(cout), np.float32), place(rng.standard_normal((n, 2 * h, 2 * w, cout)), dtype)
    exact = [a.astype(np.float64) for a in (x, weights, b, dy)]
    y64 = op.forward(*exact[:3], activation)
    kept = place(y64, dtype)

    def run():
        prepared = op.prepare(weights, backend="gpu")
        y = op.forward(x, weights, b, activation, prepared=prepared, backend="gpu")
        return y, *op.backward(dy, x, weights, kept, activation, prepared=prepared, backend="gpu")

    want = op.backward(exact[3], *exact[:2], kept.astype(np.float64), activation)
    lengths = 4 * cin, 16 * cout, n * h * w * 4, n * h * w * 4
    rounded = int(activation == "sigmoid")  # of the factors: sums of weights, dz; the latter is exact otherwise
    factors = 1, 1 + rounded, rounded, rounded
    results = zip(("y", "dx", "dw", "db"), runner(run), (y64, *want), lengths, factors)
    for name, got, reference, length, count in results:
        storage = dtype if name in ("y", "dx") else np.float32
        allowed = tolerance(np.dtype(dtype).name, length, storage=storage, factors=count)
        assert_close(name, got, reference, allowed, magnitude=1.0)


def run_watched(capability):
    def runner(run):
        with watched(capability, **TILE):
            return run()

    return runner


@settings(max_examples=5)
@given(
    n=st.integers(1, 2), h=st.integers(1, 4), w=st.integers(1, 4), cin=st.sampled_from([5, 16, 32]),
    cout=st.sampled_from([5, 16]), dtype=st.sampled_from(DTYPES),
    activation=st.sampled_from(["none", "relu", "sigmoid"]), capability=st.sampled_from([80, 90]),
)
def test_forward_and_backward(n, h, w, cin, cout, dtype, activation, capability):
    check(n, h, w, cin, cout, dtype, activation, run_watched(capability))


@pytest.mark.parametrize("dtype", DTYPES)
def test_boxes_hang_over_images_rows_and_columns(dtype):
    check(3, 3, 5, 32, 32, dtype, "relu", run_watched(90))


@pytest.mark.parametrize("sizes", [(2, 3, 3, 16, 16, 90), (1, 2, 3, 20, 5, 80)], ids=["boxes", "pointers"])
def test_small(sizes):
    *sizes, capability = sizes
    check(*sizes, np.float32, "sigmoid", run_watched(capability))


def test_every_order_of_programs():
    check(3, 3, 5, 16, 16, bfloat16, "relu", lambda run: same_bits(run, **TILE))


def test_upsampled_image_is_never_formed():
    x, w, b = (place(np.ones(s), np.float32) for s in ((1, 4, 4, 16), (3, 3, 16, 16), (16,)))
    with watched(**TILE) as target:
        op.forward(x, w, b, backend="gpu")
    assert target.launches == ["phase_weights_kernel", "forward_kernel"]
