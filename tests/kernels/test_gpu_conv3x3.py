"""The gpu backend of conv3x3 against the reference, under Triton's interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import conv3x3
from ltbc.kernels.compare import assert_close, tolerance
from tests.tools.interpreter import place, same_bits, watched

TILE = {"BLOCK_P": 32, "BLOCK_O": 16, "BLOCK_C": 16}
DTYPES = (np.float32, np.float16, bfloat16)


def draw(seed, n, h, w, cin, cout, dtype):
    """x, w, b as a kernel gets them, and in float64."""
    rng = np.random.default_rng(seed)
    shapes = (n, h, w, cin), (3, 3, cin, cout), (cout,)
    arrays = [place(rng.standard_normal(s), t) for s, t in zip(shapes, (dtype, dtype, np.float32))]
    return arrays, [a.astype(np.float64) for a in arrays]


def allowed(dtype, length):
    return tolerance(np.dtype(dtype).name, length, storage=dtype, factors=0)


@settings(max_examples=12)
@given(
    n=st.integers(1, 3), h=st.integers(1, 7), w=st.integers(1, 9), cin=st.sampled_from([5, 16, 32]),
    cout=st.sampled_from([3, 16, 24]), stride=st.sampled_from([1, 2]), dtype=st.sampled_from(DTYPES),
    activation=st.sampled_from(["none", "relu", "sigmoid"]), capability=st.sampled_from([80, 90]),
)
def test_forward(n, h, w, cin, cout, stride, dtype, activation, capability):
    arrays, exact = draw(0, n, h, w, cin, cout, dtype)
    with watched(capability, **TILE):
        y = conv3x3.forward(*arrays, stride, activation, backend="gpu")
    assert_close("y", y, conv3x3.forward(*exact, stride, activation), allowed(dtype, 9 * cin))


@pytest.mark.parametrize("stride", [1, 2])
def test_boxes_are_used_and_may_hang_over(stride):
    arrays, exact = draw(1, 3, 6, 10, 32, 24, bfloat16)
    y = same_bits(lambda: (conv3x3.forward(*arrays, stride, backend="gpu"),), **TILE)[0]
    assert_close("y", y, conv3x3.forward(*exact, stride), allowed(bfloat16, 9 * 32))


@settings(max_examples=6)
@given(
    n=st.integers(1, 3), h=st.integers(1, 6), w=st.integers(1, 6), cin=st.sampled_from([5, 16, 32]),
    cout=st.sampled_from([5, 16, 24]), stride=st.sampled_from([1, 2]), dtype=st.sampled_from(DTYPES),
    activation=st.sampled_from(["none", "relu", "sigmoid"]), capability=st.sampled_from([80, 90]),
)
def test_backward(n, h, w, cin, cout, stride, dtype, activation, capability):
    check_backward(n, h, w, cin, cout, stride, dtype, activation, lambda run: run_watched(run, capability))


@pytest.mark.parametrize("stride", [1, 2])
def test_backward_in_every_order_of_programs(stride):
    check_backward(3, 4, 6, 16, 24, stride, bfloat16, "relu", lambda run: same_bits(run, **TILE))


SMALL = {"boxes": (3, 4, 6, 16, 24, 90), "pointers": (2, 5, 3, 20, 5, 80)}  # n, h, w, cin, cout, capability


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("path", SMALL)
def test_small_forward(path, stride):
    *sizes, capability = SMALL[path]
    arrays, exact = draw(6, *sizes, np.float32)
    y = run_watched(lambda: conv3x3.forward(*arrays, stride, "relu", backend="gpu"), capability)
    assert_close("y", y, conv3x3.forward(*exact, stride, "relu"), allowed(np.float32, 9 * sizes[3]))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("path", SMALL)
def test_small_backward(path, stride):
    *sizes, capability = SMALL[path]
    check_backward(*sizes, stride, np.float32, "sigmoid", lambda run: run_watched(run, capability))


def test_float32_results_of_16_bit_arrays():
    (x, w, b), exact = draw(7, 2, 4, 4, 16, 16, bfloat16)
    y, dx = place(np.zeros((2, 4, 4, 16)), np.float32), place(np.zeros((2, 4, 4, 16)), np.float32)
    dy = place(np.random.default_rng(8).standard_normal(y.shape), np.float32)
    with watched(**TILE):
        assert conv3x3.forward(x, w, b, out=y, backend="gpu") is y
        got = conv3x3.backward(dy, x, w, y, out=(dx, None, None), backend="gpu")
    assert got[0] is dx
    assert_close("y", y, conv3x3.forward(*exact), tolerance("bfloat16", 9 * 16, storage=np.float32, factors=0))
    want = conv3x3.backward(*(a.astype(np.float64) for a in (dy, x, w, y)))
    for name, a, e in zip(("dx", "dw", "db"), got, want):
        assert_close(name, a, e, tolerance("bfloat16", 9 * 16, storage=np.float32, factors=1), 1.0)


@pytest.mark.parametrize("h, w", [(5, 4), (4, 5)])
def test_odd_sizes_at_stride_2_take_pointers(h, w):
    arrays, exact = draw(9, 1, h, w, 16, 16, np.float32)
    y = run_watched(lambda: conv3x3.forward(*arrays, 2, backend="gpu"), 90)
    assert_close("y", y, conv3x3.forward(*exact, 2), allowed(np.float32, 9 * 16))


def test_a_second_step_allocates_nothing():
    """What a CUDA graph needs: with `out` given, all buffers are those of the first step."""
    (x, w, b), _ = draw(10, 3, 4, 6, 16, 16, np.float32)
    y, dy = place(np.zeros((3, 4, 6, 16)), np.float32), place(np.ones((3, 4, 6, 16)), np.float32)
    out = tuple(place(np.zeros(s), np.float32) for s in (x.shape, w.shape, b.shape))
    with watched(**TILE) as target:
        for _ in range(2):
            conv3x3.forward(x, w, b, out=y, backend="gpu")
            conv3x3.backward(dy, x, w, y, out=out, backend="gpu")
            target.empty = None  # from here on whoever allocates fails
    assert len(target.launches) == 2 * 5


@pytest.mark.parametrize("n", [1, 3])  # three fit into one box, which spans images
def test_one_pixel(n):
    check_backward(n, 1, 1, 16, 16, 1, np.float32, "relu", lambda run: run_watched(run, 90))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cin, cout, stride", [(1, 24, 2), (1, 5, 1), (20, 2, 1), (3, 2, 1), (20, 3, 2)])
def test_first_and_last_layers_with_few_channels(cin, cout, stride, dtype):
    arrays, exact = draw(5, 2, 4, 5, cin, cout, dtype)
    with watched(90, **TILE):
        y = conv3x3.forward(*arrays, stride, "sigmoid", backend="gpu")
    assert_close("y", y, conv3x3.forward(*exact, stride, "sigmoid"), allowed(dtype, 9 * cin))
    check_backward(2, 4, 5, cin, cout, stride, dtype, "sigmoid", lambda run: run_watched(run, 90))


@pytest.mark.parametrize("cin, cout, stride", [(1, 24, 2), (20, 2, 1)])
def test_few_channels_in_every_order_of_programs(cin, cout, stride):
    check_backward(3, 5, 6, cin, cout, stride, bfloat16, "relu", lambda run: same_bits(run, **TILE))


def check_backward(n, h, w, cin, cout, stride, dtype, activation, runner):
    (x, weights, b), exact = draw(3, n, h, w, cin, cout, dtype)
    y = place(conv3x3.forward(*exact, stride, activation), dtype)
    dy = place(np.random.default_rng(4).standard_normal(y.shape), dtype)
    got = runner(lambda: conv3x3.backward(dy, x, weights, y, stride, activation, backend="gpu"))
    want = conv3x3.backward(*(a.astype(np.float64) for a in (dy, x, weights, y)), stride, activation)
    name, rounded = np.dtype(dtype).name, int(activation == "sigmoid")  # dz is rounded once more, exact for relu
    for what, result, expected in zip(("dx", "dw", "db"), got, want):
        length, storage = (9 * cout, dtype) if what == "dx" else (y.size // cout, np.float32)
        assert_close(what, result, expected, tolerance(name, length, storage=storage, factors=rounded), 1.0)


def run_watched(run, capability):
    with watched(capability, **TILE):
        return run()


def test_float32_products_are_chosen(monkeypatch):
    from ltbc.kernels.gpu import launch

    arrays, exact = draw(2, 1, 4, 4, 16, 16, np.float32)
    want = conv3x3.forward(*exact)
    monkeypatch.setattr(launch, "_chosen", dict(launch._chosen))
    launch.set_float32_products("tf32")
    with watched(**TILE):
        y = conv3x3.forward(*arrays, backend="gpu")
    assert_close("y", y, want, tolerance("tf32", 9 * 16))
    with pytest.raises(AssertionError):
        assert_close("y", y, want, allowed(np.float32, 9 * 16))
