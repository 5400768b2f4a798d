"""Whole runs of a tiny network: what the loop does, what it leaves and what it tells."""

import json
from itertools import islice

import numpy as np
import pytest

from ltbc.kernels import color
from ltbc.nn import Adadelta, Network
from ltbc.nn.parameters import INITIALIZATIONS
from ltbc.train.checkpoint import CHECKPOINTS
from ltbc.train.journal import Bar
from ltbc.train.leavings import METRICS, SCAN, WEIGHTS
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.stream import batches
from ltbc.train.run import Run
from tests.tools.drawn import draw_folder
from tests.tools.runs import (
    TINY,
    assert_same_bits,
    error_line,
    lines,
    load,
    new,
    newest,
    seven_pictures,
    steps,
    train,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return seven_pictures(tmp_path_factory.mktemp("photos"))


# the loop


def test_steps_are_what_the_network_and_the_optimizer_do(photos, tmp_path):
    constants = {"lr": 0.7, "rho": 0.8, "eps": 1e-5}
    given = [x for name, value in constants.items() for x in (f"--{name}", value)]
    assert new(photos, tmp_path / "run", 4, *given, "--scale", 30, "--alpha", 0.1, "--seed", 9) == 0
    pictures = scan(photos, 18)
    net = Network(0.03, pictures.classes, 16, backend="reference", seed=9)
    optimizer, told = Adadelta(net, **constants), []
    for batch in islice(batches(pictures, 3, 16, 9), 4):
        rgb = np.where(batch.flip[:, None, None, None], batch.pixels[:, :, ::-1], batch.pixels)
        luminance, chroma = color.encode(rgb)
        losses = net.loss_and_gradients(luminance, chroma, batch.labels, alpha=0.1, scale=30)
        optimizer.step()
        told.append((len(told) + 1, *(float(losses[k]) for k in ("total", "chroma", "classes"))))
    assert steps(tmp_path / "run") == told
    trained = Network.load(tmp_path / "run" / WEIGHTS)
    assert np.array_equal(trained.parameters.flat, net.parameters.flat) and trained.settings == net.settings


def test_learns_and_measures_itself(photos, tmp_path, capsys):
    held_out = draw_folder(tmp_path / "held out", classes=("new",), each=3)
    run = tmp_path / "run"
    how = ("--held-out", held_out, "--checkpoint-every", 100, "--width", 0.1, "--alpha", 0.1, "--lr", 3)
    assert new(photos, run, 400, *how) == 0  # long enough to hold with any seed and order of sums
    measured = {m["step"]: m["held_out"] for m in lines(run) if "held_out" in m}
    assert list(measured) == [100, 200, 300, 400]
    first, last = np.array(steps(run))[:10, 1:].mean(0), np.array(steps(run))[-10:, 1:].mean(0)
    assert (last < 0.5 * first).all()  # the sum, color and classes
    assert measured[400]["chroma_psnr"] > measured[400]["grey_psnr"] + 1
    assert measured[400]["chroma_error"] < measured[100]["chroma_error"]
    said = capsys.readouterr()
    assert "step 400, held out: 3 pictures" in said.err and "7 pictures in 2 classes" in said.out
    done = [m for m in lines(run) if "loss" in m]
    waited = sum(m["data_wait"] * 3 / m["images_per_s"] for m in done)
    told = load(run).progress
    assert told.waited == pytest.approx(waited, rel=0.02, abs=0.01)
    assert f"{told.waited / told.seconds:.1%} of them waiting for pictures" in said.out


def test_what_a_run_leaves(photos, tmp_path):
    run = tmp_path / "deep/run"
    assert new(photos, run, 3) == 0
    assert {p.name for p in run.iterdir()} == {CHECKPOINTS, WEIGHTS, METRICS, SCAN, "settings.json", "pictures.json"}
    for m in lines(run):
        assert set(m) == {"step", "loss", "chroma", "classes", "images_per_s", "seconds", "data_wait"}
        assert 0 <= m["data_wait"] <= 1 and m["images_per_s"] > 0 and m["seconds"] > 0
    settings = json.loads((run / "settings.json").read_text())
    assert settings["width"] == 0.03 and settings["steps"] == 3 and settings["global_size"] == 16
    assert json.loads((run / "pictures.json").read_text())["classes"] == {"blue": 3, "orange": 4}


def test_length_in_epochs_and_minutes(photos, tmp_path):
    assert train(photos, "--out", tmp_path / "a", "--epochs", 2, *TINY) == 0
    assert load(tmp_path / "a").progress.step == 5  # 14 pictures by threes
    assert train(photos, "--out", tmp_path / "b", "--minutes", 0.005, *TINY) == 0
    seconds = [m["seconds"] for m in lines(tmp_path / "b")]
    assert seconds[-1] >= 0.3 and all(s <= 0.3 for s in seconds[:-1])


@pytest.mark.parametrize("switches", [
    ("--global-size", 0), ("--global-size", 32), ("--fusion", "relu"), ("--class-loss", "sigmoid"),
    ("--color-space", "yuv"), ("--color-space", "rgb"), ("--dtype", "float64"),
], ids=lambda s: "".join(map(str, s)))
def test_switches_reach_the_network(photos, tmp_path, switches):
    assert new(photos, tmp_path / "run", 2, "--held-out", draw_folder(tmp_path / "h", each=1), *switches) == 0
    settings = Network.load(tmp_path / "run" / WEIGHTS).settings
    name = switches[0][2:].replace("-", "_")
    assert str(getattr(settings, name, "float64")) == str(switches[1])


def test_bar_where_nobody_watches(capsys, monkeypatch):
    monkeypatch.setattr("ltbc.train.journal.QUIET_SECONDS", 0)
    with Bar(10, 2, "step") as bar:
        bar.update(3, 0.5, 20.0)
        bar.update(4, 0.3, 40.0)
    said = capsys.readouterr().err.splitlines()
    assert said[1].startswith("4/10 steps, loss 0.40000, 30 images/s, ") and said[1].endswith(" left")


# bad input


def test_an_old_run_is_not_overwritten(photos, tmp_path, capsys):
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    new(photos, run, 1)
    before = newest(run).read_bytes()
    capsys.readouterr()
    assert new(photos, run, 2) == 2
    assert "holds a run already" in error_line(capsys) and newest(run).read_bytes() == before
    assert new(tmp_path / "nowhere", run, 2, "--force") == 2  # fails before it removes anything
    assert newest(run).read_bytes() == before
    assert new(photos, run, 2, "--force") == 0 and new(photos, fresh, 2) == 0
    assert_same_bits(run, fresh)


@pytest.mark.parametrize("arguments, says", [
    (["PHOTOS/nowhere"], "no such folder"),
    (["PHOTOS/blue"], "all pictures are of one class"),
    (["PHOTOS", "--held-out", "PHOTOS/blue"], "would be trained on"),
    (["PHOTOS", "--crop", "20"], "--crop: must be from 8 to 4096 and a multiple of 8, got 20"),
    (["PHOTOS", "--batch", "0"], "--batch: must be at least 1"),
    (["PHOTOS", "--steps", "many"], "invalid whole number value: 'many'"),
    (["PHOTOS", "--minutes", "1"], "not allowed with"),
    (["PHOTOS", "--rho", "1"], "--rho: must be from 0 to"),
    (["PHOTOS", "--fusion", "tanh"], "invalid choice: 'tanh'"),
    (["PHOTOS", "--dtype", "float16", "--backend", "cpu"], "backend cpu computes in float32, bfloat16, got float16"),
    ([], "wanted PHOTOS and --out RUN"),
])
def test_bad_input_is_told_in_one_line(photos, tmp_path, capsys, arguments, says):
    arguments = [a.replace("PHOTOS", str(photos)) for a in arguments]
    base = [] if "--steps" in arguments else ["--steps", "1"]
    assert train("--backend", "reference", *arguments, "--out", tmp_path / "run", *TINY[:2], *base) == 2
    assert says in error_line(capsys) and not (tmp_path / "run").exists()


def test_one_class_trains_on_color_alone(photos, tmp_path):
    assert new(photos / "blue", tmp_path / "a", 2, "--alpha", 0) == 0
    assert new(photos / "blue", tmp_path / "b", 2, "--global-size", 0) == 0


def test_a_folder_that_cannot_be_made(photos, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert new(photos, tmp_path / "file", 1) == 2
    assert str(tmp_path / "file") in error_line(capsys)


@pytest.mark.parametrize("decay, expected", [(0.0, [1, 1, 1, 1]), (0.5, [1, 1, 1, 0.5]), (1.0, [1, 0.75, 0.5, 0.25])])
def test_the_learning_rate_falls_over_the_last_part(photos, tmp_path, monkeypatch, decay, expected):
    seen = []
    update = Run.update
    monkeypatch.setattr(Run, "update", lambda run, *how: update(run, *how) or seen.append(run.optimizer.lr))
    assert new(photos, tmp_path / "run", 4, "--lr", 2, "--decay", decay) == 0
    np.testing.assert_allclose(seen, [2 * share for share in expected])


def test_the_first_fifth_may_weigh_classes_otherwise(photos, tmp_path, monkeypatch):
    seen = []
    whole = Network.loss_and_gradients
    monkeypatch.setattr(Network, "loss_and_gradients", lambda *a, **how: seen.append(how["alpha"]) or whole(*a, **how))
    assert new(photos, tmp_path / "run", 10, "--alpha", 0.5, "--alpha-first", 0) == 0
    assert seen[1:] == [0, 0] + [0.5] * 8  # behind the warm-up


@pytest.mark.parametrize("kind", INITIALIZATIONS)
def test_initializations_have_their_variance(kind):
    net = Network(0.25, 7, 32, seed=3, init=kind)
    for name, view in net.parameters.views.items():
        layer, _, part = name.rpartition(".")
        if part == "bias":
            assert view.any() == (kind == "uniform"), name
        elif view.size > 1000:
            inputs, outputs = view[..., 0].size, view.shape[-1]
            he = (1 if layer in ("color.4", "class.1", "fusion") else 2) / inputs
            tenth = 0.01 if kind == "he" and layer in ("color.4", "class.1") else 1
            wanted = {"glorot": 2 / (inputs + outputs), "uniform": 1 / (3 * inputs)}.get(kind, he * tenth)
            np.testing.assert_allclose(view.var(), wanted, rtol=0.25, err_msg=name)
    with pytest.raises(ValueError, match="init must be one of he, "):
        Network(0.1, 3, 16, init="zeros")
