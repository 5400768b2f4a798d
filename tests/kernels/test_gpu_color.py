"""The gpu backend of color against the reference, under Triton's interpreter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import color
from tests.tools import helpers, pointwise
from tests.tools.interpreter import place, same_bits, watched

TILE = {"BLOCK": 16}
DTYPES = (np.uint8, np.uint16, np.float32, np.float16)


@settings(max_examples=40)
@given(case=pointwise.cases("color", dtypes=DTYPES), storage=st.sampled_from([np.float32, np.float16, bfloat16]))
def test_color(case, storage):
    with watched(**TILE) as target:
        pointwise.check_backend(case, "gpu", np.dtype(storage).name, storage, place=lambda name, a: place(a))
    assert target.launches == ["encode_kernel", "decode_kernel"]


@pytest.mark.parametrize("space", color.CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_crops(space, dtype):
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, np.iinfo(dtype).max + 1, (3, 9, 12, 3)).astype(dtype)
    places = {"top": np.array([0, 2, 3]), "left": np.array([3, 0, 1]), "flip": np.array([True, False, True])}
    case = helpers.Case("color", {}, {"rgb": rgb, **places}, {"space": space, "size": (6, 8)})
    with watched(**TILE):
        pointwise.check_backend(case, "gpu", "float32", np.float32, place=lambda name, a: place(a))


@pytest.mark.parametrize("space", color.CHANNELS)
def test_every_order_of_programs(space):
    rgb = place(np.random.default_rng(0).integers(0, 256, (3, 9, 11, 3)).astype(np.uint8))
    places = {"top": np.array([0, 1, 3]), "left": np.array([2, 0, 1]), "flip": np.array([True, False, True])}
    places = {k: place(a) for k, a in places.items()}
    same_bits(lambda: color.encode(rgb, space, **places, size=(6, 8), backend="gpu"), **TILE)


def test_the_tables_own_tiles_and_every_code():
    codes = np.arange(256, dtype=np.uint8)
    rgb = place(np.stack([codes, codes[::-1], np.roll(codes, 99)], -1).reshape(1, 16, 16, 3))
    with watched():
        luminance, chroma = color.encode(rgb, backend="gpu")
    want = color.encode(rgb, dtype=np.float64)
    np.testing.assert_allclose(luminance, want[0], atol=2e-6)
    np.testing.assert_allclose(chroma, want[1], atol=2e-6)


def test_out_is_filled():
    rgb = place(np.random.default_rng(1).random((2, 4, 4, 3)), np.float32)
    out = place(np.zeros((2, 4, 4, 1)), bfloat16), place(np.zeros((2, 2, 2, 3)), np.float32)
    with watched(**TILE):
        found = color.encode(rgb, "rgb", out=out, backend="gpu")
    assert found[0] is out[0] and found[1] is out[1]
    np.testing.assert_allclose(out[1], color.encode(rgb, "rgb")[1], rtol=1e-6)


def test_a_corner_outside_shows_as_nan():
    """Corners on a GPU are not looked at before the launch; the kernel never reads outside the picture."""
    from ltbc.kernels.color import gpu

    rgb = place(np.ones((2, 4, 4, 3)), np.float32)
    with watched(**TILE):
        luminance, chroma = gpu.encode(rgb, "lab", place(np.array([0, 3])), None, None, (2, 2))
    assert np.isfinite(luminance[0]).all() and np.isfinite(chroma[0]).all()
    assert np.isnan(luminance[1, 1]).all() and np.isfinite(luminance[1, 0]).all() and np.isnan(chroma[1]).all()


def test_results_in_float64_are_refused():
    message = "color: backend gpu computes in bfloat16, float16, float32; luminance is float64"
    with watched():
        helpers.rejects(message, TypeError, color.encode, np.zeros((1, 4, 4, 3), np.uint8), dtype=float, backend="gpu")
