"""The measures of quality on vectors known in advance, and `ltbc evaluate`."""

import json
import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from ltbc.kernels import color
from ltbc.nn import Network
from ltbc.train import evaluate, quality
from ltbc.train import score as chroma
from ltbc.train.pictures.folder import scan
from tests.tools.drawn import draw_folder

SHARMA = [  # L*, a*, b*; L*, a*, b*; their difference: Sharma, Wu and Dalal 2005, table 1
    (50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425), (50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615),
    (50, 2.8361, -74.02, 50, 0, -82.7485, 3.4412), (50, -1.3802, -84.2814, 50, 0, -82.7485, 1),
    (50, -1.1848, -84.8006, 50, 0, -82.7485, 1), (50, -0.9009, -85.5211, 50, 0, -82.7485, 1),
    (50, 0, 0, 50, -1, 2, 2.3669), (50, -1, 2, 50, 0, 0, 2.3669), (50, 2.49, -0.001, 50, -2.49, 0.0009, 7.1792),
    (50, 2.49, -0.001, 50, -2.49, 0.001, 7.1792), (50, 2.49, -0.001, 50, -2.49, 0.0011, 7.2195),
    (50, 2.49, -0.001, 50, -2.49, 0.0012, 7.2195), (50, -0.001, 2.49, 50, 0.0009, -2.49, 4.8045),
    (50, -0.001, 2.49, 50, 0.001, -2.49, 4.8045), (50, -0.001, 2.49, 50, 0.0011, -2.49, 4.7461),
    (50, 2.5, 0, 50, 0, -2.5, 4.3065), (50, 2.5, 0, 73, 25, -18, 27.1492), (50, 2.5, 0, 61, -5, 29, 22.8977),
    (50, 2.5, 0, 56, -27, -3, 31.903), (50, 2.5, 0, 58, 24, 15, 19.4535), (50, 2.5, 0, 50, 3.1736, 0.5854, 1),
    (50, 2.5, 0, 50, 3.2972, 0, 1), (50, 2.5, 0, 50, 1.8634, 0.5757, 1), (50, 2.5, 0, 50, 3.2592, 0.335, 1),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.263),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.248, -4.962, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.694, 23.0331, 14.973, -42.5619, 2.0373),
    (36.4612, 47.858, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.441, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.135, 0.9033, -0.0636, -0.5514, 0.9082),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return scan(draw_folder(tmp_path_factory.mktemp("photos"), each=3, width=60, height=48), 32)


@pytest.fixture
def weights(tmp_path):
    """Of a network that predicts a* = b* = 0 and finds "blue" most probable."""
    net = Network(0.03, ("rock", "orange", "sea", "sky", "tree", "moor", "blue"), 32)
    for name in ("color.4.weight", "class.1.weight"):
        net.parameters.views[name][...] = 0
    net.parameters.views["class.1.bias"][...] = np.arange(7)
    net.save(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def run(capsys, weights, *arguments) -> str:
    assert evaluate.main([*map(str, arguments), "--weights", str(weights), "--backend", "reference"]) == 0
    return capsys.readouterr().out


def test_ciede2000_on_the_published_pairs():
    for *pair, difference in SHARMA:
        one, other = np.array(pair, float).reshape(2, 1, 1, 3)
        assert quality.ciede2000(one, other) == pytest.approx(difference, abs=5e-5), pair


def test_psnr_and_ssim_on_known_vectors():
    one = np.full((16, 16, 3), 100, np.uint8)
    assert quality.psnr(one, one + np.uint8(10)) == pytest.approx(20 * math.log10(25.5))
    assert quality.psnr(one, one) == quality.BEST_PSNR
    # constant pictures have no variance: what is left of SSIM is its comparison of means
    c1 = (0.01 * 255) ** 2
    assert quality.ssim(one, one + np.uint8(50)) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))
    noise = np.random.default_rng(0).integers(0, 256, one.shape, dtype=np.uint8)
    assert quality.ssim(noise, noise) == pytest.approx(1) and abs(quality.ssim(noise, noise[::-1])) < 0.2
    assert quality.ssim(noise[:8, :8], noise[:8, :8]) == pytest.approx(1)


def test_colorfulness_equals_the_formula_pixel_by_pixel():
    rgb = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    rg = [float(r) - float(g) for r, g, _ in rgb.reshape(-1, 3)]
    yb = [(float(r) + float(g)) / 2 - float(b) for r, g, b in rgb.reshape(-1, 3)]

    def mean(x):
        return sum(x) / len(x)

    def variance(x):
        return mean([(v - mean(x)) ** 2 for v in x])

    literal = math.sqrt(variance(rg) + variance(yb)) + 0.3 * math.sqrt(mean(rg) ** 2 + mean(yb) ** 2)
    assert quality.colorfulness(rgb) == pytest.approx(literal)
    assert quality.colorfulness(rgb[..., :1].repeat(3, -1)) == 0


def test_true_chroma_paints_the_true_picture():
    rgb = np.asarray(Image.fromarray(np.random.default_rng(2).integers(60, 200, (1, 4, 4, 3), np.uint8)[0])
                     .resize((32, 32), Image.Resampling.BICUBIC))[None]
    painted = quality.paint(rgb, chroma.true_ab(rgb))
    assert quality.psnr(rgb[0], painted[0]) > 35
    lightness = [color.encode(x, "lab")[0] for x in (rgb, painted)]
    assert abs(lightness[0] - lightness[1]).max() < 0.02
    grey = quality.paint(rgb, np.zeros((1, 16, 16, 2), np.float32))
    assert np.ptp(grey, -1).max() == 0


def test_ranks_count_the_classes_before_the_true_one():
    logits = np.array([[3.0, 1, 2], [0, 0, 5], [1, 1, 1]])
    assert quality.rank(logits, np.array([2, 2, 1])).tolist() == [1, 0, 1]
    assert quality.rank(logits, np.array([-1, 1, 0])).tolist() == [-1, 2, 0]
    assert quality.class_indices(("sea", "moor"), ("moor", "rock")).tolist() == [-1, 0]


def test_a_grey_network_measures_as_the_grey_baseline(pictures, weights, capsys):
    told = json.loads(run(capsys, weights, pictures.root, "--json"))
    score = chroma.evaluate(Network.load(weights), pictures)
    assert told["ours"]["chroma_error"] == pytest.approx(score.chroma_error)
    for name, value in told["grey"].items():
        if not name.startswith("top"):
            assert told["ours"][name] == pytest.approx(value, abs=0.02), name
    assert told["ours"]["top1"] == 50 and told["ours"]["top5"] == 50  # orange comes sixth of seven
    assert told["grey"]["top1"] == pytest.approx(100 / 7) and told["pictures"] == 6
    truth = [quality.colorfulness(chroma.middle(pictures[i])) for i in range(6)]
    assert told["truth"]["colorfulness"] == pytest.approx(np.mean(truth))
    assert told["ours"]["colorfulness_difference"] == pytest.approx(-np.mean(truth), abs=0.1)


def test_the_mean_color_is_the_best_constant(pictures, weights, capsys):
    own = json.loads(run(capsys, weights, pictures.root, "--json"))
    same = json.loads(run(capsys, weights, pictures.root, "--json", "--mean-color", pictures.root))
    other = json.loads(run(capsys, weights, pictures.root, "--json", "--mean-color", "3,-4"))
    true = np.stack([chroma.true_ab(chroma.middle(pictures[i])[None]) for i in range(6)]).reshape(-1, 2)
    assert own["mean_color"]["chroma_error"] == pytest.approx(np.sqrt(true.var(0).mean()), rel=1e-4)
    assert same["mean_color"] == own["mean_color"] and own["mean_of"] == "the pictures measured"
    assert other["mean_color"]["chroma_error"] > own["mean_color"]["chroma_error"] and other["mean_ab"] == [3, -4]
    assert str(pictures.root) in same["protocol"]["baselines"]


def test_saturation_scales_the_predicted_chroma(pictures):
    net = Network(0.03, ("blue",), 32, seed=3)
    net.parameters.views["color.4.bias"][...] = (0.3, -0.2)
    net.refresh()
    values = [quality.measure(net, pictures, saturation=s).values[quality.OURS] for s in (0, 1, 2)]
    means = [v["colorfulness"].mean() for v in values]
    assert means[0] == 0 < means[1] < means[2]
    predicted = [chroma.predict(net, chroma.middle(pictures[i])[None])[0] for i in range(6)]
    true = [chroma.true_ab(chroma.middle(pictures[i])[None]) for i in range(6)]
    expected = [((2 * p - t) ** 2).mean() for p, t in zip(predicted, true)]
    assert values[2]["chroma_mse"] == pytest.approx(expected, rel=1e-4)


def test_what_is_printed_and_drawn(pictures, weights, capsys, tmp_path):
    out = run(capsys, weights, pictures.root, "--sheet", tmp_path / "sheet.png")
    for word in ("SSIM", "CIEDE2000", "colorfulness", "top-5", "protocol", "Lanczos", "32x32", "mean of the pictures"):
        assert word in out, word
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 9 * 160 and np.ptp(sheet.astype(int), -1).max() > 50  # the true pictures have color


def test_folders_that_are_no_classes_are_told(pictures, tmp_path, capsys):
    Network(0.03, ("sea", "moor"), 32).save(tmp_path / "w.safetensors")
    out = run(capsys, tmp_path / "w.safetensors", pictures.root)
    assert "not measured, no folder of" in out and "top-5, %" not in out
    Network(0.03, ("sea", "blue"), 32).save(tmp_path / "w.safetensors")
    assert "of 3 pictures" in (out := run(capsys, tmp_path / "w.safetensors", pictures.root))
    assert "no class of the network is named orange" in out


def test_what_cannot_be_measured_is_told_in_one_line(pictures, weights, capsys, monkeypatch):
    given = ["--weights", str(weights), "--backend", "reference"]
    photos = str(pictures.root)
    cases = [(["nowhere", *given], "no such folder"), ([photos, "--weights", "nowhere"], "no such weights"),
             ([photos, *given, "--size", "20"], "multiple of 8"),
             ([photos, *given, "--size", "8000"], "8 to 4096"), ([str(weights), *given], "a file; wanted a folder"),
             ([photos, *given, "--saturation", "-1"], "at least 0"),
             ([photos, *given, "--mean-color", "1;2"], "two numbers")]
    if not find_spec("cupy"):
        cases.append(([photos, *given[:2], "--backend", "gpu"], "--backend gpu cannot run here (No module"))
    for arguments, says in cases:
        assert evaluate.main(arguments) == 2
        assert says in capsys.readouterr().err.splitlines()[-1]
    monkeypatch.delitem(sys.modules, "ltbc.train.quality")
    monkeypatch.setitem(sys.modules, "skimage.color", None)
    assert evaluate.main([photos, *given]) == 2
    assert "pip install 'let-there-be-color[evaluate]'" in capsys.readouterr().err
