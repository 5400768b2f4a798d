"""The cpu backend's losses, optimizer and colors against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from gradcheck import strategies
from ltbc.kernels import adadelta, chroma_loss, class_loss, color, dispatch
from ltbc.kernels.adadelta.cpu import UNIT
from ltbc.kernels.compare import ROUNDOFF, assert_close, tolerance
from ltbc.kernels.cpu.buffers import allocate
from tests.tools import helpers
from tests.tools.cpu_checks import THREADS, set_threads
from tests.tools.cpu_memory import Memory

SIZES = strategies.sizes(N=3, H=6, W=20, C=3)


def exact(a):
    return a.astype(np.float64)


@settings(max_examples=40)
@given(s=SIZES, layout=strategies.layouts(), dtype=st.sampled_from([bfloat16, np.float32]), seed=st.integers(0, 99))
def test_chroma_loss(s, layout, dtype, seed):
    rng = np.random.default_rng(seed)
    y = rng.random((s["N"], s["H"], s["W"], s["C"])).astype(dtype)
    target = rng.random(y.shape).astype(np.float32)
    with set_threads(THREADS[seed % 4]), Memory() as memory:
        y = strategies.lay_out(y, layout) if layout != "contiguous" else memory.place("y", y)
        target = memory.place("target", target)
        out = allocate(y.shape, np.float32) if seed % 2 else None
        loss, dy = chroma_loss.value_and_gradient(y, target, 3.0, out=out, backend="cpu")
        memory.check()
    want = chroma_loss.value_and_gradient(exact(y), exact(target), 3.0)
    assert (dy is out) if seed % 2 else dy.dtype == y.dtype
    assert loss.shape == () and loss.dtype == np.float32
    # the difference of two stored numbers is rounded once, in float32; its square twice more
    assert_close("chroma_loss", loss, want[0], tolerance("float32", y.size))
    assert_close("chroma_loss dy", dy, want[1], tolerance("float32", 1, dy.dtype))


@pytest.mark.parametrize("kind", class_loss.KINDS)
@settings(max_examples=30)
@given(
    s=strategies.sizes(N=5, K=40), dtype=st.sampled_from([bfloat16, np.float32]),
    scale=st.sampled_from([1, 30, 1e4]), seed=st.integers(0, 99),
)
def test_class_loss(kind, s, dtype, scale, seed):
    rng = np.random.default_rng(seed)
    z, labels = (rng.standard_normal((s["N"], s["K"])) * scale).astype(dtype), rng.integers(0, s["K"], s["N"])
    loss, dz = class_loss.value_and_gradient(z, labels, 2.0, kind, backend="cpu")
    want = class_loss.value_and_gradient(exact(z), labels, 2.0, kind)
    assert loss.shape == () and loss.dtype == np.float32 and dz.dtype == z.dtype
    # computed in float64, rounded to float32 once; the reference takes the true class's logit off the sum
    np.testing.assert_allclose(loss, want[0], rtol=1e-7, atol=4e-16 * (1 + np.abs(exact(z)).sum(1).max()))
    # dz too, and again to bfloat16; p - 1 of a float64 is good to 2^-53
    np.testing.assert_allclose(exact(dz), want[1], rtol=1.001 * ROUNDOFF[dz.dtype.name], atol=2e-15)


@settings(max_examples=30)
@given(n=st.integers(1, 100), low=st.sampled_from([None, bfloat16, np.float16]), layout=strategies.layouts(),
       seed=st.integers(0, 99))
def test_adadelta(n, low, layout, seed):
    """Two steps, of any length and layout."""
    check_adadelta(n, low, layout, seed)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("units", [1, 7])
def test_adadelta_of_several_units(units, threads):
    """Each parameter once, whoever does its unit; the last one is not whole."""
    with set_threads(threads):
        check_adadelta(units * UNIT + 5, bfloat16, "contiguous", threads)


def check_adadelta(n, low, layout, seed):
    rng = np.random.default_rng(seed)
    with Memory() as memory:
        placed = [memory.place(f"array {i}", a.astype(np.float32)) for i, a in
                  enumerate((*rng.standard_normal((2, n)), *rng.random((2, n)) * 1e-3))]
        buffers = placed if layout == "contiguous" else [strategies.lay_out(a, layout) for a in placed]
        wide = [exact(a) for a in buffers]
        rounded = None if low is None else strategies.lay_out(np.zeros(n, low), layout)
        for _ in range(2):
            adadelta.step(*buffers, lr=0.5, rho=0.95, eps=1e-6, low=rounded, backend="cpu")
            adadelta.step(*wide, lr=0.5, rho=0.95, eps=1e-6)
    for name, got, want in zip(("p", "g", "eg", "ed"), buffers, wide):
        assert_close(f"adadelta {name}", got, want, tolerance("float32", 8))  # a chain of some eight roundings
    if low is not None:
        np.testing.assert_array_equal(rounded, buffers[0].astype(low))


@settings(max_examples=40)
@given(
    space=st.sampled_from(list(color.CHANNELS)), kind=st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]),
    dtype=st.sampled_from([np.float32, np.float64, bfloat16]), cropped=st.booleans(), seed=st.integers(0, 99),
)
def test_color(space, kind, dtype, cropped, seed):
    rng = np.random.default_rng(seed)
    rgb = rng.random((3, 8, 10, 3)) * (1 if np.dtype(kind).kind == "f" else np.iinfo(kind).max)
    crop = dict(top=rng.integers(0, 3, 3), left=rng.integers(0, 5, 3), flip=rng.random(3) < 0.5, size=(6, 6))
    options = crop if cropped else {}
    got = color.encode(rgb.astype(kind), space, dtype=dtype, **options, backend="cpu")
    want = color.encode(rgb.astype(kind), space, dtype=np.float64, **options)
    # a* is 500 times a difference of cube roots, divided by 220: some ten roundings of numbers up to 2
    u = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14, np.dtype(bfloat16): 2.0**-8}[np.dtype(dtype)]
    for a, b in zip(got, want):
        assert a.dtype == dtype
        np.testing.assert_allclose(exact(a), b, rtol=0, atol=u)
    if dtype != bfloat16:
        chroma = rng.random((*want[0].shape[:3], color.CHANNELS[space])).astype(dtype)
        luminance = want[0].astype(dtype)
        back = color.decode(luminance, chroma, space, backend="cpu")
        assert back.dtype == dtype
        # far outside sRGB the inverse matrix multiplies errors, and the values themselves, tenfold
        np.testing.assert_allclose(back, color.decode(exact(luminance), exact(chroma), space), rtol=20 * u, atol=20 * u)


def test_color_writes_into_buffers():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3)).astype(np.uint8)
    out = allocate((2, 4, 6, 1), bfloat16), np.full((2, 2, 3, 2), np.nan, np.float32)
    found = color.encode(rgb, out=out, backend="cpu")
    want = color.encode(rgb)
    assert found[0] is out[0] and found[1] is out[1]
    np.testing.assert_allclose(exact(out[0]), want[0], atol=2.0**-8)
    np.testing.assert_allclose(out[1], want[1], atol=1e-6)


def test_other_dtypes_are_rejected():
    x = np.ones((1, 2, 2, 2))
    message = "{}: the cpu backend takes {}, got float64; use backend='reference'"
    both = "bfloat16 or float32"
    helpers.rejects(message.format("chroma_loss", both), TypeError, chroma_loss.value_and_gradient, x, x, backend="cpu")
    helpers.rejects(message.format("class_loss", both), TypeError, class_loss.value_and_gradient, x[0, 0],
                    np.zeros(2, int), backend="cpu")
    helpers.rejects(message.format("adadelta", "float32"), TypeError, adadelta.step, *np.ones((4, 3)), backend="cpu")


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 20), (1, 4, 4, 64)])
@pytest.mark.parametrize("dtype", [np.float32, bfloat16])
def test_gradients_of_a_fork_add_up_like_numpy(shape, dtype):
    rng = np.random.default_rng(3)
    draw = lambda: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    with Memory() as memory:
        total, x = memory.allocate(shape, dtype), memory.place("x", draw())
        total[...] = draw()
        expected = (total.astype(np.float32) + x.astype(np.float32)).astype(dtype)
        dispatch.add(total, x, "cpu")
        memory.check()
    np.testing.assert_array_equal(total, expected)
    channels_first = np.moveaxis(np.moveaxis(x, 3, 0).copy(), 0, 3)  # what the kernel does not read
    dispatch.add(channels_first, x, "cpu")
    np.testing.assert_array_equal(channels_first, x + x)
