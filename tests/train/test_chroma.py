"""What training measures: against scikit-image, and for predictions that are known to be right or grey."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.color import rgb2lab

from ltbc.kernels import color
from ltbc.nn import Network
from ltbc.train import score as chroma
from ltbc.train.pictures.folder import scan
from tests.tools.drawn import draw_folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return scan(draw_folder(tmp_path_factory.mktemp("photos"), each=3, width=60, height=48), 32)


def true_network(pictures, space):
    """Stands in for a network: it looks the true chroma up."""
    rgb = np.stack([chroma.middle(pictures[i]) for i in range(len(pictures))])
    luminance, true = color.encode(rgb, space)

    def forward(asked):
        return true[[int(abs(luminance - one).sum((1, 2, 3)).argmin()) for one in asked]], None

    settings = SimpleNamespace(color_space=space, classes=())
    return SimpleNamespace(settings=settings, xp=np, backend="reference", forward=forward)


def test_grey_error_is_the_root_mean_square_of_ab(pictures, monkeypatch):
    monkeypatch.setattr(chroma, "BATCH_PIXELS", 2000)  # one picture at a time
    score = chroma.evaluate(true_network(pictures, "lab"), pictures)
    squares = np.stack([pictures[i][:, 4:36] for i in range(6)])  # 40 x 32 pixels, the middle 32
    ab = rgb2lab(squares)[..., 1:].reshape(6, 16, 2, 16, 2, 2).mean((2, 4))
    assert score.pictures == 6
    assert score.grey_error == pytest.approx(np.sqrt((ab**2).mean()), rel=1e-3)
    assert score.grey_psnr == pytest.approx(20 * np.log10(220 / score.grey_error), abs=1e-6)


@pytest.mark.parametrize("space, error", [("lab", 1e-6), ("yuv", 0.6), ("rgb", 0.6)])
def test_true_colors_have_no_error(pictures, space, error):
    """In yuv and rgb, means of 2x2 pixels are taken before the conversion rather than after it."""
    score = chroma.evaluate(true_network(pictures, space), pictures)
    assert score.chroma_error < error and score.grey_error > 20 and score.gain > 30


def test_a_network_that_predicts_grey_scores_as_grey(pictures):
    net = Network(0.03, ("a",), 32)
    net.parameters.views["color.4.weight"][...] = 0
    net.refresh()
    score = chroma.evaluate(net, pictures)
    assert score.gain == pytest.approx(0, abs=1e-6) and score.chroma_error == pytest.approx(score.grey_error)
    assert "+0.00 dB" in str(score)


def test_training_measures_without_scikit_image():
    code = "import sys; sys.modules['skimage'] = None; import ltbc.train.__main__, ltbc.train.evaluate, demo"
    subprocess.run([sys.executable, "-c", code], check=True)
