"""The README's Python examples run, and the gradient checker says what the README says it does."""

import re

import numpy as np
import pytest
from PIL import Image

from gradcheck import GradientError
from tests import ROOT
from tests.tools.drawn import draw
from tests.tools.picture_files import network

TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COLORIZER, LIBRARY, CHECKER, LAYER, AUTOGRAD, *_ = PYTHON


def test_the_colorizer_example_colors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ltbc.colorize.colorizer.default_backend", lambda: "reference")  # compiles nothing
    (tmp_path / "RUN").mkdir()
    network().save("RUN/weights.safetensors")
    small = tmp_path / "RUN/weights.safetensors"  # of strong colors
    monkeypatch.setattr("ltbc.colorize.colorizer.WEIGHTS", small)
    draw(0).convert("L").save("old.jpg")
    exec(COLORIZER, {})
    assert np.ptp(np.asarray(Image.open("new.png")).astype(int), -1).max() > 10


def test_the_library_example_runs():
    names: dict = {}
    exec(LIBRARY, names)
    assert names["y"].shape == (1, 4, 4, 4) and names["losses"]["total"] > 0


def test_the_checker_example_finds_the_planted_error():
    with pytest.raises(GradientError) as caught:
        exec(CHECKER, {})
    shown = re.search(r"```\nGradientError: (.*?)```", TEXT, re.DOTALL).group(1)
    assert " ".join(shown.split()) == str(caught.value)


def test_the_checker_passes_the_example_without_the_error():
    exec(CHECKER.replace("dw[3, 1] *= 2", "pass"), {})


def test_a_layer_is_checked_over_drawn_shapes():
    names: dict = {}
    exec(LAYER, names)
    names["test_scale"]()
    with pytest.raises(GradientError, match="dw is wrong|db is wrong|dx is wrong"):
        exec(LAYER.replace("(dy * self.x).sum(0)", "(dy * self.x).sum(0) * 1.01"), names)
        names["test_scale"]()


def test_an_autograd_function_is_checked(capsys):
    exec(AUTOGRAD, {})
    assert "Square: right in float64" in capsys.readouterr().out
    with pytest.raises(GradientError, match="Square: dx is wrong"):
        exec(AUTOGRAD.replace("2 * dy", "dy"), {})
