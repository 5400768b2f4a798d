"""Chroma to full size, guided by luminance: against a literal loop, edges kept, and better than bilinear."""


import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import Colorizer, join
from ltbc.colorize.experiments import render_sizes, upsampling
from ltbc.colorize.join import Chroma
from ltbc.nn import Network
from tests import ROOT
from tests.tools.picture_files import grey, network

PHOTOGRAPHS = sorted((ROOT / "train/photographs/held_out").glob("*/*.jpg"))


@pytest.mark.parametrize("height, width, extent", [(7, 9, (2.5, 3.0)), (1, 1, (0.5, 0.5)), (12, 5, (6.0, 2.5)),
                                                   (5, 5, (5.0, 5.0))])  # fmt: skip
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


def test_guided_is_better_than_bilinear_on_photographs():
    """Of true chroma at half and quarter size: everywhere, and at the steepest tenth of the pixels."""
    errors = [upsampling.measured(upsampling.opened(path)) for path in PHOTOGRAPHS[:4]]
    for block in upsampling.BLOCKS:
        bilinear, guided = (np.mean([e[name, block] for e in errors], 0) for name in ("bilinear", "guided"))
        assert (guided < bilinear).all(), block


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
    errors = [float(line.split("error ")[1].split(",")[0]) for line in lines]
    true = render_sizes.ab(render_sizes.opened(str(PHOTOGRAPHS[0])))
    assert len(set(errors)) > 1 and all(f"grey {np.sqrt((true**2).mean()):.2f}" in line for line in lines)
    assert render_sizes.main([str(tmp_path / "none.jpg")]) == 1
