"""color against scikit-image, and there and back; the rest is in `test_operations.py`.

Our white point is M (1, 1, 1), so that grey has no chroma; scikit-image takes CIE's (0.95047, 1, 1.08883). The two
differ in the fifth digit, which moves a* and b* by up to 5e-3. With our white put into its XYZ they agree closely.
"""

import numpy as np
import pytest
import skimage.color
from hypothesis import given
from hypothesis import strategies as st

from ltbc.kernels import color, upsample2x
from ltbc.kernels.color import reference

SPACES = sorted(color.CHANNELS)
GREYS = np.linspace(0, 1, 101)[:, None] * np.ones(3)


def pixels(seed, shape, dtype=np.float64):
    rgb = np.random.default_rng(seed).random((*shape, 3))
    return (rgb * np.iinfo(dtype).max).round().astype(dtype) if np.dtype(dtype).kind == "u" else rgb.astype(dtype)


@pytest.fixture(scope="module")
def cube():
    """All colors in steps of 1/24, among them black, white and the primaries."""
    axis = np.linspace(0, 1, 25)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)


def test_lab_of_scikit_image(cube):
    lab = reference.rgb_to_lab(cube)
    np.testing.assert_allclose(lab, skimage.color.rgb2lab(cube), atol=6e-3)
    np.testing.assert_allclose(lab[..., 0], skimage.color.rgb2lab(cube)[..., 0], atol=1e-3)
    theirs = skimage.color.xyz_tristimulus_values(illuminant="D65", observer="2", dtype=float)
    ours = skimage.color.xyz2lab(skimage.color.rgb2xyz(cube) * (theirs / color.WHITE))
    np.testing.assert_allclose(lab, ours, atol=2e-4)  # scikit-image rounds (6/29)^3 and the slope below it


def test_rgb_of_scikit_image(cube):
    lab = skimage.color.rgb2lab(cube)
    np.testing.assert_allclose(reference.lab_to_rgb(lab), skimage.color.lab2rgb(lab), atol=5e-4)  # the white
    np.testing.assert_allclose(reference.lab_to_rgb(reference.rgb_to_lab(cube)), cube, atol=1e-6)


def test_yuv_of_scikit_image(cube):
    yuv = reference.rgb_to_yuv(cube)
    np.testing.assert_allclose(yuv, skimage.color.rgb2yuv(cube), atol=1e-6)
    np.testing.assert_allclose(reference.yuv_to_rgb(yuv), cube, atol=1e-12)
    ends = yuv[..., 1].max(), yuv[..., 1].min(), yuv[..., 2].max(), yuv[..., 2].min()
    np.testing.assert_allclose(ends, (0.436, -0.436, 0.615, -0.615), atol=1e-3)
    np.testing.assert_allclose((color.U_RANGE, color.V_RANGE), (ends[0] - ends[1], ends[2] - ends[3]), atol=1e-3)


@pytest.mark.parametrize("name, rgb, lab", [  # Bruce Lindbloom's calculator, sRGB, D65
    ("white", (1, 1, 1), (100, 0, 0)),
    ("black", (0, 0, 0), (0, 0, 0)),
    ("red", (1, 0, 0), (53.24, 80.09, 67.20)),
    ("green", (0, 1, 0), (87.73, -86.18, 83.18)),
    ("blue", (0, 0, 1), (32.30, 79.19, -107.86)),
])
def test_known_colors(name, rgb, lab):
    np.testing.assert_allclose(reference.rgb_to_lab(np.array(rgb, float)), lab, atol=0.01)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_there_and_back(space, dtype):
    """Blocks of 2x2 equal pixels lose nothing at half resolution: decode gives the pixels that encode got."""
    rgb = upsample2x.forward(pixels(0, (2, 4, 5), dtype).astype(float)).astype(dtype)
    luminance, chroma = color.encode(rgb, space, dtype=np.float64)
    assert chroma.shape == (2, 4, 5, color.CHANNELS[space])
    decoded = color.decode(luminance, upsample2x.forward(chroma), space)
    np.testing.assert_allclose(decoded * (1 if dtype == np.float64 else np.iinfo(dtype).max), rgb, atol=1e-3)


@pytest.mark.parametrize("space", SPACES)
def test_decode_keeps_the_luminance(space):
    """Whatever chroma is predicted, also where it leads out of sRGB: nothing is clipped."""
    rng = np.random.default_rng(0)
    luminance, chroma = rng.uniform(-0.9, 0.9, (1, 8, 8, 1)), rng.random((1, 8, 8, color.CHANNELS[space]))
    rgb = color.decode(luminance, chroma, space)
    assert rgb.min() < 0 or rgb.max() > 1
    np.testing.assert_allclose(color.encode(rgb, space, dtype=np.float64)[0], luminance, atol=1e-6)


@pytest.mark.parametrize("space", ["lab", "yuv"])
def test_grey_has_no_chroma(space):
    rgb = GREYS.repeat(2, 0)[None, :, None].repeat(2, 2)
    luminance, chroma = color.encode(rgb, space, dtype=np.float64)
    np.testing.assert_allclose(chroma, 0.5, atol=1e-12)
    assert luminance.min() == pytest.approx(-1) and luminance.max() == pytest.approx(1)


@pytest.mark.parametrize("space", SPACES)
def test_results_fill_their_ranges(space, cube):
    """Chroma of sRGB colors lies in [0, 1] and uses most of it; yuv and rgb reach both ends."""
    rgb = upsample2x.forward(cube.reshape(1, 125, 125, 3))
    luminance, chroma = color.encode(rgb, space, dtype=np.float64)
    assert luminance.min() == pytest.approx(-1) and luminance.max() == pytest.approx(1)
    assert -1e-3 < chroma.min() < 0.11 and 0.94 < chroma.max() < 1 + 1e-3


@given(seed=st.integers(0, 99), flip=st.booleans())
def test_a_crop_of_the_codes_is_the_crop_of_the_result(seed, flip):
    """Also for crops at odd corners, whose 2x2 blocks are others than the image's."""
    rgb = pixels(seed, (2, 7, 9), np.uint8)
    top, left, flips = np.array([0, 3]), np.array([3, 1]), np.array([flip, not flip])
    luminance, chroma = color.encode(rgb, "lab", top, left, flips, (4, 6))
    for m in range(2):
        crop = rgb[m, top[m] : top[m] + 4, left[m] : left[m] + 6]
        alone = color.encode(np.ascontiguousarray(crop[:, ::-1] if flips[m] else crop)[None])
        np.testing.assert_array_equal(luminance[m], alone[0][0])
        np.testing.assert_array_equal(chroma[m], alone[1][0])
