"""Times of several functions, measured in turns so that a busy moment of the machine hits all of them, and how far
they can be trusted: how widely the rounds differ, and how much of the cores others used meanwhile."""

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.measure.machine import cache_bytes, cores

NOISY = 0.15  # a figure whose 20th and 80th percentile lie further apart than this share of it is marked
BUSY = 0.10  # and one during which others used more than this share of the cores
STABLE = 0.05  # warm-up ends when the last three runs are not faster than those before by more than this
WARMUP_SECONDS, WARMUP_RUNS = 2.0, 12
SETTLE = 0.02  # seconds before each run on a CPU: threads of PyTorch's last one (libgomp's) spin for up to 12 ms
SHORT = 0.1  # seconds: shorter functions run untimed meanwhile, as cores that waited are slow for as long as they take
Function = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """Seconds of one function, one entry a round."""

    seconds: np.ndarray

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.seconds, q))


class Spread(NamedTuple):
    """A figure with its 20th and 80th percentile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        return cls(*(float(np.quantile(values, q)) for q in (0.5, 0.2, 0.8)))

    def mark(self, others: float = 0.0) -> str:
        """Why the figure is not to be trusted: "busy 34 %", "noisy", or nothing."""
        if others > BUSY:
            return f"busy {others:.0%}"
        return "noisy" if self.high - self.low > NOISY * self.median else ""


class Race(NamedTuple):
    """Times by name, all from the same rounds, and the share of the cores that others used meanwhile."""

    times: dict[str, Times]
    others: float

    def ratio(self, theirs: str, ours: str) -> Spread:
        """theirs / ours, round by round: above 1 ours is faster."""
        return Spread.of(self.times[theirs].seconds / self.times[ours].seconds)


class Wall:
    """Times of functions on this CPU. `flush` empties the caches."""

    def __init__(self, flushed: bool = True) -> None:
        self.buffers: list[np.ndarray] = []  # one a core
        if flushed:
            self.buffers = [np.zeros(2 * cache_bytes() // 4, np.float32) for _ in cores()]
            self.pool = ThreadPoolExecutor(len(self.buffers))

    def settle(self, function: Function, expected: float) -> None:
        """Until only the function's own threads are awake."""
        end = time.perf_counter() + SETTLE
        if expected > SHORT:
            time.sleep(SETTLE)
        while time.perf_counter() < end:
            function()

    def flush(self) -> None:
        if self.buffers:
            list(self.pool.map(lambda x: np.add(x, 1, out=x), self.buffers))

    def time(self, function: Function) -> float:
        if timed := getattr(function, "timed", None):  # in another process
            return timed()
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    def prepare(self, function: Function) -> Function:
        return function


class Events:
    """The same on a GPU: CuPy's events around what a function starts; `prepare` replays small work as a graph."""

    SMALL = 2e-4  # seconds below which starting kernels from Python would be what is measured

    def __init__(self, flushed: bool = True) -> None:
        import cupy

        self.cupy, self.stream = cupy, one_stream()
        self.buffer = cupy.zeros(256 << 20, cupy.uint8) if flushed else None

    def settle(self, function: Function, expected: float) -> None:
        """Nothing: on a GPU work waits for the work before it."""

    def flush(self) -> None:
        if self.buffer is not None:
            self.buffer += 1

    def time(self, function: Function) -> float:
        if timed := getattr(function, "timed", None):
            return timed()
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record()
        function()
        end.record()
        end.synchronize()
        return self.cupy.cuda.get_elapsed_time(start, end) / 1e3

    def prepare(self, function: Function) -> Function:
        """`function`, or the replay of a graph of what it starts where that is small and can be recorded."""
        if hasattr(function, "timed"):
            return function
        for _ in range(3):
            seconds = self.time(function)
        if seconds > self.SMALL:
            return function
        self.stream.begin_capture()
        try:
            kept = function()
            graph = self.stream.end_capture()
        except Exception:  # whatever PyTorch or CUDA may say: then what starting it takes is part of its time
            if self.stream.is_capturing():
                self.stream.end_capture()
            return function
        return lambda: (graph.launch(self.stream), kept)


@cache
def one_stream() -> Any:
    """From now on CuPy and PyTorch (where it is imported) work on this stream of CuPy's, so that events around what
    either starts see all of it, and a graph holds all of it: the default stream cannot be recorded."""
    import cupy

    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True).use()
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.cuda.set_stream(torch.cuda.ExternalStream(stream.ptr))
    return stream


def race(
    functions: Mapping[str, Function], seconds: float, rounds: tuple[int, int] = (5, 50), clock: Any = None,
    warm: bool = True,
) -> Race:
    """Runs every function once a round, each round in the other direction, until `seconds` are over.

    rounds: how many at least and at most. clock: `Wall` (default, without flushing) or `Events`. warm: run each until
    its time is stable first.
    """
    clock = clock or Wall(flushed=False)
    functions = {name: clock.prepare(function) for name, function in functions.items()}
    if warm:
        for function in functions.values():
            warm_up(function, clock)
    found: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    gc.collect()
    gc.disable()
    try:
        with Others() as others:
            begun, count = time.perf_counter(), 0
            while count < rounds[0] or (count < rounds[1] and time.perf_counter() - begun < seconds):
                for name in order:
                    clock.settle(functions[name], found[name][-1] if found[name] else SHORT)
                    clock.flush()
                    found[name].append(clock.time(functions[name]))
                order.reverse()
                count += 1
    finally:
        gc.enable()
    return Race({name: Times(np.array(values)) for name, values in found.items()}, others.share)


def warm_up(function: Function, clock: Any) -> None:
    """Runs the function until it gets no faster."""
    runs: list[float] = []
    while len(runs) < 3 or (len(runs) < WARMUP_RUNS and sum(runs) < WARMUP_SECONDS):
        runs.append(clock.time(function))
        if len(runs) > 3 and min(runs[-3:]) > (1 - STABLE) * min(runs[:-3]):
            return
        if len(runs) == 1 and runs[0] > WARMUP_SECONDS:
            return


class Others:
    """Within the context: which share of this process's cores others used (Linux; 0 where it cannot be told)."""

    share = 0.0

    def __enter__(self) -> "Others":
        self.before = self.now()
        return self

    def __exit__(self, *_: Any) -> None:
        used, total, own = (b - a for a, b in zip(self.before, self.now()))
        self.share = min(1.0, max(0.0, used - own) / total) if total > 0 else 0.0  # the kernel counts in steps of 10 ms

    def now(self) -> tuple[float, float, float]:
        """Seconds that the cores were in use, passed on them, and were used by this process and those it waited for."""
        own = os.times()
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return 0.0, 0.0, 0.0
        ours = {f"cpu{n}" for n in cores()}
        ticks = np.array([[float(t) for t in line.split()[1:9]] for line in lines if line.split()[0] in ours])
        hertz = os.sysconf("SC_CLK_TCK")
        used = ticks.sum() - ticks[:, 3:5].sum()  # all but idle and waiting for disks
        return used / hertz, ticks.sum() / hertz, sum(own[:4])
