"""Sizes, levels and tiles from the command line."""

import argparse
import os
import subprocess
import sys

import pytest

from bench import BenchError, options
from bench.measure import overrides
from bench.measure.sweep import Sweep, sweep, swept
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.nn import Settings
from tests import ROOT

SETTINGS = Settings(width=0.125, classes=tuple("abcde"), global_size=32)


@pytest.mark.parametrize("text, wanted", [
    ("Cout=32..512", Sweep("Cout", (32, 64, 128, 256, 512))), ("N=1..5", Sweep("N", (1, 2, 4))),
    ("Cin=32..100:32", Sweep("Cin", (32, 64, 96))), ("side=48,7,200", Sweep("side", (48, 7, 200))),
    ("H=5..5", Sweep("H", (5,))), ("N=1..3:0", Sweep("N", (1,))),
])
def test_values_of_a_sweep(text, wanted):
    assert sweep(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "Cout", "K=1..2", "Cout=1..", "Cout=a..b", "Cout=-1", "Cout=0..8", "Cout=9..8", "N=0"])
def test_sweeps_that_are_none_are_refused(text):
    with pytest.raises(BenchError, match="--sweep must"):
        sweep(text)


@pytest.mark.parametrize("text, op, layer, x, w, y", [
    ("Cout=24", "conv3x3", "low.1", (3, 16, 16, 8), (3, 3, 8, 24), (3, 16, 16, 24)),
    ("Cin=24", "conv3x3", "low.1", (3, 16, 16, 24), (3, 3, 24, 16), (3, 16, 16, 16)),
    ("side=7", "conv3x3", "low.2", (3, 7, 7, 16), (3, 3, 16, 16), (3, 4, 4, 16)),
    ("W=7", "upsample2x_conv3x3", "color.1", (3, 4, 7, 16), (3, 3, 16, 8), (3, 8, 14, 8)),
    ("N=5", "linear", "class.0", (5, 64), (64, 32), (5, 32)), ("Cin=7", "linear", None, (3, 7), (7, 128), (3, 128)),
])
def test_cases_of_a_sweep(text, op, layer, x, w, y):
    forward, backward = swept(sweep(text), SETTINGS, 32, 3, op, layer)
    assert (forward.inputs["x"], forward.inputs["w"], forward.results["y"]) == (x, w, y) and forward.op == op
    assert backward.results["dx"] == x and backward.results["dw"] == w and backward.inputs["dy"] == y
    assert forward.layer.endswith(f" {text}") and forward.batch == x[0]


def test_a_sweep_of_fusion_is_of_its_images_channels():
    (forward, _) = swept(sweep("Cin=10"), SETTINGS, 32, 3, "fusion", None)
    assert forward.inputs["mid"][-1] == 10 and forward.inputs["w"][0] == 10 + forward.inputs["global_"][1]
    for text, op, layer in (("side=4", "linear", None), ("N=1", None, "low.9"), ("N=1", "adadelta", None)):
        with pytest.raises(BenchError, match="--sweep"):
            swept(sweep(text), SETTINGS, 32, 3, op, layer)


def test_level_and_threads_are_set_before_kernels_are_loaded(monkeypatch):
    for name in ("LTBC_CPU", "LTBC_THREADS"):
        monkeypatch.setenv(name, "")
    parser = options.parser("kernels", "")
    parser.parse_args(["--threads", "3", "--level", LEVEL.name])
    assert (os.environ["LTBC_THREADS"], os.environ["LTBC_CPU"]) == ("3", LEVEL.name)
    with pytest.raises(BenchError, match=f"--level other comes too late: kernels are loaded for {LEVEL.name}"):
        parser.parse_args(["--level", "other"])


def test_tiles_are_names_and_numbers():
    assert overrides.tile("rows=12") == ("rows", 12)
    for text in ("rows", "rows=", "=3", "rows=x", "rows=0"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=NUMBER"):
            overrides.tile(text)
    with pytest.raises(BenchError, match="backend reference has no tiles"):
        overrides.use_tiles({"rows": 12}, "reference", "linear")


TILES = """
import os, sys
from bench.measure import overrides
overrides.use_tiles({"rows": 4, "in_place.PIXELS": 50}, "cpu", "")
from ltbc.kernels.cpu import in_place, tile
from ltbc.kernels.cpu.compiler import STORE
print(tile.TILE_ROWS, in_place.PIXELS, STORE.folder.name)
"""


def test_other_tiles_are_compiled_into_a_folder_of_their_own(tmp_path):
    environment = os.environ | {"LTBC_CACHE": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", TILES], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert said.stdout.split() == ["4", "50", "in_place.PIXELS50-rows4"], said.stderr
