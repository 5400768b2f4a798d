"""The cpu backend's layers against the reference: odd sizes, whole vectors, several blocks, any memory layout."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16, finfo

from gradcheck import strategies
from ltbc.kernels import arrays, conv3x3, linear
from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.conv3x3 import winograd
from ltbc.kernels.conv3x3.cpu_method import method
from ltbc.kernels.cpu.buffers import allocate, owner, whole
from ltbc.kernels.cpu.machine import LEVEL
from tests.tools import helpers
from tests.tools.cpu_checks import THREADS, amplification, border, check, drawn
from tests.tools.cpu_memory import Memory

DTYPES = pytest.mark.parametrize("dtype", [bfloat16, np.float32])

def test_amplification():
    found = {name: [round(amplification(of, name)) for of in (winograd.F2, winograd.F4, winograd.STRIDE2)]
             for name in ("y", "dw")}
    assert found == {"y": [2, 11, 2], "dw": [2, 24, 2]}


@DTYPES
@pytest.mark.parametrize("op", ["conv3x3", "upsample2x_conv3x3", "upsample2x", "linear", "fusion"])
@settings(max_examples=30)
@given(data=st.data())
def test_small(op, dtype, data):
    """One pixel, one channel, odd and even sizes, arrays of any layout, which are copied."""
    case = data.draw(helpers.cases(op, layout=strategies.layouts()))
    threads = data.draw(st.sampled_from(THREADS))
    check(case, dtype, (threads,), place=data.draw(st.sampled_from([None, lambda name, a: a])))


@DTYPES
@pytest.mark.parametrize("op, sizes", [
    ("conv3x3", dict(N=3, H=9, W=14, Cin=40, Cout=37)),
    ("conv3x3", dict(N=1, H=33, W=20, Cin=1, Cout=64)),
    ("conv3x3", dict(N=2, H=25, W=26, Cin=32, Cout=2)),
    ("conv3x3", dict(N=2, H=3, W=11, Cin=2, Cout=32)),
    ("conv3x3", dict(N=3, H=1, W=2, Cin=64, Cout=1)),
    ("conv3x3", dict(N=1, H=3, W=261, Cin=1, Cout=37)),
    ("conv3x3", dict(N=2, H=2, W=150, Cin=72, Cout=2)),
    ("upsample2x_conv3x3", dict(N=2, H=17, W=9, Cin=48, Cout=32)),
    ("linear", dict(N=7, Cin=5003, Cout=70)),
    ("linear", dict(N=37, Cin=130, Cout=205)),
    ("fusion", dict(N=3, H=12, W=11, Cm=40, Cg=24, Cout=33)),
    ("upsample2x", dict(N=2, H=5, W=7, C=33)),
])
def test_large(op, sizes, dtype):
    """More than a block, a panel, a run, with odd ends; through a derivative, as dz without one is dy itself."""
    known = helpers.LAYERS[op].settings
    for stride, activation in zip(known.get("stride", (None,)), ("relu", "sigmoid")):
        chosen = {"stride": stride, "activation": activation}
        check(drawn(op, sizes, **{k: v for k, v in chosen.items() if k in known}), dtype)


@st.composite
def winograd_sizes(draw):
    channels = st.sampled_from([32, 48, 64, 80])
    sizes = dict(N=draw(st.integers(1, 3)), H=draw(st.integers(4, 14)), W=draw(st.integers(4, 14)))
    return sizes | dict(Cin=draw(channels), Cout=draw(channels))


@DTYPES
@settings(max_examples=20)
@given(
    sizes=winograd_sizes(), stride=st.sampled_from([1, 2]), activation=st.sampled_from(ACTIVATIONS),
    seed=st.integers(0, 99),
)
def test_winograd(dtype, sizes, stride, activation, seed):
    """Tiles over every edge, also where they do not pay."""
    with mock.patch.object(winograd, "pays", return_value=True):
        check(drawn("conv3x3", sizes, seed, stride=stride, activation=activation), dtype, (THREADS[seed % 4],))


@DTYPES
@pytest.mark.parametrize("stride", [1, 2])
def test_winograd_in_blocks(stride, dtype):
    """Several blocks of tiles in each pass, the last of an odd number of tiles."""
    sizes = dict(N=3, H=31 * stride, W=33 * stride, Cin=32, Cout=96)
    how = method(np.dtype(dtype), stride, 32, 96, (3, 31, 33))
    assert (how.dw == "winograd") == (not LEVEL.tiles)
    check(drawn("conv3x3", sizes, stride=stride, activation="relu" if stride == 1 else "none"), dtype)


@pytest.mark.parametrize("op", ["conv3x3", "upsample2x_conv3x3", "linear"])
def test_float32_results_of_bfloat16(op):
    """Chroma and logits: y, and so dy, stay float32."""
    sizes = {"N": 3, "H": 6, "W": 7, "Cin": 20, "Cout": 5}
    check(drawn(op, sizes, activation="sigmoid"), bfloat16, (2,), wide=True)


@pytest.mark.parametrize("op", ["conv3x3", "upsample2x_conv3x3", "upsample2x", "linear", "fusion"])
@given(data=st.data())
@settings(max_examples=5)
def test_out(op, data):
    """Results go into whatever buffers are given: dense, with a border, of another layout or dtype."""
    sizes = dict(N=2, H=4, W=3, Cin=5, Cout=6, Cm=3, Cg=2, C=4)
    case = drawn(op, {k: sizes[k] for k in helpers.LAYERS[op].sizes}).converted(lambda k, a: a.astype(np.float32))
    want = helpers.results(case, "cpu")

    def buffer(a):
        place = data.draw(st.sampled_from(["dense", "border", "double", *strategies.LAYOUTS]))
        if place in strategies.LAYOUTS:
            return strategies.lay_out(np.full(a.shape, np.nan, np.float32), place)
        return allocate(a.shape, np.float32) if place == "border" else \
            np.full(a.shape, np.nan, np.float64 if place == "double" else np.float32)

    y = buffer(want["y"])
    assert helpers.forward(case, "cpu", out=y) is y
    buffers = tuple(buffer(want[k]) for k in helpers.LAYERS[op].gradients)
    found = helpers.backward(case, want["y"], "cpu", out=buffers if len(buffers) > 1 else buffers[0])
    for name, got, given_buffer in zip(["y", *helpers.LAYERS[op].gradients], (y, *found), (y, *buffers)):
        assert got is given_buffer, name
        np.testing.assert_array_equal(got, want[name], err_msg=name)
        got[...] = np.nan
        around = owner(got).view(np.ndarray)
        assert got.dtype != around.dtype or np.isnan(around).all(), f"{name}: what lies around was written to"


THROUGH = [
    ("conv3x3", dict(N=2, H=23, W=22, Cin=32, Cout=64), {"stride": 1}),
    ("conv3x3", dict(N=3, H=31, W=32, Cin=64, Cout=32), {"stride": 2}),
    ("conv3x3", dict(N=2, H=7, W=5, Cin=20, Cout=7), {"stride": 1}),
    ("conv3x3", dict(N=2, H=6, W=9, Cin=5, Cout=3), {"stride": 2}),
    ("conv3x3", dict(N=2, H=4, W=131, Cin=32, Cout=2), {"stride": 1}),
    ("conv3x3", dict(N=2, H=6, W=130, Cin=2, Cout=24), {"stride": 1}),
    ("upsample2x_conv3x3", dict(N=2, H=7, W=4, Cin=20, Cout=9), {}),
]


@DTYPES
@pytest.mark.parametrize("before", ACTIVATIONS)
@pytest.mark.parametrize("op, sizes, options", THROUGH)
def test_gradients_through_the_activation_before(op, sizes, options, before, dtype):
    """dx is that of the contract times the derivative, written over x or not; dw and db are what they are without."""
    left = {"none": lambda x: x, "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x))}[before]
    case = drawn(op, sizes, **options).converted(lambda k, a: left(a) if k == "x" else a)
    with Memory() as memory:
        stored = case.converted(lambda k, a: memory.place(k, a.astype(np.float32 if k == "b" else dtype)))
        y = helpers.forward(stored, "cpu")
        dx, dw, db = helpers.backward(stored, y, "cpu")
        x = stored.arguments["x"].copy()
        found = helpers.backward(stored, y, "cpu", through=before)
        memory.check()
        want = arrays.activation_backward(dx.astype(np.float64), x.astype(np.float64), before)
        if before == "sigmoid":  # rounded once more, and twice in the derivative
            roundings = 1.1 if dtype is bfloat16 else 4
            np.testing.assert_allclose(found[0].astype(np.float64), want, rtol=roundings * float(finfo(dtype).eps))
        else:
            np.testing.assert_array_equal(found[0].astype(np.float64), want)
        memory.inputs.clear()
        over = helpers.backward(stored, y, "cpu", through=before, out=(stored.arguments["x"], None, None))
        memory.check()
    assert over[0] is stored.arguments["x"]
    for once, again in zip((found[0], dw, db), over):
        np.testing.assert_array_equal(once, again)


@DTYPES
@pytest.mark.parametrize("op, sizes, options", THROUGH)
def test_dz_in_a_border_is_read_where_it_lies(op, sizes, options, dtype):
    """dy of no activation: the same bits from a buffer of `allocate` and from a copy, but for db's order of sums."""
    case = drawn(op, sizes, activation="none", **options)
    stored = case.converted(lambda k, a: border(k, a.astype(np.float32 if k == "b" else dtype)))
    y = helpers.forward(stored, "cpu")
    stored.arguments["dy"] = allocate(y.shape, dtype)
    stored.arguments["dy"][...] = case.arguments["dy"]
    assert whole(stored.arguments["dy"]) and not whole(stored.arguments["dy"][1:])
    dx, dw, db = helpers.backward(stored, y, "cpu")
    stored.arguments["dy"] = np.ascontiguousarray(stored.arguments["dy"])
    want = helpers.backward(stored, y, "cpu")
    np.testing.assert_array_equal(dx, want[0])
    np.testing.assert_array_equal(dw, want[1])
    np.testing.assert_allclose(db, want[2], rtol=1e-4, atol=1e-4)


@DTYPES
@pytest.mark.parametrize("sizes", [
    dict(N=1, Cin=5003, Cout=70), dict(N=7, Cin=9217, Cout=33), dict(N=37, Cin=5, Cout=64),
])
def test_weights_that_are_used_twice_are_not_kept(sizes, dtype):
    """The first two products after a refresh pack on the way: the same bits, and no form."""
    case = drawn("linear", sizes).converted(lambda k, a: a.astype(np.float32 if k == "b" else dtype))
    prepared = linear.prepare(case.arguments["w"], backend="cpu")
    first = helpers.forward(case, "cpu", prepared=prepared)
    np.testing.assert_array_equal(helpers.forward(case, "cpu", prepared=prepared), first)
    assert not prepared.forms
    for _ in range(2):
        np.testing.assert_array_equal(helpers.forward(case, "cpu", prepared=prepared), first)
    assert list(prepared.forms) == ["forward"]


@DTYPES
@pytest.mark.skipif(LEVEL.tiles, reason="takes the direct method")
def test_filters_that_are_used_twice_are_not_kept(dtype):
    case = drawn("conv3x3", dict(N=3, H=32, W=32, Cin=32, Cout=32), stride=1).converted(
        lambda k, a: a.astype(np.float32 if k == "b" else dtype))
    prepared = conv3x3.prepare(case.arguments["w"], backend="cpu")
    first = helpers.forward(case, "cpu", prepared=prepared)
    np.testing.assert_array_equal(helpers.forward(case, "cpu", prepared=prepared), first)
    assert not prepared.forms
    for _ in range(2):
        np.testing.assert_array_equal(helpers.forward(case, "cpu", prepared=prepared), first)
    assert len(prepared.forms) == 1


@pytest.mark.parametrize("shape", [(2, 9, 9, 32), (2, 5, 5, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_prepared_weights_are_refreshed(shape, stride):
    """`prepare(w, out=old)` makes every form stale; without it, what was prepared stays. Winograd's filters do from
    the third use on, those of dx never: they are made of w anew each time."""
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal(shape).astype(np.float32), np.zeros(shape[3], np.float32)
    w = rng.standard_normal((3, 3, shape[3], shape[3])).astype(np.float32)
    prepared = conv3x3.prepare(w, backend="cpu")

    def step():
        y = conv3x3.forward(x, w, b, stride, prepared=prepared, backend="cpu")
        return y, conv3x3.backward(y, x, w, y, stride, prepared=prepared, backend="cpu")[0]

    for _ in range(3):
        first = step()
    w *= 2
    how = method(x.dtype, stride, shape[3], shape[3], first[0].shape[:3])
    y, dx = step()
    np.testing.assert_array_equal(y, first[0])
    np.testing.assert_array_equal(dx, first[1] * (2 if how.dx == "winograd" else 1))
    assert conv3x3.prepare(w, out=prepared, backend="cpu") is prepared
    y, dx = step()
    np.testing.assert_array_equal(y, 2 * first[0])
    np.testing.assert_array_equal(dx, 4 * first[1])


@pytest.mark.parametrize("op", ["conv3x3", "upsample2x_conv3x3", "upsample2x", "linear", "fusion"])
def test_other_dtypes_are_rejected(op):
    case = drawn(op, dict(N=1, H=2, W=2, Cin=2, Cout=2, Cm=2, Cg=2, C=2))
    message = f"{op}: the cpu backend takes bfloat16 or float32, got float64; use backend='reference'"
    helpers.rejects(message, TypeError, helpers.forward, case, "cpu")
