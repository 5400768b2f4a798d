"""Runs of a tiny network, and what is read of them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ltbc.train import checkpoint
from ltbc.train.__main__ import main
from ltbc.train.checkpoint import Checkpoint, newest, paths
from ltbc.train.leavings import METRICS, WEIGHTS
from tests import ROOT
from tests.tools.drawn import draw_folder

TINY = ["--width", "0.03", "--crop", "16", "--batch", "3", "--backend", "reference"]


def seven_pictures(folder: Path) -> Path:
    """Seven pictures in two classes, so that batches of three reach over the ends of epochs."""
    draw_folder(folder, each=4)
    (folder / "blue/0.png").unlink()
    return folder


def train(*arguments) -> int:
    return main([str(a) for a in arguments])


def new(photos, run, steps, *more) -> int:
    return train(photos, "--out", run, "--steps", steps, *TINY, *more)


def load(run: Path) -> Checkpoint:
    """The newest checkpoint, which must be whole."""
    found, damaged = checkpoint.load(run)
    assert not damaged
    return found


def arrays(run: Path) -> dict[str, np.ndarray]:
    return load_file(newest(run)) | load_file(run / WEIGHTS)


def assert_same_bits(one: Path, other: Path) -> None:
    ours, theirs = arrays(one), arrays(other)
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        assert x.tobytes() == theirs[name].tobytes(), name
    assert load(one).progress.position == load(other).progress.position
    assert steps(one) == steps(other)


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


def steps(run: Path) -> list[tuple]:
    return [(m["step"], m["loss"], m["chroma"], m["classes"]) for m in lines(run) if "loss" in m]


def error_line(capsys) -> str:
    """What a run that failed says: one line, on stderr."""
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("step ")]
    assert len(said) == 1 and said[0].startswith("train: ") and "Traceback" not in said[0], said
    return said[0]


def start(photos, run, *more) -> subprocess.Popen:
    """A long run as a process of its own, returned once it has done some steps."""
    command = [sys.executable, "-m", "train", photos, "--out", run, "--steps", 10**6, *TINY, *more]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not ((not more or paths(run)) and (run / METRICS).exists() and len(lines(run)) > 3):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
    return process
