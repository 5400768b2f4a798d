"""The network that comes with the program: its file, and that it knows colors and scenes which grey does not."""


import numpy as np
from safetensors import safe_open

from ltbc.colorize.colorizer import WEIGHTS
from ltbc.nn import Network
from ltbc.train.pictures.folder import scan
from ltbc.train.score import evaluate
from tests import ROOT


def test_the_file_is_small_and_half_precision():
    assert WEIGHTS.stat().st_size < 12e6
    with safe_open(str(WEIGHTS), framework="np") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {np.dtype(np.float16)}


def test_it_colors_photographs_that_it_has_not_seen():
    net = Network.load(WEIGHTS)
    score = evaluate(net, scan(ROOT / "train/photographs/held_out", net.settings.global_size))
    assert score.gain > 0.5, str(score)
    assert len(net.settings.classes) == 100 and "desert_sand" in net.settings.classes
