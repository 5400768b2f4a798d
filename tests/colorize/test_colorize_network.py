"""The colorizer and its network: what it sees, in which size, with which style; classes, tiles, saturation."""

import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import Colorizer, join
from ltbc.colorize.colorizer import shrink
from ltbc.colorize.picture import from_array, from_pil
from ltbc.kernels import color
from ltbc.nn import Network, WeightsError
from ltbc.nn.resize import resize
from tests.tools.drawn import draw
from tests.tools.helpers import rejects
from tests.tools.picture_files import grey, luminance, network


@pytest.fixture(scope="module")
def colorizer():
    return Colorizer(network())


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
    want = colorizer.chroma_of(seen, (vectors[0] + vectors[1]) / 2)
    chroma, _ = colorizer.predict(from_pil(photograph).luminance, from_pil(style).luminance, 0.5)
    assert np.allclose(chroma.values, want, atol=1e-5) and mixed.size == photograph.size
    rejects("colorize: blend must be a number in [0, 1], got 2", ValueError, colorizer, photograph, style=style,
            blend=2)


def test_without_global_branch_there_are_neither_style_nor_classes():
    plain = Colorizer(Network(width=1 / 32, classes=2, global_size=0))
    assert plain.colorize(from_array(grey()), np.dtype(np.uint8), 255).probabilities is None
    rejects("colorize: these weights have no global branch, so no style can be taken from a picture",
            ValueError, plain, grey(), style=grey())


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


def test_the_default_size_is_three_times_what_the_global_branch_sees(colorizer):
    assert colorizer.render_size == 3 * 32
    assert Colorizer(Network(width=1 / 32, global_size=0)).render_size == 448


def test_weights_are_loaded_in_the_dtype_that_suits_the_backend(tmp_path, colorizer):
    colorizer.net.save(tmp_path / "tiny.safetensors")
    assert Colorizer(tmp_path / "tiny.safetensors", "reference").net.dtype == np.float32
    assert Colorizer(tmp_path / "tiny.safetensors", "reference", dtype="float64").net.dtype == np.float64


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_default_weights_lie_beside_the_program_in_float16(tmp_path, monkeypatch, colorizer, backend):
    path = tmp_path / "weights.safetensors"
    monkeypatch.setattr("ltbc.colorize.colorizer.WEIGHTS", path)
    with pytest.raises(WeightsError, match="^colorize: no weights: name a file"):
        Colorizer()
    colorizer.net.save(path, np.float16)
    ours = Colorizer(backend=backend, dtype="float32")
    want = Network.load(path)
    for name, view in ours.net.parameters.views.items():
        assert view.dtype == np.float32 and np.array_equal(view, want.parameters.views[name])
        assert np.array_equal(view, colorizer.net.parameters.views[name].astype(np.float16))
    photograph = np.asarray(draw(1))
    assert np.abs(ours(photograph).astype(int) - Colorizer(want)(photograph)).max() <= 1


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
    monkeypatch.setattr("ltbc.colorize.luminance.BAND", 1000)
    assert np.array_equal(shrink(codes, 120), want)


def test_saturation(colorizer):
    photograph = np.asarray(draw(4))
    assert np.ptp(colorizer(photograph, saturation=0).astype(int), axis=-1).max() <= 1, "grey"
    spread = [np.ptp(colorizer(photograph, saturation=s).astype(int), axis=-1).mean() for s in (0, 0.5, 1, 2)]
    assert spread == sorted(spread) and spread[3] > spread[1]
    values = np.random.default_rng(0).random((3, 4, 3))
    assert np.allclose(join.saturate(values, "rgb", 0) @ color.LUMA, values @ color.LUMA)
    rejects("colorize: saturation must be a finite number, at least 0, got -1", ValueError, colorizer, photograph,
            saturation=-1)
