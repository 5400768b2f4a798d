"""Known seconds in, known figures out: nothing here is measured, clocks and durations are given."""

import gc
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest

from bench.measure import ceilings, timing


class Clock:
    """A clock for which the functions' names say what they take; `log` has what was done, in order."""

    def __init__(self, **seconds):
        self.seconds, self.log = {name: iter(values) for name, values in seconds.items()}, []

    def prepare(self, name):
        self.log.append(("prepare", name))
        return name

    def settle(self, name, expected):
        self.log.append(("settle", name, expected))

    def flush(self):
        self.log.append(("flush",))

    def time(self, name):
        self.log.append(("time", name, gc.isenabled()))
        return next(self.seconds[name])


def made_up_time(monkeypatch, *modules):
    """perf_counter of these modules goes on by `step` at each look, and by what is added to `now`."""
    state = SimpleNamespace(now=0.0, step=1.0)

    def perf_counter():
        state.now += state.step
        return state.now

    for module in modules:
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=perf_counter))
    return state


@pytest.fixture
def ticks(monkeypatch):
    return made_up_time(monkeypatch, timing, ceilings)


def test_a_race_gives_the_seconds_of_each_and_their_ratio_round_by_round():
    ours, theirs = np.arange(1.0, 12), np.arange(1.0, 12) * np.r_[3, 2, 2, 2, 4, 4, 4, 2.5, 2.5, 3, 3]
    clock = Clock(ours=ours, torch=theirs)
    found = timing.race({"ours": "ours", "torch": "torch"}, 0.0, (11, 50), clock, warm=False)
    assert found.times["ours"].seconds.tolist() == ours.tolist()
    assert found.times["torch"].seconds.tolist() == theirs.tolist()
    assert found.times["ours"].median == 6 and found.times["ours"].quantile(0.2) == 3
    assert found.ratio("torch", "ours") == (3.0, 2.0, 4.0)
    assert found.ratio("ours", "torch").median == pytest.approx(1 / 3)


def test_each_run_is_settled_flushed_timed_and_the_order_turns():
    clock = Clock(a=[1.0, 2, 3], b=[4.0, 5, 6])
    assert gc.isenabled()
    timing.race({"a": "a", "b": "b"}, 0.0, (3, 3), clock, warm=False)
    assert gc.isenabled()
    assert clock.log[:2] == [("prepare", "a"), ("prepare", "b")]
    runs = [("a", timing.SHORT), ("b", timing.SHORT), ("b", 4.0), ("a", 1.0), ("a", 2.0), ("b", 5.0)]
    wanted = [[("settle", name, expected), ("flush",), ("time", name, False)] for name, expected in runs]
    assert clock.log[2:] == list(chain(*wanted))


@pytest.mark.parametrize("seconds, rounds, done", [
    (0.0, (3, 9), 3), (5.5, (3, 9), 8), (9.5, (3, 9), 9), (100.0, (3, 3), 3),
])
def test_a_race_ends_after_its_time_within_its_rounds(seconds, rounds, done, ticks):
    found = timing.race({"a": "a"}, seconds, rounds, Clock(a=[1.0] * 20), warm=False)
    assert len(found.times["a"].seconds) == done


@pytest.mark.parametrize("seconds, runs", [
    ([1.0, 1.0, 1.0, 1.0, 1.0], 3), ([0.3] * 9, 4), ([0.3, 0.2, 0.1, 0.09, 0.08, 0.07] + [0.07] * 9, 9),
    ([0.3, 0.3, 0.3, 0.286], 4), ([0.3, 0.3, 0.3, 0.284, 0.284, 0.284, 0.284], 7), ([2.1, 1.0], 1), ([0.001] * 20, 4),
    ([0.1 * 0.9**k for k in range(20)], 12),
])
def test_warm_up_ends_when_runs_get_no_faster(seconds, runs):
    """The last three against those before, by 5 %; after two seconds or twelve runs in any case, but not before three
    unless one alone takes as long."""
    clock = Clock(a=chain(seconds, [seconds[-1]] * 9))
    timing.warm_up("a", clock)
    assert len(clock.log) == runs


def test_percentiles_and_marks():
    assert timing.Spread.of(np.arange(1.0, 12)) == (6.0, 3.0, 9.0)
    assert timing.Spread.of(np.array([5.0])) == (5.0, 5.0, 5.0)
    assert timing.Spread(2.0, 1.86, 2.15).mark() == "" and timing.Spread(2.0, 1.84, 2.16).mark() == "noisy"
    assert timing.Spread(1.0, 1.0, 1.0).mark(others=0.10) == "" and timing.Spread(1, 1, 1).mark(0.11) == "busy 11%"
    assert timing.Spread(1.0, 0.5, 1.5).mark(others=0.5) == "busy 50%"


def test_caches_are_flushed_by_buffers_of_twice_their_size_on_every_core(monkeypatch):
    monkeypatch.setattr(timing, "cache_bytes", lambda: 4096)
    monkeypatch.setattr(timing, "cores", lambda: {0, 3, 5})
    clock = timing.Wall()
    for times in (1, 2):
        clock.flush()
        assert [b.nbytes for b in clock.buffers] == [8192] * 3 and all((b == times).all() for b in clock.buffers)
    timing.Wall(flushed=False).flush()
    assert timing.Wall(flushed=False).buffers == []


def test_the_wall_clock_times_the_function_alone(ticks):
    ticks.step = 0.25
    assert timing.Wall(flushed=False).time(lambda: setattr(ticks, "now", ticks.now + 2)) == 2.25


def test_use_of_the_cores_as_linux_tells_it(monkeypatch):
    """user, nice, system, idle, iowait, irq, softirq, steal; only of our cores; guest time is in user's already."""
    text = ("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 40 50 6 7 8 900 900\ncpu1 9 9 9 9 9 9 9 9 9 9\n"
            "cpu2 1 1 1 1 1 1 1 1 7 7\nintr 5\n")
    monkeypatch.setattr(timing, "Path", lambda name: SimpleNamespace(read_text=lambda: text))
    monkeypatch.setattr(timing, "cores", lambda: {0, 2})
    fake = SimpleNamespace(times=lambda: (1.0, 2.0, 4.0, 8.0, 99.0), sysconf=lambda name: 10, sysconf_names={})
    monkeypatch.setattr(timing, "os", fake)
    assert timing.Others().now() == (pytest.approx(3.3), pytest.approx(12.5), 15.0)


def test_the_ceiling_is_the_fastest_run_of_the_best_candidate(monkeypatch, ticks):
    took = {"slow": [4.0, 2.0, 3.0], "fast": [1.0, 0.5, 2.0], "copy": [0.5, 0.25, 1.0], "read": [0.5, 0.2, 1.0]}
    ticks.step = 0.0

    def candidate(name):
        seconds = iter(took[name])
        return lambda: setattr(ticks, "now", ticks.now + next(seconds))

    products, traffic = ({"slow": (2e9, candidate("slow")), "fast": (2e9, candidate("fast"))},
                         {"copy": (2, candidate("copy")), "read": (1, candidate("read"))})
    monkeypatch.setattr(ceilings, "cpu_candidates", lambda *_: (products, traffic))
    found = ceilings.ceilings("float32", "reference", side=1000, size=10**9, seconds=1.0)
    assert found == (2e9 / 0.5, 2e9 / 0.25, "fast", "copy")
    assert found.line() == "ceilings measured: 0.004 TFLOP/s (fast), 8 GB/s (copy)"
    assert found.limit(8e9, 8e9) == 2.0 and found.limit(8e9, 32e9) == 4.0


@pytest.mark.parametrize("small, side", [(1e-3, 3072), (3e-3, 1536), (0.02, 768), (0.11, 768), (0.2, 384), (58.0, 384)])
def test_slow_products_are_smaller_ones(small, side, ticks):
    """384 of a side of 3072, in a second: three runs of 3072 in emulated bfloat16 would take minutes."""
    ticks.step = 0.0
    assert ceilings.affordable(lambda n: setattr(ticks, "now", ticks.now + small), 3072, 1.0) == side


@pytest.mark.parametrize("seconds, runs", [([0.3] * 9, 4), ([1.0] * 9, 3), ([1.9] * 9, 3), ([5.0] * 9, 1)])
def test_a_ceiling_has_an_upper_time(seconds, runs, ticks):
    ticks.step, done = 0.0, iter(seconds)
    ceilings.best(lambda: setattr(ticks, "now", ticks.now + next(done)), 1.0)
    assert len(list(done)) == 9 - runs


def test_what_registers_alone_can_do_is_a_ceiling_too(monkeypatch):
    monkeypatch.setattr(ceilings, "cpu_candidates", lambda *_: ({"mm": (2.0, None)}, {"copy": (2, None)}))
    monkeypatch.setattr(ceilings, "best", lambda function, seconds: 1.0)
    for most, by in ((3.0, "registers only"), (1.0, "mm")):
        monkeypatch.setattr("ltbc.kernels.cpu.ceiling.operations_a_second", lambda dtype, seconds, most=most: most)
        assert ceilings.ceilings("float32", "cpu", 1, 10, 0.0)[::2] == (max(most, 2.0), by)


def test_traffic_counts_what_each_candidate_reads_and_writes(monkeypatch):
    products, traffic = ceilings.cpu_candidates("float32", 8, 4096, 1.0)
    assert {name: count for name, (count, _) in products.items()} == {"torch.mm float32": 2 * 8**3,
                                                                     "numpy float32": 2 * 8**3}
    assert {name: times for name, (times, _) in traffic.items()} == {"copy": 2, "numpy copy": 2, "triad": 3, "read": 1}
    for _, run in traffic.values():
        run()
