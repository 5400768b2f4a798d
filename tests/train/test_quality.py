"""Measures of quality against their definitions, and that each picture is measured against itself."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from ltbc.nn import Network
from ltbc.train import quality
from ltbc.train import score as chroma
from ltbc.train import sheet as sheets
from ltbc.train.pictures.folder import scan
from tests.tools.drawn import draw_folder
from tests.train.test_evaluate import run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return scan(draw_folder(tmp_path_factory.mktemp("photos"), each=4, width=60, height=48), 32)


def network(seed=3, space="lab"):
    """Of visible colors, and of classes of which one name is a folder's."""
    net = Network(0.03, ("sea", "blue", "orange"), 32, color_space=space, seed=seed)
    for name in ("color.4.weight", "class.1.weight"):
        net.parameters.views[name] *= 30
    net.refresh()
    return net


def literal_ssim(one, other, side, weights, unbiased):
    """Wang et al. 2004, equation 13, window by window, in float64."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    height, width, channels = one.shape
    values = []
    for c in range(channels):
        for i in range(height - side + 1):
            for j in range(width - side + 1):
                x, y = (z[i : i + side, j : j + side, c].astype(np.float64) for z in (one, other))
                mx, my = (weights * x).sum(), (weights * y).sum()
                x, y = x - mx, y - my
                vx, vy, v = (unbiased * (weights * product).sum() for product in (x * x, y * y, x * y))
                values.append((2 * mx * my + c1) * (2 * v + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


def test_ssim_has_gaussian_windows_of_sigma_one_and_a_half():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (17, 15, 3), np.uint8)
    other = np.clip(one + rng.normal(0, 40, one.shape), 0, 255).astype(np.uint8)
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    gaussian = np.outer(line, line) / line.sum() ** 2
    assert quality.ssim(one, other) == pytest.approx(literal_ssim(one, other, 11, gaussian, 1), abs=1e-6)
    small, even = (one[:10, :9], other[:10, :9]), np.full((7, 7), 1 / 49)
    assert quality.ssim(*small) == pytest.approx(literal_ssim(*small, 7, even, 49 / 48), abs=1e-6)


def test_ciede2000_is_a_mean():
    lab = np.zeros((1, 2, 3)) + (50, 2.5, 0)
    other = np.array([[[50, 0, -2.5], [58, 24, 15]]])  # 4.3065 and 19.4535: Sharma, Wu and Dalal 2005
    assert quality.ciede2000(lab, other) == pytest.approx((4.3065 + 19.4535) / 2, abs=5e-5)


def test_grey_is_painted_with_its_own_codes():
    codes = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    assert np.array_equal(quality.paint(codes, np.zeros((1, 8, 8, 2), np.float32)), codes)


@pytest.mark.parametrize("pixels", [32 * 32, 3 * 32 * 32, 1 << 18])  # one picture at a time, three, all
def test_each_picture_is_measured_against_itself(pictures, monkeypatch, pixels):
    monkeypatch.setattr(chroma, "BATCH_PIXELS", pixels)
    net, mean = network(), np.array([20.0, -10.0])
    got = quality.measure(net, pictures, mean, saturation=0.7)
    for i in range(len(pictures)):
        true = chroma.middle(pictures[i])
        ab, logits = chroma.predict(net, true[None])
        colors = {quality.OURS: 0.7 * ab, quality.GREY: 0 * ab, quality.MEAN: 0 * ab + mean}
        for kind, values in colors.items():
            painted = quality.paint(true[None], values.astype(np.float32))[0]
            want = {
                "chroma_mse": ((values - chroma.true_ab(true[None])) ** 2).mean(),
                "rgb_psnr": 10 * np.log10(255**2 / ((painted.astype(float) - true) ** 2).mean()),
                "ssim": quality.ssim(true, painted), "colorfulness": quality.colorfulness(painted),
                "ciede2000": deltaE_ciede2000(rgb2lab(true), rgb2lab(painted)).mean(),
            }
            for name, value in want.items():
                assert got.values[kind][name][i] == pytest.approx(value, rel=1e-4), (kind, name, i)
        name = pictures.classes[pictures.labels[i]]
        assert got.ranks[i] == (logits[0] > logits[0][net.settings.classes.index(name)]).sum()
    assert len(set(got.ranks[pictures.labels == 0])) + len(set(got.ranks[pictures.labels == 1])) >= 2


def test_means_are_taken_by_the_protocol():
    """The root of the mean for chroma, plain means for the others; top-k counts those of whom the class is known."""
    rows = {"rgb_psnr": [20, 30], "ssim": [0.5, 0.7], "ciede2000": [4, 8], "colorfulness": [10, 30]}
    values = {name: np.array(x, float) for name, x in {**rows, "chroma_mse": [9, 16]}.items()}
    result = quality.Quality({"ours": values, "truth": {"colorfulness": np.array([50.0, 60])}}, np.array([0, 4, -1, 5]))
    error = np.sqrt(12.5)
    assert result.summary("ours") == pytest.approx({
        "chroma_error": error, "chroma_psnr": 20 * np.log10(220 / error), "rgb_psnr": 25, "ssim": 0.6, "ciede2000": 6,
        "colorfulness": 20, "colorfulness_difference": -35,
    })
    assert (result.top(1), result.top(5)) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize("space", ["yuv", "rgb"])
def test_colors_outside_of_srgb_are_clipped_before_they_are_measured(space):
    luminance = np.full((1, 4, 4, 1), 0.2, np.float32)
    corners = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 1]]], np.float32)[None]
    extreme = corners[..., : 3 if space == "rgb" else 2]
    ab = chroma.as_ab(extreme, luminance, space, "reference")
    rgb = np.clip(chroma.color.decode(luminance[:, :2, :2], extreme, space), 0, 1)
    assert rgb.min() == 0 or rgb.max() == 1, "there is something to clip"
    assert np.abs(ab - rgb2lab(rgb)[..., 1:]).max() < 0.02


def test_what_the_command_tells_follows_from_its_figures(pictures, tmp_path, capsys):
    network().save(tmp_path / "w.safetensors")
    told = json.loads(run(capsys, tmp_path / "w.safetensors", pictures.root, "--json"))
    for kind in ("grey", "mean_color"):
        gain = told["ours"]["chroma_psnr"] - told[kind]["chroma_psnr"]
        assert told[f"gain_over_{kind}"] == pytest.approx(gain) and gain
        assert (told[kind]["top1"], told[kind]["top5"]) == (pytest.approx(100 / 3), 100), "of three classes"
    none = json.loads(run(capsys, tmp_path / "w.safetensors", pictures.root, "--json", "--saturation", "0"))
    assert none["ours"]["chroma_error"] == pytest.approx(none["grey"]["chroma_error"])
    assert told["ours"]["chroma_error"] != pytest.approx(told["grey"]["chroma_error"], rel=1e-3)


def test_the_sheet_shows_best_median_and_worst(pictures, tmp_path, monkeypatch):
    """Each row: grey, ours at the saturation, true; ordered by how far CIEDE2000 is brought down."""
    net, saturation, drawn = network(), 0.5, []
    result = quality.measure(net, pictures, np.zeros(2), saturation)
    gain = result.values["grey"]["ciede2000"] - result.values["ours"]["ciede2000"]
    monkeypatch.setattr(sheets, "draw", lambda rows, titles, across: drawn.extend(rows) or Image.new("RGB", (9, 9)))
    monkeypatch.setattr(sheets, "EACH", 2)
    sheets.draw_best_and_worst(net, pictures, result, saturation, tmp_path / "sheet.png")
    falling = np.argsort(-gain)
    assert [label.split(":")[0] for label, _ in drawn] == ["best"] * 2 + ["median"] * 2 + ["worst"] * 2
    for (label, (grey, ours, true)), i in zip(drawn, [*falling[:2], *falling[3:5], *falling[-2:]]):
        assert pictures.names[i] in label and f"{result.values['ours']['ciede2000'][i]:.1f}" in label
        square = chroma.middle(pictures[i])
        painted = quality.paint(square[None], saturation * chroma.predict(net, square[None])[0])[0]
        assert np.ptp(grey, -1).max() == 0
        for shown, want in ((ours, painted), (true, square)):
            assert np.array_equal(shown, sheets.enlarge(want))


def test_a_sheet_has_each_picture_in_its_place():
    rows = [(f"row {i}", [np.full((8, 8, 3), 10 * i + j, np.uint8) for j in range(2)]) for i in range(5)]
    sheet = np.asarray(sheets.draw(rows, ("one", "other"), across=2))
    side, down = 8, 3
    for i, (_, pictures) in enumerate(rows):
        top = sheets.LABEL + (i % down) * (side + sheets.LABEL) + sheets.LABEL
        for j, picture in enumerate(pictures):
            left = (i // down) * (2 * (side + sheets.GAP) + sheets.GAP) + sheets.GAP + j * (side + sheets.GAP)
            assert np.array_equal(sheet[top : top + side, left : left + side], picture)
