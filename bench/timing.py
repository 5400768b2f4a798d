"""Times of several functions, measured in turns so that a busy moment of the machine hits all of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Times:
    """Seconds of one function, one entry a round."""

    seconds: np.ndarray

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.seconds, q))


def interleaved(functions: dict[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, Times]:
    """Runs every function once a round, in turn, after `warmup` runs of each."""
    for function in functions.values():
        for _ in range(warmup):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: Times(np.array(values)) for name, values in seconds.items()}


def ratio(theirs: Times, ours: Times) -> tuple[float, float, float]:
    """(median, 20th, 80th percentile) of theirs / ours, round by round: above 1 ours is faster."""
    ratios = theirs.seconds / ours.seconds
    return float(np.median(ratios)), float(np.quantile(ratios, 0.2)), float(np.quantile(ratios, 0.8))
