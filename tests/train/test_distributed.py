"""Two real processes under torchrun: gradients and weights, a process that is killed, restarts, bad input."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from ltbc.kernels.compare import relative_error
from ltbc.nn import Network
from ltbc.train import TrainError
from ltbc.train.distributed import Group, Lost, World, join
from ltbc.train.journal import Silent
from ltbc.train.leavings import METRICS
from ltbc.train.source import read_pictures
from tests import ROOT
from tests.tools.drawn import draw_folder
from tests.tools.runs import TINY, assert_same_bits, lines, load, new, newest, steps, train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
SIX = ["--width", "0.05", "--crop", "16", "--batch", "6", "--backend", "reference"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("photos"), each=8)


def started(command, **options):
    command = list(map(str, command))
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finished(command, wanted=0, **options):
    process = started(command, **options)
    said, errors = process.communicate(timeout=240)
    assert process.returncode == wanted, errors
    return said, errors


@pytest.mark.parametrize("backend, tolerance", [  # float32, another order of sums
    ("reference", 1e-6), pytest.param("cpu", 1e-5, marks=pytest.mark.slow),
])
def test_two_processes_have_the_gradients_of_one(photos, tmp_path, backend, tolerance):
    worker = [ROOT / "tests/tools/process_of_a_group.py"]
    how = [photos, 4, "--backend", backend, "--dtype", "float32"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    finished([sys.executable, *worker, tmp_path / "one", *how], env=environment)
    finished([*TORCHRUN, *worker, tmp_path / "two", *how], env=environment)
    one, first, second = (np.load(tmp_path / name) for name in ("one.0.npz", "two.0.npz", "two.1.npz"))
    for name in ("weights", *(f"{kind} {k}" for k in range(4) for kind in ("gradients", "losses"))):
        assert first[name].tobytes() == second[name].tobytes(), name
    assert relative_error(first["gradients 0"], one["gradients 0"]) < tolerance
    for k in range(4):
        assert relative_error(first[f"losses {k}"], one[f"losses {k}"]) < 10 * tolerance
    assert relative_error(first["weights"], one["weights"]) < 10 * tolerance
    for process in (first, second):
        assert str(process["told"]).startswith("the processes hold different weights; --resume goes on from the last")
    assert str(one["told"]) == ""
    sent, layers = first["sent"], int(first["layers"])
    assert sent[:, 1].sum() == one["weights"].size and len(sent) >= 4
    assert sent[0, 0] < layers / 2 and (sent[:, 0] < layers).sum() > len(sent) / 2  # on the way before the end
    if backend == "cpu":
        assert first["threads"] == max(1, int(one["threads"]) // 2)


@pytest.mark.slow
def test_a_run_of_two_processes_is_one_run(photos, tmp_path):
    """Trained by two, by one, and by two and then one: the same within rounding; two resumed by two: the same bits."""
    held_out = draw_folder(tmp_path / "held out", classes=("new",), each=2)
    how = [photos, *SIX, "--held-out", held_out]
    said, errors = finished([*TORCHRUN, "-m", "train", *how, "--out", tmp_path / "two", "--steps", 6])
    assert said.count("16 pictures in 2 classes") == 1 and said.count("6 steps") == 1 and "2 processes" in said
    assert errors.count("held out: 2 pictures") == 1
    finished([sys.executable, "-m", "train", *how, "--out", tmp_path / "one", "--steps", 6])
    finished([*TORCHRUN, "-m", "train", *how, "--out", tmp_path / "halves", "--steps", 3])
    finished([*TORCHRUN, "-m", "train", "--resume", tmp_path / "halves", "--steps", 6])
    assert_same_bits(tmp_path / "two", tmp_path / "halves")
    np.testing.assert_allclose(steps(tmp_path / "two"), steps(tmp_path / "one"), rtol=1e-4)
    two, one = load(tmp_path / "two"), load(tmp_path / "one")
    assert two.progress.position == one.progress.position == 36
    assert relative_error(two.arrays["parameters"], one.arrays["parameters"]) < 1e-4


def running(command, run, wanted):
    """A started command once its run has done `wanted` steps, and its workers by their rank."""
    process = started(command)
    deadline = time.monotonic() + 120
    while not ((run / METRICS).exists() and len((run / METRICS).read_bytes().splitlines()) >= wanted):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.05)
    workers = {int(p.environ()["RANK"]): p for p in psutil.Process(process.pid).children() if "train" in p.cmdline()}
    return process, workers


@pytest.mark.parametrize("killed", [pytest.param(1, marks=pytest.mark.slow), 0])
def test_a_killed_process_ends_the_run_with_a_checkpoint_that_resumes(photos, tmp_path, killed):
    """Also the first one, which wrote until then."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = [*TORCHRUN, "-m", "train"]
    process, workers = running([*command, photos, *SIX, "--out", run, "--steps", 10**6], run, 3)
    workers[killed].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode
    assert len(lines(run)) == load(run).progress.step
    done = load(run).progress.step
    (line,) = [x for x in errors.splitlines() if "of 2 processes, another one is gone" in x]
    assert f"checkpoint of step {done} in {run}; --resume {run} goes on from it" in line and done >= 3
    finished([*command, "--resume", run, "--steps", done + 2])
    finished([*command, photos, *SIX, "--out", whole, "--steps", done + 2])
    assert_same_bits(run, whole)


@pytest.mark.parametrize("talk", ["mean", "agree", "check_same"])
def test_wherever_a_process_is_lost_the_checkpoint_is_of_a_whole_step(photos, tmp_path, monkeypatch, talk):
    """Whatever the processes were just saying to each other: no step is half done, none is done but not told of."""
    calls = iter(range(99))

    def lost_at_the_fourth(self, *given):
        if next(calls) == 3:
            raise Lost("another process is gone")
        return getattr(World, talk)(self, *given)

    monkeypatch.setattr("ltbc.train.__main__.join", type("Breaking", (World,), {talk: lost_at_the_fourth}))
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert train(photos, "--out", run, "--steps", 8, "--checkpoint-every", 2, *TINY) == 2
    monkeypatch.undo()
    done = load(run).progress.step
    assert done == {"mean": 2, "agree": 3, "check_same": 8}[talk]  # the first mean is of the warm-up
    assert train("--resume", run, "--steps", done + 2) == 0
    assert new(photos, whole, done + 2, "--checkpoint-every", 2) == 0
    assert_same_bits(run, whole)


@pytest.mark.slow
def test_torchrun_restarts_from_the_checkpoint(photos, tmp_path):
    run = tmp_path / "run"
    command = [*TORCHRUN, "--max-restarts", 1, "-m", "train", photos, *SIX, "--out", run, "--checkpoint-every", 5]
    process, workers = running([*command, "--steps", 2000], run, 7)
    workers[0].send_signal(signal.SIGKILL)  # the one that writes: another one does
    deadline = time.monotonic() + 120
    while load(run).progress.step < 40:  # the restarted processes
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=120)
    told = [json.loads(line)["step"] for line in (run / METRICS).read_text().splitlines()]
    assert told == list(range(1, len(told) + 1))
    assert load(run).progress.step >= 40


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(photos, tmp_path):
    run = tmp_path / "run"
    command = [*TORCHRUN, "-m", "train", photos, *SIX, "--out", run, "--steps", 10**6]
    process, workers = running(command, run, 2)
    workers[1].send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert errors.count("train: stopped by SIGTERM") == 1 and "is gone" not in errors
    assert load(run).progress.step == len(steps(run))


@pytest.mark.parametrize("more, says", [
    (["--batch", 5], "--batch 5 must be a multiple of the 2 processes"),
    (["--resume", "nowhere"], "no checkpoint in it"),
])
def test_bad_input_to_two_processes(photos, tmp_path, more, says):
    given = [] if "--resume" in more else [photos, *SIX, "--out", tmp_path / "run"]
    _, errors = finished([*TORCHRUN, "-m", "train", *given, *more], wanted=1)
    assert sum(line.startswith("train: ") and says in line for line in errors.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_without_torch_several_processes_are_refused_in_one_line(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from ltbc.train.__main__ import main; sys.exit(main())"
    environment = os.environ | {"RANK": "0", "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", code, "x", "--out", tmp_path / "run", *TINY]
    _, errors = finished(command, wanted=2, env=environment)
    assert len(errors.splitlines()) == 1 and "talk through PyTorch, which is not installed" in errors


def test_one_process_needs_no_torch(photos, tmp_path):
    code = "import sys; sys.modules['torch'] = None; from ltbc.train.__main__ import main; sys.exit(main())"
    finished([sys.executable, "-c", code, photos, "--out", tmp_path / "run", "--steps", 1, *TINY])
    assert newest(tmp_path / "run").exists()
    assert type(join()) is World and World().share(3) == 3
    with Silent() as silent:
        silent.write(x=2)


class Others(Group):
    """One of several processes, of which the others say these values."""

    def __init__(self, rank, said):
        self.rank, self.size, self.said = rank, len(said) + 1, said

    def all(self, *values):
        rows = [list(row) for row in self.said]
        rows.insert(self.rank, list(values))
        return rows


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_what_processes_agree_on_is_the_same_in_each(rank):
    """The first one's seconds, the longest wait but no more than they were, any signal; means over all."""
    said = [(2.0, 0.5, 0), (9.0, 1.5, 0), (7.0, 1.0, 15)]
    others = [row for i, row in enumerate(said) if i != rank]
    assert Others(rank, others).agree(*said[rank]) == (2.0, 1.5, 15)
    assert Others(0, [(1.0, 5.0, 0)]).agree(2.0, 0.5, 2) == (2.0, 2.0, 2)
    losses = [(3.0, 1.0), (5.0, 2.0), (4.0, 6.0)]
    found = Others(rank, [x for i, x in enumerate(losses) if i != rank]).mean(dict(zip("ab", losses[rank])))
    assert found == {"a": 4.0, "b": 3.0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_smallest_difference_of_weights_is_seen(dtype):
    weights = np.random.default_rng(0).normal(size=1000).astype(dtype)
    said = []
    group = Others(0, [[0]])
    group.all = lambda *values: said.append(list(values)) or said[-1:] * 2
    group.check_same(weights)
    for i in (0, 500, 999):
        other = weights.copy()
        other[i] = np.nextafter(other[i], np.inf, dtype=dtype)
        group.all = lambda *values: [said[0], list(values)]
        with pytest.raises(TrainError, match="the processes hold different weights"):
            group.check_same(other)
    group.check_same(weights.copy())


def test_a_machine_s_processes_share_its_memory(photos):
    sharing = type("Sharing", (World,), {"local_size": 4})()
    settings = {"photos": str(photos), "held_out": None, "crop": 16, "memory": 4 * 3000 / 2**30, "workers": 8,
                "near_grey": 0, "alpha": 1, "global_size": 16}
    assert len(read_pictures(settings, World())[0].kept) == 12
    assert len(read_pictures(settings, sharing)[0].kept) == 3, "of 972 bytes each"


def test_spans_cover_the_flat_buffer():
    parameters = Network(0.05, 3, 16).parameters
    spans = sorted(parameters.spans().values())
    assert spans[0][0] == 0 and spans[-1][1] == parameters.flat.size
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:]))
    for name, view in parameters.views.items():
        start, stop = parameters.spans()[name.rpartition(".")[0]]
        assert np.shares_memory(view, parameters.flat[start:stop])
