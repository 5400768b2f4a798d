"""Runs of a tiny network, and what is read of them."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ltbc.train.__main__ import main
from ltbc.train.checkpoint import CHECKPOINT, METRICS, WEIGHTS, load
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


def arrays(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / CHECKPOINT) | load_file(run / WEIGHTS)


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
