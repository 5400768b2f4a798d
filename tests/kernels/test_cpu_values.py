"""Numbers that the cpu backend meets seldom: NaN, infinity, ends of activations, halves of a unit; and identities."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

from ltbc.kernels import conv3x3, linear, upsample2x
from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.conv3x3 import winograd
from tests.tools.cpu_checks import border, drawn
from tests.tools.cpu_memory import Memory

DTYPES = pytest.mark.parametrize("dtype", [bfloat16, np.float32])
SMALLEST = 2.0**-126  # of float32 and of bfloat16; what is nearer to 0 may be taken for 0


def special():
    """float32 at and around every step of rounding to bfloat16: halves, NaN, infinities, the largest."""
    signs, exponents = np.array([0, 1 << 31]), np.array([0, 1, 100, 126, 127, 128, 200, 254, 255]) << 23
    highs = np.array([0, 1, 2, 63, 64, 126, 127]) << 16
    lows = np.array([0, 1, 2, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    bits = (signs[:, None, None, None] | exponents[:, None, None] | highs[:, None] | lows).ravel()
    return bits.astype(np.uint32).view(np.float32)


def assert_same_bits(got, want, where):
    nan = np.isnan(want)
    assert np.isnan(got[nan]).all() and not np.isnan(got[~nan]).any(), "NaN stays NaN, and nothing else becomes it"
    kind = f"u{want.itemsize}"
    sure = ~nan & (np.abs(where.astype(np.float64)) >= SMALLEST)
    np.testing.assert_array_equal(got[sure].view(kind), want[sure].view(kind))
    assert (np.abs(got[~nan & ~sure].astype(np.float64)) <= SMALLEST).all()


@pytest.mark.parametrize("channels", [16, 21])  # whole vectors, and parts of one
@pytest.mark.parametrize("source, stored", [(np.float32, bfloat16), (bfloat16, np.float32), (bfloat16, bfloat16)])
def test_conversions(source, stored, channels):
    """To nearest, halves to even."""
    with np.errstate(over="ignore"):
        x = special().astype(source)
    x = np.resize(x, (1, 1, -(-x.size // channels), channels))
    out = border("y", np.zeros((1, 2, 2 * x.shape[2], channels), stored))
    upsample2x.forward(x, out=out, backend="cpu")
    for y in (out[:, :1, ::2], out[:, 1:, 1::2]):
        with np.errstate(over="ignore"):
            assert_same_bits(y, x.astype(stored), x)


ENDS = np.array([0, 1e-30, 1e-3, 0.5, 1, 5, 16, 17, 30, 60, 86.9, 87, 87.5, 88, 88.5, 89, 100, 200, 1e4, 1e30, np.inf])
ENDS = np.concatenate([ENDS, -ENDS, [np.nan]])
EXACT = {"none": lambda z: z, "relu": lambda z: np.maximum(z, 0), "sigmoid": lambda z: 1 / (1 + np.exp(-z))}


@DTYPES
@pytest.mark.parametrize("outputs", [3, 40])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_ends_of_activations(activation, outputs, dtype):
    x = ENDS.astype(dtype)[:, None]
    w, b = np.zeros((1, outputs), dtype) + dtype(1), np.zeros(outputs, np.float32)
    got = linear.forward(x, w, b, activation, backend="cpu")
    with np.errstate(over="ignore"):
        want = np.broadcast_to(EXACT[activation](x.astype(float)), got.shape)
    rounded = {bfloat16: 2.0**-8, np.float32: 4 * 2.0**-24}[dtype]
    np.testing.assert_allclose(got.astype(float), want, rtol=rounded, atol=1e-37)  # clamped at -88


@DTYPES
@pytest.mark.parametrize("cin, cout", [(1, 37), (2, 64), (20, 2), (40, 2), (72, 1), (20, 1), (5, 7), (32, 40)])
def test_nan_stays_within_its_windows(cin, cout, dtype):
    """Vectors that reach beyond a pixel's channels take nothing from its neighbors, forward and backward."""
    case = drawn("conv3x3", dict(N=1, H=5, W=9, Cin=cin, Cout=cout), activation="none")
    x, w, b = (case.arguments[k].astype(np.float32 if k == "b" else dtype) for k in "xwb")
    want = np.zeros((5, 9), bool)
    want[1:4, 3:6] = True
    with Memory() as memory:
        x = memory.place("x", x)
        dy = memory.place("dy", case.arguments["dy"].astype(dtype))
        x[0, 2, 4] = dy[0, 2, 4] = np.nan
        y = conv3x3.forward(x, w, b, activation="none", backend="cpu")
        dx = conv3x3.backward(dy, x, w, y, activation="none", backend="cpu")[0]
    for result in (y, dx):
        np.testing.assert_array_equal(np.isnan(result[0].astype(np.float32)),
                                      np.broadcast_to(want[..., None], result.shape[1:]))


@pytest.mark.parametrize("of", winograd.ALGORITHMS[:3])
def test_winograds_algorithms_are_identities(of):
    """Outputs, and the weight gradient of the same matrices, in exact numbers; whichever this CPU chooses."""
    rng = np.random.default_rng(0)
    stride = of.step // of.m
    x, w, dy = (rng.integers(-9, 9, n).astype(float) for n in (of.bt.shape[1], 3, of.m))
    windows = np.array([x[i * stride : i * stride + 3] for i in range(of.m)])
    np.testing.assert_allclose(of.a.T @ ((of.g @ w) * (of.bt @ x)), windows @ w, rtol=0, atol=1e-11)
    np.testing.assert_allclose(of.g.T @ ((of.a @ dy) * (of.bt @ x)), windows.T @ dy, rtol=0, atol=1e-11)


def test_winograds_data_gradient_of_stride_2_is_an_identity():
    of, rng = winograd.STRIDE2_DX, np.random.default_rng(0)
    dy, w = rng.integers(-9, 9, 3).astype(float), rng.integers(-9, 9, 3).astype(float)
    dx = np.zeros(8)  # within a border of one
    for i in range(3):
        dx[2 * i : 2 * i + 3] += dy[i] * w
    np.testing.assert_allclose(of.a.T @ ((of.g @ w) * (of.bt @ dy)), dx[1:5], rtol=0, atol=1e-11)
