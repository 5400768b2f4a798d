"""Runs that stop and go on: the same bits, interruptions, damaged checkpoints, NaN, a full disk."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors import safe_open

from ltbc.nn.weights import safetensors_bytes
from ltbc.train import checkpoint
from ltbc.train.checkpoint import paths
from ltbc.train.leavings import METRICS, WEIGHTS, begin
from tests import ROOT
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
    start,
    train,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return seven_pictures(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("stop, changed, switches", [
    (1, (), ()), (4, ("--workers", 1, "--memory", 0), ()), (7, (), ()),
    (4, (), ("--dtype", "bfloat16")),  # the kernels read a copy of the parameters
    (4, (), ("--backend", "cpu")),
], ids=lambda x: " ".join(map(str, x)) if isinstance(x, tuple) else None)
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(photos, tmp_path, stop, changed, switches):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert new(photos, whole, 9, *switches) == 0
    assert new(photos, halves, stop, *switches) == 0
    assert train("--resume", halves, "--steps", 9, *changed) == 0
    assert_same_bits(whole, halves)


def test_resuming_a_finished_run_changes_nothing(photos, tmp_path, capsys):
    run = tmp_path / "run"
    assert new(photos, run, 2) == 0
    before = newest(run).read_bytes()
    assert train("--resume", run) == 0
    assert "come to its end" in capsys.readouterr().out and newest(run).read_bytes() == before


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_stops_after_the_step_with_a_checkpoint(photos, tmp_path, number, status):
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = start(photos, run)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    line = f"train: stopped by {number.name}; ltbc train --resume {run} goes on"
    assert said.splitlines()[-1] == line and "Traceback" not in said
    done = load(run).progress.step
    assert len(lines(run)) == done
    assert train("--resume", run, "--steps", done + 3) == 0
    assert new(photos, whole, done + 3) == 0
    assert_same_bits(whole, run)


def test_killed_at_any_moment_leaves_the_last_checkpoint(photos, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = start(photos, run, "--checkpoint-every", 2)
    process.kill()
    process.communicate()
    with open(run / METRICS, "a") as file:
        file.write('{"step": 10000, "loss": 1.0}\n{"step": 10001, "lo')  # more than the checkpoint knows of
    done = load(run).progress.step
    assert done % 2 == 0
    assert train("--resume", run, "--steps", done + 1) == 0
    assert new(photos, whole, done + 1) == 0
    assert_same_bits(whole, run)


SAVING = """
import sys
from pathlib import Path
from ltbc.nn import Adadelta, Network
from ltbc.train import checkpoint, leavings
run = Path(sys.argv[1])
net = Network(0.25, 3, 16)
optimizer, progress = Adadelta(net), checkpoint.Progress()
print("begins", flush=True)
while True:
    progress.advance(1, 0.0, 0.0)
    for array in checkpoint.state(net, optimizer).values():
        array[:] = progress.step
    data = checkpoint.as_bytes(net, optimizer, progress, {"seed": 0}, "x")
    leavings.save(run, progress.step, data, 2)
"""


def test_killed_while_it_writes_again_and_again(tmp_path):
    """A process that does nothing but write checkpoints is killed twelve times, every other time when a file that is
    being written is seen, and more until one is left half written: each time the last one is whole."""
    cut_short, k = False, 0
    while k < 12 or not cut_short:
        assert k < 100
        process = subprocess.Popen([sys.executable, "-c", SAVING, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not paths(tmp_path) or k % 2 and not any(tmp_path.glob("checkpoints/.*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        time.sleep(0.0 if k % 2 else 0.037 * k % 0.1)
        process.kill()
        process.communicate()
        old = load(tmp_path)
        assert all((x == old.progress.step).all() for x in old.arrays.values())
        cut_short |= any(tmp_path.glob("checkpoints/.*.part"))
        begin(tmp_path, {}, {}, new=False)
        assert not any(tmp_path.glob("checkpoints/.*.part"))
        k += 1


# what cannot be resumed


def damage_cut(run):
    data = newest(run).read_bytes()
    newest(run).write_bytes(data[: len(data) - 7])


def damage_text(run):
    newest(run).write_text("no checkpoint at all")


def damage_foreign(run):
    newest(run).write_bytes((run / WEIGHTS).read_bytes())


def damage_missing(run):
    newest(run).unlink()


def damage_shape(run):
    rewrite(run, lambda a, m: a.update(parameters=a["parameters"][:-1]))


def damage_metadata(run):
    rewrite(run, lambda a, m: m.update(progress='{"steps": 3}'))


def damage_random(run):
    rewrite(run, lambda a, m: m.update(random='{"made by": "a coin"}'))


def rewrite(run, change):
    with safe_open(str(newest(run)), framework="np") as file:
        metadata, stored = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}
    change(stored, metadata)
    newest(run).write_bytes(checkpoint.seal(safetensors_bytes(stored, metadata | {"digest": "0" * 64})))


@pytest.mark.parametrize("damage, says", [
    (damage_cut, "damaged checkpoint"), (damage_text, "damaged checkpoint"), (damage_missing, "--force"),
    (damage_foreign, "not a checkpoint of this program"), (damage_metadata, "damaged checkpoint"),
    (damage_shape, "parameters must be"), (damage_random, "its order and crops are 'a coin'"),
])
def test_damaged_checkpoints_are_refused(photos, tmp_path, capsys, damage, says):
    run = tmp_path / "run"
    new(photos, run, 1)
    damage(run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    capsys.readouterr()
    assert train("--resume", run, "--steps", 3) == 2
    line = error_line(capsys)
    assert says in line and str(newest(run) if paths(run) else run) in line
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_resume_refuses_other_settings_and_other_pictures(tmp_path, capsys):
    photos = draw_folder(tmp_path / "photos", each=2)
    run = tmp_path / "run"
    new(photos, run, 1)
    capsys.readouterr()
    assert train("--resume", run, "--steps", 3, "--batch", 4) == 2
    assert "--batch of" in error_line(capsys)
    assert train("--resume", run, "--out", tmp_path / "other") == 2
    assert "leave out --out" in error_line(capsys)
    (photos / "blue/1.png").unlink()
    assert train("--resume", run, "--steps", 3) == 2
    assert "not the pictures of" in error_line(capsys)


# what goes wrong on the way


@pytest.mark.filterwarnings("error")
def test_nan_stops_the_run_and_keeps_the_checkpoint(photos, tmp_path, capsys):
    run = tmp_path / "run"
    new(photos, run, 2)
    rewrite(run, lambda a, m: a["parameters"].__setitem__(5, np.nan))
    before = newest(run).read_bytes()
    capsys.readouterr()
    assert train("--resume", run, "--steps", 9) == 2
    line = error_line(capsys)
    assert "the loss became NaN or infinite at step 3" in line and "--lr" in line
    assert newest(run).read_bytes() == before and len(lines(run)) == 2


@pytest.mark.filterwarnings("error")
def test_a_state_that_is_not_finite_is_not_saved(photos, tmp_path, capsys):
    assert new(photos, tmp_path / "run", 1, "--scale", "1e30") == 2  # squares of the gradients overflow
    assert "adadelta.eg became NaN or infinite at step 1" in error_line(capsys)
    assert not paths(tmp_path / "run")


def test_full_disk(photos, tmp_path):
    """Files may not grow beyond a limit that the checkpoint exceeds: the system refuses to write, as on a full disk."""
    run = tmp_path / "run"
    new(photos, run, 2)
    before = newest(run).read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    for command in (["--resume", run, "--steps", 4], [photos, "--out", tmp_path / "other", "--steps", 1, *TINY]):
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "train", *map(str, command)]
        done = subprocess.run(
            command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        assert "safetensors: could not be written (File too large)" in done.stderr
    assert newest(run).read_bytes() == before
    assert not [p.name for p in tmp_path.rglob("*") if "part" in p.name]
    assert train("--resume", run, "--steps", 4) == 0
