"""Chroma to full size, guided by luminance: against a literal loop, edges kept, and better than bilinear."""

import re

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from ltbc.colorize import Colorizer, join
from ltbc.colorize.experiments import render_sizes, upsampling
from ltbc.colorize.join import Chroma
from ltbc.colorize.picture import from_array
from ltbc.nn import Network
from tests import ROOT
from tests.tools.picture_files import grey, luminance, network

PHOTOGRAPHS = sorted((ROOT / "train/photographs/held_out").glob("*/*.jpg"))


@pytest.mark.parametrize("height, width, extent", [(7, 9, (2.5, 3.0)), (1, 1, (0.5, 0.5)), (12, 5, (6.0, 2.5)),
                                                   (5, 5, (5.0, 5.0))])
def test_guided_against_a_literal_loop(height, width, extent):
    rng = np.random.default_rng(0)
    shape = int(np.ceil(extent[0])), int(np.ceil(extent[1]))
    chroma = Chroma(rng.random((*shape, 2)), extent, "lab", rng.random(shape, np.float32))
    luminance = rng.random((height, width), np.float32)
    got = join.guided(chroma, luminance, slice(0, height), width)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) / height * extent[0] - 0.5, 0), shape[0] - 1)
            x = min(max((j + 0.5) / width * extent[1] - 0.5, 0), shape[1] - 1)
            total, weights = 0.0, 0.0
            for a in range(shape[0]):
                for b in range(shape[1]):
                    weight = max(0, 1 - abs(y - a)) * max(0, 1 - abs(x - b))
                    weight *= np.exp(-((luminance[i, j] - chroma.guide[a, b]) ** 2) / (2 * join.SPREAD**2))
                    total, weights = total + weight * chroma.values[a, b], weights + weight
            assert np.allclose(got[i, j], total / weights, atol=1e-5)
    assert np.array_equal(join.guided(chroma, luminance, slice(height // 2, height), width), got[height // 2 :])


def test_color_stays_on_its_side_of_an_edge_between_black_and_white():
    luminance = np.repeat(np.array([0.0, 1.0], np.float32), 12)[None].repeat(16, 0)
    side = np.array([0.2, 0.2, 0.2, 0.8, 0.8, 0.8])[None].repeat(4, 0)[..., None]  # the chroma changes where it does
    chroma = Chroma(side, side.shape[:2], "lab", np.repeat(np.array([0.0, 1.0], np.float32), 3)[None].repeat(4, 0))
    bled = np.abs(join.bilinear(chroma, luminance, slice(0, 16), 24)[:, 11, 0] - 0.2).max()
    kept = np.abs(join.guided(chroma, luminance, slice(0, 16), 24)[:, 11, 0] - 0.2).max()
    assert bled > 0.2 and kept < 0.01


def test_the_guide_is_what_the_network_saw_halved():
    codes = np.random.default_rng(0).random((7, 10), np.float32)
    guide = join.halved(codes)
    assert guide.shape == (4, 5)
    assert np.allclose(guide[:3], codes[:6].reshape(3, 2, 5, 2).mean((1, 3)), atol=1e-6)
    assert np.allclose(guide[3], codes[6].reshape(5, 2).mean(1), atol=1e-6)
    tiny = Colorizer(Network(width=1 / 32, classes=2, global_size=32))
    chroma, _ = tiny.predict(codes)
    assert np.array_equal(chroma.guide, guide) and chroma.values.shape[:2] == guide.shape


def test_the_colorizer_upsamples_by_the_guide(monkeypatch):
    tiny, codes = Colorizer(network(), "reference"), np.random.default_rng(0).random((40, 56), np.float32)
    chroma, _ = tiny.predict(codes)
    how = codes, chroma, np.dtype(np.uint8), 255
    guided, bilinear = (join.join(*how, way)[0] for way in (join.guided, join.bilinear))
    assert np.array_equal(join.join(*how)[0], guided) and (guided != bilinear).any()
    assert np.array_equal(tiny.colorize(from_array(codes), *how[2:]).pixels, guided)
    without = chroma._replace(guide=None)
    assert np.array_equal(join.join(codes, without, *how[2:])[0], bilinear), "where there is no guide"


def test_guided_is_better_than_bilinear_on_photographs():
    """Of true chroma at half and quarter size: everywhere, and at the steepest tenth of the pixels."""
    errors = [upsampling.measured(upsampling.opened(path)) for path in PHOTOGRAPHS[:4]]
    for block in upsampling.BLOCKS:
        bilinear, guided = (np.mean([e[name, block] for e in errors], 0) for name in ("bilinear", "guided"))
        assert (guided < bilinear).all(), block


def literal_errors(pixels, block, bring_back):
    """RMSE of a* and b* of everything and of the pixels with the steepest luminance, by scikit-image and loops."""
    lab = rgb2lab(pixels / 255)
    height, width = pixels.shape[:2]
    means = lab.reshape(height // block, block, width // block, block, 3).mean((1, 3))[..., 1:]
    got = bring_back(means)
    errors = ((got - lab[..., 1:]) ** 2).mean(-1)
    grey = luminance(pixels / 255)
    down, across = np.gradient(grey)
    steepness = np.sqrt(down**2 + across**2).ravel()
    steep = np.argsort(steepness)[-len(steepness) // 10 :]
    return np.sqrt(errors.mean()), np.sqrt(errors.ravel()[steep].mean())


def test_figures_of_upsampling_are_those_of_the_definition(tmp_path, capsys):
    """Bilinear, which Pillow does as well: what is printed is its error."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    rng = np.random.default_rng(0)
    strong, weak = rng.integers(60, 200, (12, 16, 3), np.uint8), rng.integers(100, 130, (12, 16, 3), np.uint8)
    for path, codes in zip(paths, (strong, weak)):  # with an edge that does not count, over multiples of 8
        Image.fromarray(codes).resize((67, 49), Image.Resampling.BICUBIC).save(path)
    assert upsampling.main([str(path) for path in paths]) == 0
    title, bilinear, guided = capsys.readouterr().out.splitlines()
    assert title == "RMSE of a* and b*, 2 photographs  (at the steepest tenth)"
    cell = re.compile(r"   1/(\d): ([\d.]+) \(([\d.]+)\)")
    printed = {name: cell.findall(line) for name, line in (("bilinear", bilinear), ("guided", guided))}
    assert all(line.startswith(name) for name, line in (("bilinear", bilinear), ("guided", guided)))
    assert [b for b, *_ in printed["bilinear"]] == [b for b, *_ in printed["guided"]] == ["2", "4", "8"]

    def enlarged(means):
        return np.stack([np.asarray(Image.fromarray(x.astype(np.float32)).resize((64, 48), Image.Resampling.BILINEAR))
                         for x in np.moveaxis(means, -1, 0)], -1)

    for block, whole, steepest in printed["bilinear"]:
        each = [literal_errors(np.asarray(Image.open(path))[:48, :64], int(block), enlarged) for path in paths]
        want = np.sqrt((np.array(each) ** 2).mean(0))
        np.testing.assert_allclose([float(whole), float(steepest)], want, rtol=0.02)
        assert float(whole) > 1 and float(steepest) != float(whole)
    assert printed["guided"] != printed["bilinear"]


def test_the_sheet_shows_where_guided_gains_most(tmp_path):
    """Of a grey photograph and one with an edge between two colors, in its lower right corner, it shows the edge."""
    edge = np.full((200, 200, 3), 90, np.uint8)
    edge[192:, 152:] = (230, 200, 40)
    flat = np.full((192, 64, 3), 120, np.uint8)
    sheet = np.asarray(upsampling.sheet([flat, edge, flat]))
    true, bilinear, guided = (sheet[26:, left : left + 384].astype(int) for left in (0, 392, 784))
    assert (true == (230, 200, 40)).all(-1).any() and (true == (90, 90, 90)).all(-1).any()
    assert abs(guided - true).mean() < 0.8 * abs(bilinear - true).mean()


def test_the_command(tmp_path, capsys):
    assert upsampling.main([str(PHOTOGRAPHS[0]), "--out", str(tmp_path / "sheet.png")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("RMSE of a* and b*, 1 photographs") and "\nguided " in out and "look at " in out
    assert Image.open(tmp_path / "sheet.png").width == 3 * 96 * 4 + 16
    Image.fromarray(grey(height=4, width=4)).save(tmp_path / "small.png")
    assert upsampling.main([str(tmp_path / "small.png")]) == 1
    assert capsys.readouterr().err == f"colorize: {tmp_path}/small.png: too small to compare\n"


def test_errors_by_render_size_are_printed(tmp_path, capsys):
    network().save(tmp_path / "tiny.safetensors")
    assert render_sizes.main([str(PHOTOGRAPHS[0]), "--weights", str(tmp_path / "tiny.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"render size {n}" for n in (32, 48, 64, 96, 128)]
    image = Image.open(PHOTOGRAPHS[0]).convert("RGB")
    image.thumbnail((512, 512))
    true = rgb2lab(np.asarray(image))[..., 1:]
    grey, colorizer = np.sqrt((true**2).mean()), Colorizer(tmp_path / "tiny.safetensors")
    for line, size in zip(lines, (32, 48, 64, 96, 128)):
        error = np.sqrt(((rgb2lab(np.asarray(colorizer.at(size)(image)))[..., 1:] - true) ** 2).mean())
        told = [float(x) for x in re.findall(r"error ([\d.]+), grey ([\d.]+), ([-+][\d.]+) dB", line)[0]]
        np.testing.assert_allclose(told, (error, grey, 20 * np.log10(grey / error)), atol=0.02)
    assert render_sizes.main([str(tmp_path / "none.jpg")]) == 1
