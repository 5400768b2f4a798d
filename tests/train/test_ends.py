"""Whatever ends a run: signals, exceptions, a full disk, kills between two files, two processes, flipped bits."""

import errno
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from ltbc.nn import Network
from ltbc.train import checkpoint, leavings, rescue
from ltbc.train import run as running
from ltbc.train.checkpoint import Damaged, paths
from ltbc.train.interruption import Interruption
from ltbc.train.leavings import METRICS, WEIGHTS
from ltbc.train.lock import LOCK
from ltbc.train.run import Run
from tests import ROOT
from tests.tools.drawn import draw_folder
from tests.tools.runs import TINY, assert_same_bits, error_line, lines, load, new, newest, seven_pictures, start, train


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return seven_pictures(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def run(photos, tmp_path):
    assert new(photos, tmp_path / "run", 5, "--checkpoint-every", 2) == 0
    return tmp_path / "run"


# damage


def test_the_last_ones_are_kept_and_a_damaged_one_is_passed_over(photos, run, tmp_path, capsys):
    assert [int(path.stem) for path in paths(run)] == [5, 4]
    data = bytearray(newest(run).read_bytes())
    data[len(data) // 2] ^= 4
    newest(run).write_bytes(data)
    capsys.readouterr()
    assert train("--resume", run, "--steps", 7, "--keep", 3) == 0
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert "00000005.safetensors: damaged checkpoint (its digest" in line and line.endswith("goes on from step 4")
    assert [int(path.stem) for path in paths(run)] == [7, 6, 4]
    assert new(photos, tmp_path / "whole", 7, "--checkpoint-every", 2) == 0
    assert_same_bits(run, tmp_path / "whole")


def test_every_single_bit_counts(run):
    """All of the header's bits, and some of the arrays'."""
    path = newest(run)
    data = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    rng = random.Random(0)
    bits = [*range(8 * header), *(rng.randrange(8 * header, 8 * len(data)) for _ in range(200))]
    for bit in rng.sample(bits, 400):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(Damaged):
            checkpoint.read(path)
        data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    assert checkpoint.read(path).progress.step == 5


@pytest.mark.parametrize("change, says", [
    (lambda s: s.__setitem__("whdth", s.pop("width")), "'whdth'"), (lambda s: s.pop("rho"), "lacks the setting 'rho'"),
])
def test_other_names_of_settings_are_refused(run, capsys, monkeypatch, change, says):
    whole = checkpoint.read
    monkeypatch.setattr(checkpoint, "read", lambda path: (old := whole(path), change(old.settings))[0])
    capsys.readouterr()
    assert train("--resume", run, "--steps", 7) == 2
    assert says in error_line(capsys)


# after the commit point


@pytest.mark.parametrize("damage", [
    lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:-9]), lambda file: file.write_text(""),
])
def test_weights_are_written_again_where_they_lack_even_of_a_finished_run(run, damage, capsys):
    before = (run / WEIGHTS).read_bytes()
    damage(run / WEIGHTS)
    assert train("--resume", run) == 0
    assert (run / WEIGHTS).read_bytes() == before
    assert "written anew from the checkpoint of step 5" in capsys.readouterr().out


def test_killed_between_checkpoint_and_weights(run, monkeypatch):
    """After extending a run: the weights of step 5 do not stay."""
    put = leavings.put

    def dying(path, data):
        if path.name == WEIGHTS:
            raise KeyboardInterrupt
        put(path, data)

    monkeypatch.setattr(leavings, "put", dying)
    assert train("--resume", run, "--steps", 10, "--checkpoint-every", 99) == 130
    monkeypatch.undo()
    assert load(run).progress.step == 10
    assert train("--resume", run) == 0
    net = Network.load(run / WEIGHTS)
    assert (run / WEIGHTS).read_bytes() == load(run).weights()
    assert np.array_equal(net.parameters.flat, load(run).arrays["parameters"])


def test_a_measurement_that_was_killed_is_made_again(photos, tmp_path, monkeypatch):
    held_out = draw_folder(tmp_path / "held out", classes=("new",), each=2)
    measure = running.evaluate
    monkeypatch.setattr(running, "evaluate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        new(photos, tmp_path / "run", 2, "--held-out", held_out)
    monkeypatch.setattr(running, "evaluate", measure)
    assert "held_out" not in lines(tmp_path / "run")[-1]
    for _ in range(2):
        assert train("--resume", tmp_path / "run") == 0
        assert [m["step"] for m in lines(tmp_path / "run") if "held_out" in m] == [2]


def test_weights_are_the_same_bytes_for_the_same_weights(run, tmp_path):
    for k in range(4):
        Network.load(run / WEIGHTS).save(tmp_path / f"{k}", "float16")
    assert len({(tmp_path / f"{k}").read_bytes() for k in range(4)}) == 1


# every end


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_signals_of_terminals_and_batch_systems(photos, tmp_path, name):
    number = signal.Signals[name]
    process = start(photos, tmp_path / "run")
    for _ in range(3):
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number and f"stopped by {name}" in said.splitlines()[-1]
    assert load(tmp_path / "run").progress.step == len(lines(tmp_path / "run"))


def test_nohup_is_honored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.signal
            signal.raise_signal(signal.SIGUSR1)
            assert stop.signal == signal.SIGUSR1
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("error, status", [(MemoryError(), 2), (OSError(errno.EIO, "Input/output error"), 2),
                                           (KeyboardInterrupt(), 130), (RuntimeError("a bug"), None)])
def test_any_exception_leaves_a_checkpoint(photos, tmp_path, monkeypatch, capsys, error, status):
    calls = iter(range(99))
    gradients = Run.gradients

    def failing(*given):
        if next(calls) == 4:  # the first is the warm-up
            raise error
        return gradients(*given)

    monkeypatch.setattr(Run, "gradients", failing)
    if status is None:
        with pytest.raises(RuntimeError):
            new(photos, tmp_path / "run", 9)
    else:
        assert new(photos, tmp_path / "run", 9) == status
        assert f"; checkpoint of step 3 in {tmp_path / 'run'}; --resume" in error_line(capsys)
    monkeypatch.undo()
    assert load(tmp_path / "run").progress.step == 3
    assert train("--resume", tmp_path / "run") == 0 and new(photos, tmp_path / "whole", 9) == 0
    assert_same_bits(tmp_path / "run", tmp_path / "whole")


def test_half_a_step_is_no_checkpoint(photos, tmp_path, monkeypatch):
    def failing(run, *_):
        run.whole = False
        raise MemoryError

    monkeypatch.setattr(Run, "update", failing)
    assert new(photos, tmp_path / "run", 9) == 2 and not paths(tmp_path / "run")


# a full disk


def full(path, *_):
    raise leavings.Unwritten(path, OSError(errno.ENOSPC, "No space left on device"))


def test_a_full_disk_is_told_of_and_tried_again(photos, tmp_path, monkeypatch, capsys):
    """Full at steps 2 and 4, space by the end; and a journal that waits."""
    put, write, tries, writes = leavings.put, os.write, iter(range(99)), iter(range(99))
    monkeypatch.setattr(rescue, "AGAIN", 0.0)

    def sometimes(path, data):
        if path.suffix == ".safetensors" and next(tries) < 3:
            full(path)
        put(path, data)

    def refused(file, data):
        if data.startswith(b'{"step"') and next(writes) in (5, 8):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(leavings, "put", sometimes)
    monkeypatch.setattr(os, "write", refused)
    assert new(photos, tmp_path / "run", 9, "--checkpoint-every", 2) == 0
    monkeypatch.undo()
    told = capsys.readouterr().err
    assert "No space left on device); free some space; goes on, and tries again" in told
    assert [m["step"] for m in lines(tmp_path / "run")] == list(range(1, 10))
    assert new(photos, tmp_path / "whole", 9) == 0
    assert_same_bits(tmp_path / "run", tmp_path / "whole")


def test_the_last_checkpoint_waits_for_space_and_then_fails(run, monkeypatch, capsys):
    monkeypatch.setattr(rescue, "PATIENCE", 0.3)
    monkeypatch.setattr(rescue, "PAUSE", 0.1)
    monkeypatch.setattr(leavings, "save", lambda run, *_: full(run))
    capsys.readouterr()
    assert train("--resume", run, "--steps", 7, "--checkpoint-every", 99) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "waits" in said[0] and "No space left on device" in said[1]
    assert load(run).progress.step == 5, "the newest stays, older ones made room"


# one run a folder


def test_a_folder_is_one_run_s(photos, tmp_path, capsys):
    run = tmp_path / "run"
    process = start(photos, run)
    try:
        for command in (("--resume", run), (photos, "--out", run, "--force", "--steps", 1, *TINY)):
            done = subprocess.run([sys.executable, "-m", "train", *map(str, command)], cwd=ROOT, capture_output=True,
                                  text=True)
            assert done.returncode == 2 and f"in use by process {process.pid} on" in done.stderr, done.stderr
    finally:
        process.kill()
        process.communicate()
    assert (run / LOCK).exists() and (run / METRICS).exists()
    assert new(photos, run, 1, "--force") == 0 and not (run / LOCK).exists()
