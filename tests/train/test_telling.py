"""What a run tells and keeps, from numbers that are known: signals, the bar, lengths, totals, checkpoints' contents."""

import json
import re
import signal
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from ltbc.kernels import color
from ltbc.nn import Adadelta, Network
from ltbc.train import interruption
from ltbc.train import journal as metrics
from ltbc.train.checkpoint import paths
from ltbc.train.interruption import Interruption
from ltbc.train.journal import Bar
from ltbc.train.leavings import WEIGHTS
from ltbc.train.options import parse, settle
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.stream import make_batch
from ltbc.train.score import evaluate
from tests.tools.drawn import draw_folder
from tests.tools.runs import TINY, arrays, error_line, lines, load, new, seven_pictures, train


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return seven_pictures(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which stand still until a test moves them."""
    now = SimpleNamespace(at=100.0)
    for module in (interruption, metrics):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.at, perf_counter=lambda: now.at))
    return now


def test_a_second_signal_counts_after_a_second(clock):
    before, noted = signal.getsignal(signal.SIGTERM), []
    with Interruption() as stop:
        assert stop.signal == 0
        try:
            for number, pause in ((signal.SIGTERM, 0.9), (signal.SIGINT, 1.1), (signal.SIGTERM, 0)):
                signal.raise_signal(number)
                noted.append(stop.signal)
                clock.at += pause
        except KeyboardInterrupt:
            noted.append("interrupted")
    assert noted == [signal.SIGTERM, signal.SIGINT, "interrupted"], "the terminal's and torchrun's are one"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_bar_tells_means_and_what_is_left(clock, monkeypatch, capsys):
    """Means of all up to 20 steps, then of about the last 20; time left from the speed of this session alone."""
    monkeypatch.setattr(metrics, "QUIET_SECONDS", 50)
    bar, told, loss = Bar(100, 40, "step"), [], None
    for step in range(41, 71):
        clock.at += 2
        bar.update(step, float(step % 7), 10.0)
        loss = step % 7 if loss is None else loss + max(0.05, 1 / (step - 40)) * (step % 7 - loss)
        told.append(loss)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"66/100 steps, loss {told[25]:.5f}, 10 images/s, 01:08 left"], "34 steps of 2 s"
    assert told[19] == pytest.approx(np.mean([step % 7 for step in range(41, 61)])) != told[25]


@pytest.mark.parametrize("given, saved, want", [
    ([], None, {"epochs": 11}), (["--steps", 5], None, {"steps": 5}), (["--minutes", 2], None, {"minutes": 2}),
    (["--steps", 9], {"minutes": 3}, {"steps": 9}), (["--epochs", 2], {"steps": 3}, {"epochs": 2}),
    ([], {"steps": 3}, {"steps": 3}),
])
def test_the_length_is_the_one_that_was_given_last(given, saved, want):
    folder = ["--resume", "x"] if saved else ["photos", "--out", "x"]
    options = parse([*folder, "--backend", "reference", *map(str, given)])
    old = settle(parse(["photos", "--out", "x", "--backend", "reference"]), None)
    none = dict.fromkeys(("steps", "epochs", "minutes"))
    settings = settle(options, {**old, **none, **saved} if saved else None)
    assert {name: settings[name] for name in none} == none | want


def test_defaults_are_the_measured_ones():
    """Of the paper, and of the trials that chose the rest: another value is another network after the same time."""
    settings = settle(parse(["photos", "--out", "x", "--backend", "reference"]), None)
    want = {"width": 1, "crop": 224, "batch": 128, "alpha": 1 / 300, "lr": 1, "rho": 0.95, "eps": 1e-8, "scale": 1000,
            "decay": 0, "init": "he", "fusion": "sigmoid", "class_loss": "softmax", "color_space": "lab",
            "global_size": 224, "near_grey": 3, "epochs": 11}
    assert {name: settings[name] for name in want} == want


def test_totals_are_those_of_the_steps(photos, tmp_path, capsys):
    assert new(photos, tmp_path / "run", 7, "--batch", 5) == 0
    told, progress = capsys.readouterr().out, load(tmp_path / "run").progress
    assert (progress.step, progress.position) == (7, 35)
    seconds = sum(5 / m["images_per_s"] for m in lines(tmp_path / "run"))
    assert progress.seconds == pytest.approx(seconds, rel=1e-2)
    assert lines(tmp_path / "run")[-1]["seconds"] == pytest.approx(progress.seconds, abs=1e-3)
    waited = sum(m["data_wait"] * 5 / m["images_per_s"] for m in lines(tmp_path / "run"))
    assert progress.waited == pytest.approx(waited, rel=1e-2, abs=1e-4 * seconds)
    found = re.search(r"7 steps, ([\d.]+) epochs, ([\d.]+) minutes, ", told)
    assert found[1] == "5.0" and found[2] == f"{progress.seconds / 60:.1f}"
    assert train("--resume", tmp_path / "run", "--steps", 8) == 0
    again = load(tmp_path / "run").progress
    assert again.position == 40 and again.seconds > progress.seconds, "over all sessions"
    assert "8 steps, 5.7 epochs" in capsys.readouterr().out


def test_a_checkpoint_holds_what_its_names_say(photos, tmp_path):
    """Two steps written out: parameters and Adadelta's two averages under their names."""
    assert new(photos, tmp_path / "run", 2, "--rho", 0.8, "--seed", 3) == 0
    pictures = scan(photos, 18)
    net = Network(0.03, pictures.classes, 16, seed=3)
    optimizer = Adadelta(net, 1.0, 0.8, 1e-8)
    for k in range(2):
        batch = make_batch(pictures, np.arange(3 * k, 3 * k + 3), 16, 3)
        luminance, chroma = color.encode(batch.pixels, flip=batch.flip)
        net.loss_and_gradients(luminance, chroma, batch.labels, scale=1000.0)
        optimizer.step()
    stored = arrays(tmp_path / "run")
    want = {"parameters": net.parameters.flat, "adadelta.eg": optimizer.eg, "adadelta.ed": optimizer.ed}
    for name, x in want.items():
        np.testing.assert_allclose(stored[name], x, rtol=1e-6, err_msg=name)
    assert not np.allclose(optimizer.eg, optimizer.ed)


def test_starting_anew_forgets_the_old_checkpoint_at_once(photos, tmp_path, capsys):
    """A new run that stops before its first checkpoint is not resumed from the one that it replaced."""
    run = tmp_path / "run"
    assert new(photos, run, 2) == 0
    assert new(photos, run, 2, "--force", "--scale", "1e30") == 2  # what it would save is not finite
    capsys.readouterr()
    assert not paths(run)
    assert train("--resume", run) == 2 and "it stopped before its first checkpoint" in error_line(capsys)


def test_a_run_goes_on_in_its_own_precision_and_classes(tmp_path, capsys):
    photos, run = draw_folder(tmp_path / "photos", each=2), tmp_path / "run"
    assert new(photos, run, 1, "--dtype", "float64") == 0
    capsys.readouterr()
    assert train("--resume", run, "--steps", 2, "--dtype", "float32") == 2
    assert "float32, the file has" in error_line(capsys)
    assert train("--resume", run, "--steps", 2) == 0
    settings = json.loads((run / "settings.json").read_text())
    assert (settings["dtype"], settings["steps"], settings["width"]) == ("float64", 2, float(TINY[1]))


class Stopped:
    """A SIGTERM that came before the first step's end."""

    signal = signal.SIGTERM

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_held_out_pictures_are_measured_unless_in_a_hurry(photos, tmp_path, monkeypatch):
    held_out = draw_folder(tmp_path / "held out", classes=("new",), each=3, width=60, height=48)
    how = ("--held-out", held_out, "--color-space", "yuv")
    assert new(photos, tmp_path / "run", 2, *how) == 0
    (told,) = [m["held_out"] for m in lines(tmp_path / "run") if "held_out" in m]
    assert told == pytest.approx(asdict(evaluate(Network.load(tmp_path / "run" / WEIGHTS), scan(held_out, 16))))
    monkeypatch.setattr("ltbc.train.__main__.Interruption", Stopped)
    assert new(photos, tmp_path / "stopped", 9, *how) == 143
    assert load(tmp_path / "stopped").progress.step == 1 and len(lines(tmp_path / "stopped")) == 1, "no measurement"
