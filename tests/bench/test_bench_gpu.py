"""bench on a GPU, with stand-ins for CuPy and PyTorch's CUDA: which stream is timed and recorded, what is raced."""

import sys
from types import SimpleNamespace

import pytest

from bench.measure import timing
from bench.torch.configs import COMPILED, configs


class Stream:
    ptr = 7

    def __init__(self, log, fails=False):
        self.log, self.fails, self.capturing = log, fails, False

    def use(self):
        self.log.append("use")
        return self

    def begin_capture(self):
        self.capturing = True

    def end_capture(self):
        self.capturing = False
        if self.fails:
            raise RuntimeError("invalidated")
        return SimpleNamespace(launch=lambda stream: self.log.append(("launch", stream)))

    def is_capturing(self):
        return False


@pytest.fixture
def fake(monkeypatch):
    log = []
    stream = Stream(log)
    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    cupy = SimpleNamespace(cuda=SimpleNamespace(
        Device=lambda: SimpleNamespace(synchronize=lambda: None), Event=lambda: event,
        Stream=lambda non_blocking: stream if non_blocking else None, get_elapsed_time=lambda a, b: fake.milliseconds,
    ))
    cuda = SimpleNamespace(ExternalStream=lambda ptr: f"torch's {ptr}", set_stream=log.append)
    fake = SimpleNamespace(log=log, stream=stream, milliseconds=0.01)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    timing.one_stream.cache_clear()
    yield fake
    timing.one_stream.cache_clear()


def test_both_sides_work_on_one_stream_that_can_be_recorded(fake):
    for _ in range(2):
        assert timing.Events(flushed=False).stream is fake.stream
    assert fake.log == ["use", "torch's 7"]


def test_small_work_is_replayed_and_large_work_is_not(fake):
    clock, calls = timing.Events(flushed=False), []
    replay = clock.prepare(lambda: calls.append(fake.stream.capturing))
    assert calls == [False] * 3 + [True]
    replay()
    assert fake.log[-1] == ("launch", fake.stream) and len(calls) == 4
    fake.milliseconds = 1.0
    work = lambda: None  # noqa: E731
    assert clock.prepare(work) is work


def test_events_are_in_milliseconds(fake):
    for milliseconds, replayed in ((0.19, True), (0.21, False)):
        fake.milliseconds = milliseconds
        work = lambda: None  # noqa: E731
        clock = timing.Events(flushed=False)
        assert clock.time(work) == milliseconds / 1e3 and (clock.prepare(work) is not work) is replayed


def test_what_cannot_be_recorded_is_timed_as_it_is(fake):
    fake.stream.fails = True
    work = lambda: None  # noqa: E731
    assert timing.Events(flushed=False).prepare(work) is work


@pytest.mark.parametrize("work", ["forward", "step"])
def test_a_gpu_races_graphs_and_max_autotune(work):
    found = configs(work, device="cuda")
    assert {c.how for c in found} == {"graph", "eager", *COMPILED} and len({c.name for c in found}) == len(found)
    assert all(c.how not in COMPILED for c in configs(work, quick=True, device="cuda"))
    assert {c.how for c in configs(work)} <= {"eager", "jit frozen", "compiled"}
