"""What benchmarks make of the runs of a configuration, a step, a program, from given seconds and bytes."""

import json
import time
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import BenchError, network, scaling
from bench.measure import memory, programs, timing, trials
from bench.measure import work as network_work
from bench.torch import stopping
from bench.torch.configs import Config
from tests.bench.test_bench_times import Clock, made_up_time


@pytest.fixture
def ticks(monkeypatch):
    return made_up_time(monkeypatch, network, network_work, trials)


CONFIG = Config("float32", "channels_last")


@pytest.mark.parametrize("seconds, patience, best, shortest, runs", [
    ([9.0, 3.0, 2.0, 4.0, 5.0, 1.0, 0.5], 100.0, 0.0, 1.0, 6), ([9.0, 3.0, 2.0], 1.0, 0.0, 9.0, 1),
    ([0.5, 3.0, 2.0], 1.0, 0.0, 3.0, 2), ([9.0, 3.0, 2.0], 100.0, 1.4, 3.0, 2),
    ([9.0, 0.3, 0.3, 0.3, 0.3, 0.3], 100.0, 0.1, 0.3, 5),
])
def test_a_trial_takes_the_shortest_run_after_the_first(seconds, patience, best, shortest, runs, ticks, monkeypatch):
    """Until it is clear, from a second of runs, that they take more than twice the best time."""
    monkeypatch.setattr(trials, "refusal", lambda *_: "")
    side = SimpleNamespace(device="cpu", work=lambda work, config: "a")
    clock = Clock(a=seconds)
    assert trials.trial("forward", CONFIG, side, clock, patience, best, 1e9) == (shortest, "a")
    assert len(clock.log) == runs


def test_a_trial_that_fails_says_why(monkeypatch):
    monkeypatch.setattr(trials, "refusal", lambda config, device: "no compiler")
    with pytest.raises(BenchError, match="^not tried: no compiler$"):
        trials.trial("forward", CONFIG, SimpleNamespace(device="cpu"), None, 1.0, 0.0, 1e9)
    monkeypatch.setattr(trials, "refusal", lambda *_: "")

    def fails(work, config):
        raise RuntimeError("first line\nsecond")

    with pytest.raises(BenchError, match="^not tried: RuntimeError: first line$"):
        trials.trial("forward", CONFIG, SimpleNamespace(device="cpu", work=fails), None, 1.0, 0.0, 1e9)


BF16, AUTOCAST, FLOAT32 = "bf16 model", "bf16 autocast", "float32"


def tried(monkeypatch, seconds, end=1e9, work="forward", quick=False):
    """What `trials` makes of the seconds that configurations would take, by their mode; -1: would be stopped."""
    took, order = made_up_time(monkeypatch, trials), []
    took.step = 0.0

    def trial(work, config, side, clock, patience, best, end):
        order.append(config)
        t = seconds(config)
        took.now += abs(t)
        if t < 0:
            raise trials.TooSlow
        return t, config.name

    monkeypatch.setattr(trials, "trial", trial)
    side = SimpleNamespace(device="cpu", promising=(FLOAT32, AUTOCAST, BF16))
    return trials.trials(work, side, None, quick, end, lambda *_: None), order


def test_where_bfloat16_is_emulated_float32_is_tried_first_and_bfloat16_once(monkeypatch):
    for emulated in (30.0, -5.0):  # measured, or stopped on its way
        found, order = tried(monkeypatch, lambda c, t=emulated: 1.0 if c.mode == FLOAT32 else t)
        assert order[0].mode == FLOAT32 and [c.mode for c in order].count(BF16) == 1
        assert {c.mode for c in found.functions} == {FLOAT32} and {c.how for c in found.functions} == {
            "eager", "jit frozen", "compiled"}
        assert {c.mode for c in found.left_out} == {BF16, AUTOCAST} and len(found.notes) == 14
        said = {note for c, note in found.notes.items() if c.mode == BF16}
        assert all(note.startswith(("dropped: ", "not tried: torch bf16 ")) for note in said) and len(said) == 2


def test_twice_as_slow_is_dropped_but_an_arithmetic_only_by_four_times(monkeypatch):
    found, _ = tried(monkeypatch, lambda c: {FLOAT32: 1.0, AUTOCAST: 2.5, BF16: 1.9}[c.mode])
    assert {c.mode for c in found.functions} == {FLOAT32, BF16} and not found.left_out and len(found.seconds) == 14
    assert {note for c, note in found.notes.items() if c.mode == AUTOCAST} == {
        "dropped: 2.5 times as slow as the fastest so far"}


def test_a_slow_form_of_the_fastest_arithmetic_does_not_keep_its_others_away(monkeypatch):
    found, _ = tried(monkeypatch, lambda c: 9.0 if (c.mode, c.how) == (FLOAT32, "eager") else 1.0)
    assert not found.left_out and len(found.notes) == 14


def test_what_there_is_no_time_for_is_left_out_but_never_the_first(monkeypatch):
    found, order = tried(monkeypatch, lambda c: 1.0, end=-1.0)
    assert len(order) == len(found.functions) == 1 and len(found.left_out) == 13
    found, order = tried(monkeypatch, lambda c: 1.0, end=5.5)
    assert len(order) == 4  # another eager one may take two seconds, a compiled one twenty
    assert set(found.notes.values()) == {trials.IN_TURNS, "not tried: no time left (--minutes)"}
    found, _ = tried(monkeypatch, lambda c: -1.0, end=0.5)
    assert not found.functions and not found.seconds and len(found.left_out) == 14


def test_pytorch_is_stopped_between_its_operations_forward_and_backward():
    w = torch.ones(4, 4, requires_grad=True)
    with stopping.Until(time.perf_counter() + 100):
        y = (w @ w).sum()
    with pytest.raises(stopping.TooSlow), stopping.Until(0.0):
        y.backward()
    with pytest.raises(stopping.TooSlow), stopping.Until(0.0):
        w @ w
    (w @ w).sum().backward()  # as if nothing had been


def test_as_many_finalists_as_there_is_time_for(monkeypatch):
    times = {CONFIG._replace(layout=name): t for name, t in (("a", 1.1), ("b", 1.0), ("c", 1.15), ("d", 1.3))}
    found = trials.Tried(times, dict.fromkeys(times, None), {}, [])
    for left, layouts in ((100.0, "bac"), (3 * 3.15, "ba"), (1.0, "b")):
        assert [c.layout for c in network.finalists(found, 1.0, left)] == list(layouts)
    assert network.finalists(trials.Tried({}, {}, {}, []), 1.0, 9.0) == []


def test_the_fastest_has_the_least_seconds():
    other = CONFIG._replace(layout="contiguous")
    assert trials.fastest({CONFIG: 2.0, other: 1.0}) == other


def test_time_is_dealt_out_by_weight(ticks):
    ticks.step = 0.0
    budget = network.Budget(0.0, 2.0, [1.0, 1.0, 4.0])
    assert budget.next() == 20.0
    ticks.now = 40.0  # late
    assert budget.next() == 40 + 80 / 5
    ticks.now = 130.0  # too late
    assert budget.next() == 130.0


def test_parts_of_a_step_are_medians_without_the_first_run():
    runs = [{"forward": f, "backward": 2 * f} for f in (100.0, 1.0, 5.0, 3.0)]
    assert network_work.OurStep.medians(runs) == {"forward": 3.0, "backward": 6.0}
    assert network_work.OurStep.medians(runs[:1]) == {"forward": 100.0, "backward": 200.0}


def test_a_steps_time_is_split_into_its_parts(ticks):
    ticks.step = 0.0

    def takes(seconds):
        return lambda *_, **__: setattr(ticks, "now", ticks.now + seconds)

    net = SimpleNamespace(backend="cpu", backward=takes(4.0))
    net.loss_and_gradients = lambda **_: (takes(1.0)(), net.backward())
    step = object.__new__(network_work.OurStep)
    step.net, step.data, step.parts, step.optimizer = net, {}, [], SimpleNamespace(step=takes(2.0))
    backward = net.backward

    def timed(*_):
        start = step.now()
        backward()
        step.backward_seconds += step.now() - start

    net.backward = timed
    step()
    assert step.parts == [{"forward": 1.0, "backward": 4.0, "optimizer": 2.0}]


def test_making_a_batch_takes_the_median_without_the_first(ticks, monkeypatch):
    took = iter([50.0, 1.0, 9.0, 2.0, 8.0, 3.0])
    ticks.step = 0.0
    monkeypatch.setattr(network_work, "call", lambda *_: lambda: setattr(ticks, "now", ticks.now + next(took)))
    assert network_work.data_seconds(1, 16, "reference") == 3.0


def test_peak_memory_is_what_is_held_beyond_the_libraries(monkeypatch, capsys):
    held = iter([1000, 5000])
    monkeypatch.setattr(memory, "held", lambda backend, what, ours=True: next(held))
    task = {"side": "ours", "work": "forward", "batch": 1, "size": [16, 16], "global_size": 16, "width": 0.03,
            "backend": "reference", "dtype": "float32", "runs": 3}
    took = (float(n) for n in count(1))
    monkeypatch.setattr(timing.Wall, "time", lambda self, function: next(took))
    memory.main(json.dumps(task))
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == 4000 and found["seconds"] == [4.0, 5.0, 6.0] and 0 <= found["others"] <= 1


def test_what_a_process_holds_is_in_kibibytes(monkeypatch):
    text = "VmPeak: 9 kB\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\n"
    monkeypatch.setattr(memory, "Path", lambda name: SimpleNamespace(read_text=lambda: text))
    assert memory.held("cpu", "resident") == 200 << 10 and memory.held("cpu", "peak") == 300 << 10


def test_steps_of_training_are_those_after_the_first_two(monkeypatch):
    def done(command, **environment):
        folder = command[command.index("--out") + 1]
        ends = [10.0, 30.0, 31.0, 33.0, 36.0, 40.0, 45.0]
        lines = [json.dumps({"step": k, "seconds": s}) for k, s in enumerate(ends)]
        (programs.Path(folder) / "metrics.jsonl").write_text("\n".join(lines))
        return programs.Done(50.0, 1 << 30)

    monkeypatch.setattr(programs, "done", done)
    found = programs.train(2, 8, 64, 0.1, "cpu", "float32")
    assert found["seconds"] == [1.0, 2.0, 3.0, 4.0, 5.0] and found["bytes"] == 1 << 30
    assert len(found["seconds"]) == programs.STEPS


def test_growth_of_known_powers_and_its_error():
    n = np.array([1.0, 2, 4, 8])
    for k in (-1, 0, 0.5, 1, 2):
        assert scaling.growth(n, 7 * n**k) == (pytest.approx(k), pytest.approx(0, abs=1e-9))
    x, off = np.log(n) - np.log(n).mean(), np.array([0.1, -0.1, -0.1, 0.1])  # orthogonal to a line
    assert scaling.growth(n, n * np.exp(off)) == (
        pytest.approx(1), pytest.approx((0.04 / 2 / (x @ x)) ** 0.5))  # residuals' sum of squares over n - 2
