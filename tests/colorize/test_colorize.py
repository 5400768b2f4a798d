"""The colorizer: luminance kept, the network fed as in training, sizes, styles, threads, arrays and PIL images."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ltbc.colorize import Colorizer, join
from ltbc.colorize.join import Chroma, into_gamut
from ltbc.kernels import color
from tests.tools.drawn import draw
from tests.tools.helpers import rejects
from tests.tools.picture_files import WEIGHTS, luminance, network


@pytest.fixture(scope="module")
def colorizer():
    return Colorizer(network())


@pytest.mark.parametrize("space", color.CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_luminance_of_every_pixel_stays_within_one_code(space, dtype):
    """Every grey code of 8 bits (of 16 bits every 64th and the darkest) with chroma as extreme as the network's."""
    white = np.iinfo(dtype).max
    codes = np.arange(256) if dtype == np.uint8 else np.r_[:2048, 2048:65536:64, 65535]
    grey_codes = np.repeat(codes[None] / white, 64, 0).astype(np.float32)
    values = np.random.default_rng(0).random((32, len(codes) // 2, color.CHANNELS[space])).round(1)
    pixels, forced = join.join(grey_codes, Chroma(values, values.shape[:2], space), np.dtype(dtype), white)
    change = np.abs(luminance(pixels / white) * white - codes)
    assert change.max() < 0.65  # the rounding of three codes, weighted as the luminance is
    assert pixels.dtype == dtype and 0.2 < forced / pixels[..., 0].size < 1
    assert (pixels.max(-1) - pixels.min(-1).astype(int)).mean() > white / 20, "there is color"


def test_luminance_of_photographs_is_kept(colorizer):
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16):
        white = np.iinfo(dtype).max
        photograph = rng.integers(0, white + 1, (61, 83, 3)).astype(dtype)
        for saturation in (1, 9):
            colored = colorizer(photograph, saturation=saturation)
            assert np.abs(luminance(colored / white) - luminance(photograph / white)).max() * white < 0.65
    photograph = rng.random((20, 30, 3))
    exact = colorizer(photograph)
    assert exact.dtype == np.float64 and np.abs(luminance(exact) - luminance(photograph)).max() < 1e-6


@given(st.integers(0, 10_000))
def test_the_gamut_pulls_no_further_than_it_must(seed):
    rng = np.random.default_rng(seed)
    y, linear = rng.random((5, 5)), rng.normal(0.5, 1, (5, 5, 3))
    y.flat[:2] = 0, 1
    inside, forced = into_gamut(y, linear)
    assert inside.min() >= 0 and inside.max() <= 1 and np.allclose(inside @ WEIGHTS, y, atol=1e-12)
    wanted = linear + (y - linear @ WEIGHTS)[..., None]
    outside = ((wanted < 0) | (wanted > 1)).any(-1)
    kept = np.linalg.norm(inside - y[..., None], axis=-1) / np.linalg.norm(wanted - y[..., None], axis=-1)
    assert forced == (kept < 0.999).sum() and np.allclose(inside[~outside], wanted[~outside], atol=1e-12)
    touches = np.isclose(inside, 0, atol=1e-9) | np.isclose(inside, 1, atol=1e-9)
    assert touches[outside].any(-1).all(), "pulled to the edge, not beyond"
    assert np.allclose(np.cross(inside - y[..., None], wanted - y[..., None]), 0, atol=1e-9), "straight to grey"


def test_colors_of_sRGB_come_through_unchanged():
    """Chroma encoded from a colored picture at full size, joined with its luminance, is that picture."""
    photograph = np.asarray(draw(0, 64, 48))
    doubled = np.repeat(np.repeat(photograph, 2, 0), 2, 1)  # so that the 2x2 means are the pixels' own chroma
    chroma = color.encode(doubled[None], "lab", dtype=np.float64)[1][0]
    codes = luminance(photograph / 255).astype(np.float32)
    pixels, forced = join.join(codes, Chroma(chroma, chroma.shape[:2], "lab"), np.dtype(np.uint8), 255)
    assert np.array_equal(pixels, photograph) and not forced


@pytest.mark.parametrize("height, width, extent", [(7, 9, (2.5, 3.0)), (1, 1, (0.5, 0.5)), (40, 3, (20.0, 1.5)),
                                                   (6, 300, (3.0, 8.0)), (5, 5, (5.0, 5.0))])
def test_bilinear_against_a_literal_loop(height, width, extent):
    rng = np.random.default_rng(0)
    values = rng.random((int(np.ceil(extent[0])) + 2, int(np.ceil(extent[1])) + 3, 2))  # padding that must not show
    chroma = Chroma(values, extent, "lab")
    got = join.bilinear(chroma, np.empty((height, width)), slice(0, height), width)
    for i in range(height):
        for j in range(width):
            want = 0.0
            at = []
            for place, size, covered in ((i, height, extent[0]), (j, width, extent[1])):
                last = int(np.ceil(covered)) - 1
                at.append(min(max((place + 0.5) / size * covered - 0.5, 0), last))
            for di in (0, 1):
                for dj in (0, 1):
                    i0, j0 = int(at[0]) + di, int(at[1]) + dj
                    share = (1 - abs(at[0] - i0)) * (1 - abs(at[1] - j0))
                    if share > 0:
                        want = want + share * values[i0, j0]
            assert np.allclose(got[i, j], want)
    band = join.bilinear(chroma, np.empty((height, width)), slice(height // 2, height), width)
    assert np.array_equal(band, got[height // 2 :])


def test_bands_and_threads_do_not_show(colorizer, monkeypatch):
    photograph = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    whole = colorizer(photograph)
    monkeypatch.setattr("ltbc.colorize.luminance.BAND", 300)
    assert np.array_equal(colorizer(photograph), whole)


# arrays and PIL images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_give_arrays_of_their_dtype(dtype, channels, colorizer):
    values = np.random.default_rng(0).random((9, 11) if channels is None else (9, 11, channels))
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    image = (values * white).astype(dtype)
    colored = colorizer(image[:, ::-1])
    assert colored.dtype == dtype and colored.shape == (9, 11, 4 if channels in (2, 4) else 3)
    if channels in (2, 4):
        assert np.allclose(colored[..., 3], image[:, ::-1, -1], atol=1e-6)


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "La", "RGBX", "CMYK", "YCbCr", "HSV", "I;16", "I", "F")


@pytest.mark.parametrize("mode", MODES)
def test_pil_images_of_every_mode(mode, colorizer):
    image = draw(5, 20, 10)
    if mode in ("I;16", "I", "F"):
        codes = np.asarray(image.convert("L"))
        image = Image.fromarray(codes / np.float32(255) if mode == "F" else codes.astype(np.uint16) * 257).convert(mode)
        want = codes / 255
    else:
        if mode[-1] in "aA":
            image.putalpha(200)
        between = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode)
        image = image.convert(between).convert(mode) if between else image.convert(mode)
        plain = image.convert("LA") if mode == "La" else image
        want = luminance(np.asarray(plain.convert("RGBA").convert("RGB")) / 255)
    colored = colorizer(image)
    assert colored.mode == ("RGBA" if mode[-1] in "aA" else "RGB") and colored.size == image.size
    assert np.abs(luminance(np.asarray(colored)[..., :3] / 255) - want).max() * 255 < 0.7


def test_what_is_no_picture_is_told(colorizer):
    rejects("colorize: an image must be a PIL image or a NumPy array, got str", TypeError, colorizer, "photo.jpg")
    rejects("colorize: an array must be uint8, uint16 or float, got int64", TypeError, colorizer, np.zeros((3, 3), int))
    rejects("colorize: an array must be [H, W] or [H, W, 1 to 4], got [3, 3, 5]", ValueError, colorizer,
            np.zeros((3, 3, 5)))
    rejects("colorize: an array must be [H, W] or [H, W, 1 to 4], got [0, 3]", ValueError, colorizer, np.zeros((0, 3)))
    rejects("colorize: a float array must lie in [0, 1], got 0 to 2", ValueError, colorizer, np.array([[0.0, 2.0]]))
    rejects("colorize: a float array must lie in [0, 1], got nan to nan", ValueError, colorizer, np.array([[np.nan]]))
    for size, error in ((0, ValueError), ("big", TypeError)):
        rejects(f"colorize: render_size must be a whole number of pixels, at least 1, or 'full', got {size!r}", error,
                Colorizer, colorizer.net, None, size)


def test_threads_take_turns(colorizer):
    photographs = [np.asarray(draw(i, 30 + 8 * i, 40)) for i in range(4)] * 3
    alone = [colorizer(photograph) for photograph in photographs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(colorizer, photographs))
    assert all(map(np.array_equal, alone, together))
