"""The colorizer: luminance kept, the network fed as in training, sizes, styles, threads, arrays and PIL images."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from colorize import Colorizer, join
from colorize.colorizer import shrink
from colorize.join import Chroma, into_gamut
from colorize.picture import from_array, from_pil
from kernels import color
from nn import Network
from nn.resize import resize
from tests.drawn import draw
from tests.helpers import rejects
from tests.picture_files import WEIGHTS, grey, luminance


def network(**settings):
    """A tiny one, with random weights strong enough for colors."""
    net = Network(width=1 / 32, classes=("coast", "field", "town"), global_size=32, **settings)
    for layer in ("color.4", "class.1"):
        net.parameters.views[f"{layer}.weight"] *= 30
    net.refresh()
    return net


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
    exact = colorizer(rng.random((20, 30, 3)))
    assert exact.dtype == np.float64 and exact.min() >= 0 and exact.max() <= 1


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
                                                   (6, 300, (3.0, 8.0)), (5, 5, (5.0, 5.0))])  # fmt: skip
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
    monkeypatch.setattr("colorize.luminance.BAND", 300)
    assert np.array_equal(colorizer(photograph), whole)


# the network's side


@pytest.mark.parametrize("space", color.CHANNELS)
def test_the_network_sees_what_it_was_trained_on(space):
    colorizer = Colorizer(network(color_space=space, fusion="relu"), render_size="full")
    codes = np.random.default_rng(0).integers(0, 256, (32, 40, 1), dtype=np.uint8)
    seen, _ = color.encode(codes[None].repeat(3, -1), space)
    picture = from_array(codes)
    assert np.allclose(colorizer.encode(picture.luminance), seen[0, ..., 0], atol=1e-6)
    chroma, probabilities = colorizer.predict(picture.luminance)
    want, logits = colorizer.net.forward(seen)
    assert np.allclose(chroma.values, want[0], atol=1e-5) and chroma.extent == (16, 20)
    share = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert np.allclose(probabilities, share, atol=1e-5)
    assert np.allclose(picture.luminance, codes[..., 0] / 255)


def test_style_is_the_global_input_of_the_network(colorizer):
    photograph, style = np.asarray(draw(1, 48, 40)), draw(2, 90, 64)
    seen = colorizer.encode(shrink(from_pil(style).luminance, colorizer.render_size))
    content = colorizer.encode(from_array(photograph).luminance)
    want, _ = colorizer.net.forward(content[None, ..., None], resize(seen[None, ..., None], 32, 32))
    chroma, _ = colorizer.predict(from_array(photograph).luminance, from_pil(style).luminance)
    assert np.allclose(chroma.values, want[0], atol=1e-5)
    assert not np.array_equal(colorizer(photograph), colorizer(photograph, style=style))
    assert np.array_equal(colorizer(photograph), colorizer(photograph, style=photograph))


def test_blend_mixes_global_features(colorizer):
    photograph, style = draw(1, 48, 40), draw(2, 90, 64)
    own, mixed, foreign = (colorizer(photograph, style=style, blend=blend) for blend in (0, 0.5, 1))
    assert own == colorizer(photograph) and foreign == colorizer(photograph, style=style)
    vectors = [colorizer.look(shrink(from_pil(p).luminance, colorizer.render_size))[0] for p in (photograph, style)]
    seen = shrink(from_pil(photograph).luminance, colorizer.render_size)
    want = colorizer.color(seen, (vectors[0] + vectors[1]) / 2)
    chroma, _ = colorizer.predict(from_pil(photograph).luminance, from_pil(style).luminance, 0.5)
    assert np.allclose(chroma.values, want, atol=1e-5) and mixed.size == photograph.size
    rejects("colorize: blend must lie in [0, 1], got 2", ValueError, colorizer, photograph, style=style, blend=2)


def test_without_global_branch_there_are_neither_style_nor_classes():
    plain = Colorizer(Network(width=1 / 32, classes=2, global_size=0))
    assert plain.colorize(from_array(grey()), np.dtype(np.uint8), 255).probabilities is None
    rejects("colorize: these weights have no global branch, so no style can be taken from a picture",
            ValueError, plain, grey(), style=grey())  # fmt: skip


def test_probabilities_are_those_of_the_class_loss(colorizer):
    logits = np.array([-1000.0, 0.0, 3.0], np.float32)
    softmax = colorizer.probabilities(logits)
    assert np.isclose(softmax.sum(), 1) and np.allclose(softmax[1:], [1 / (1 + np.exp(3)), 1 / (1 + np.exp(-3))])
    sigmoid = Colorizer(network(class_loss="sigmoid")).probabilities(logits)
    assert np.allclose(sigmoid, [0, 0.5, 1 / (1 + np.exp(-3))])
    assert colorizer.scenes(softmax, 2) == [("town", softmax[2]), ("field", softmax[1])]
    assert [name for name, _ in colorizer.scenes(softmax, 99)] == ["town", "field", "coast"]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (13, 7), (3000, 1), (2, 2000), (450, 449)])
@pytest.mark.parametrize("render_size", ["full", None, 1, 24, 448])
def test_any_size(size, render_size, colorizer):
    if render_size == "full" and max(size) > 2000:
        return
    colored = Colorizer(colorizer.net, render_size=render_size)(grey(np.uint8, *size))
    assert colored.shape == (*size, 3) and colored.dtype == np.uint8
    assert np.abs(luminance(colored / 255) * 255 - grey(np.uint8, *size)).max() < 0.65


def test_rendering_smaller_gives_nearly_the_same_colors_of_a_smooth_picture(colorizer):
    photograph = np.asarray(draw(3, 320, 256).convert("L").resize((640, 512), Image.Resampling.BICUBIC))
    flat = np.full_like(photograph, 128)
    small, full = (Colorizer(colorizer.net, render_size=size)(flat) for size in (64, "full"))
    assert np.abs(small[100:-100, 100:-100].astype(int) - full[100:-100, 100:-100]).max() <= 2
    assert shrink(photograph / np.float32(255), 64).shape == (51, 64)


def test_the_default_size_is_that_of_training(colorizer):
    assert colorizer.render_size == 48, "3:2 of the 32 pixels that the global branch sees"
    assert Colorizer(Network(width=1 / 32, global_size=0)).render_size == 448


def test_weights_are_loaded_in_the_dtype_that_suits_the_backend(tmp_path, colorizer):
    colorizer.net.save(tmp_path / "tiny.safetensors")
    assert Colorizer(tmp_path / "tiny.safetensors", "reference").net.dtype == np.float32
    assert Colorizer(tmp_path / "tiny.safetensors", "reference", dtype="float64").net.dtype == np.float64


@pytest.mark.parametrize("height, width", [(250, 333), (330, 61)])
def test_tiles_do_not_show(colorizer, height, width, monkeypatch):
    """A network that may see 192 pixels at once colors as one that sees everything."""
    photograph = np.asarray(draw(3, width, height))
    whole = Colorizer(colorizer.net, render_size="full")
    monkeypatch.setattr(Colorizer, "tile_side", lambda *_: 192)
    tiled = Colorizer(colorizer.net, render_size="full")
    luminance = from_array(photograph).luminance
    got, probabilities = tiled.predict(luminance)
    monkeypatch.undo()
    want, expected = whole.predict(luminance)
    assert got.extent == want.extent and np.abs(got.values - want.values).max() < 2e-5
    assert np.array_equal(probabilities, expected)


def test_shrinking_in_bands_is_shrinking_at_once(monkeypatch):
    codes = np.random.default_rng(0).random((200, 300), np.float32)
    want = np.asarray(Image.fromarray(codes).resize((120, 80), Image.Resampling.BILINEAR))
    monkeypatch.setattr("colorize.luminance.BAND", 1000)
    assert np.array_equal(shrink(codes, 120), want)


def test_saturation(colorizer):
    photograph = np.asarray(draw(4))
    assert np.ptp(colorizer(photograph, saturation=0).astype(int), axis=-1).max() <= 1, "grey"
    spread = [np.ptp(colorizer(photograph, saturation=s).astype(int), axis=-1).mean() for s in (0, 0.5, 1, 2)]
    assert spread == sorted(spread) and spread[3] > spread[1]
    values = np.random.default_rng(0).random((3, 4, 3))
    assert np.allclose(join.saturate(values, "rgb", 0) @ color.LUMA, values @ color.LUMA)
    rejects("colorize: saturation must be at least 0, got -1", ValueError, colorizer, photograph, saturation=-1)


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
            np.zeros((3, 3, 5)))  # fmt: skip
    rejects("colorize: an array must be [H, W] or [H, W, 1 to 4], got [0, 3]", ValueError, colorizer, np.zeros((0, 3)))
    rejects("colorize: a float array must lie in [0, 1], got 0 to 2", ValueError, colorizer, np.array([[0.0, 2.0]]))
    rejects("colorize: a float array must lie in [0, 1], got nan to nan", ValueError, colorizer, np.array([[np.nan]]))
    for size in (0, "big"):
        rejects(f"colorize: render_size must be at least 1 or 'full', got {size!r}", ValueError,
                Colorizer, colorizer.net, None, size)  # fmt: skip


def test_threads_take_turns(colorizer):
    photographs = [np.asarray(draw(i, 30 + 8 * i, 40)) for i in range(4)] * 3
    alone = [colorizer(photograph) for photograph in photographs]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(colorizer, photographs))
    assert all(map(np.array_equal, alone, together))
