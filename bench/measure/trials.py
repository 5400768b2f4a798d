"""The first runs of every configuration of PyTorch: which of them are worth measuring in turns with ours.

Each runs once, in the order of its promise. One that takes more than twice as long as the best so far is dropped, and
stopped in the middle where it takes much longer; one whose arithmetic was that slow in another form is not tried.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

from bench import BenchError
from bench.torch.configs import COMPILED, Config, TorchSide, configs, refusal
from bench.torch.stopping import TooSlow, Until

COMPILING = 20.0  # seconds that the first torch.compile is expected to take; later ones what the last one took
RUNS = 6  # of a configuration at most: what is new to it (torch.jit profiles its first runs) must not be what counts
DROPPED, HOPELESS = 2.0, 4.0  # times the best time so far: not measured further; its arithmetic is not tried further
LEAST = 10.0  # seconds that the very first configuration may take, even where there is no time left
FIRST_RUN = 1.0  # seconds that the first run may take beyond that: it allocates and lays out weights anew
IN_TURNS = "shortest of some runs; the fastest were measured in turns"


class Tried(NamedTuple):
    """What came of every configuration: the time of those not dropped in the middle, functions of those not dropped,
    what is to be said of each, and those that were not tried at all or only in part."""

    seconds: dict[Config, float]
    functions: dict[Config, Any]
    notes: dict[Config, str]
    left_out: list[Config]


def trials(
    work: str, side: TorchSide, clock: Any, quick: bool, end: float, keep: Callable[[Tried, Config], None]
) -> Tried:
    """Every configuration, as far as the time suffices; `keep` gets what there is after each, and which one it was."""
    tried, compiling, hopeless = Tried({}, {}, {}, []), COMPILING, dict[str, str]()
    for config in configs(work, quick, side.device, side.promising):
        begun, compiled = time.perf_counter(), config.how in COMPILED
        best = min(tried.seconds.values(), default=0.0)
        if quick and config.optimizer == "loop" and best and (
                config._replace(optimizer="foreach") != fastest(tried.seconds)):
            continue  # the optimizer's part is the same in all of them
        if compiled and tried.seconds:
            config = config._replace(optimizer=fastest(tried.seconds).optimizer)
        try:
            if config.mode in hopeless:
                raise BenchError(f"not tried: {hopeless[config.mode]}")
            if tried.notes and begun + (compiling if compiled else DROPPED * best) > end:
                raise BenchError("not tried: no time left (--minutes)")
            seconds, function = trial(work, config, side, clock, 0.6 if quick else 4.0, best, end)
            tried.seconds[config], tried.notes[config] = seconds, IN_TURNS
            if best and seconds > DROPPED * best:
                tried.notes[config] = f"dropped: {seconds / best:.1f} times as slow as the fastest so far"
            else:
                tried.functions[config] = function
            if best and seconds > HOPELESS * best and config.mode != fastest(tried.seconds).mode:
                hopeless[config.mode] = f"{config.name} is {seconds / best:.1f} times as slow as the fastest"
        except TooSlow:
            passed = time.perf_counter() - begun
            of = f", the fastest takes {best:.2g} s" if best else ""
            tried.notes[config] = f"dropped: stopped after {passed:.1f} s{of}"
            if passed < HOPELESS * best:  # the time is over
                tried.left_out.append(config)
            elif best and config.mode != fastest(tried.seconds).mode:
                hopeless[config.mode] = f"{config.name} takes more than {HOPELESS:g} times as long as the fastest"
            if not best:
                tried.left_out.append(config)
        except BenchError as error:
            tried.notes[config] = str(error)
            tried.left_out.append(config)
        keep(tried, config)
        compiling = time.perf_counter() - begun if compiled and config in tried.seconds else compiling
    return tried


def fastest(times: dict[Config, float]) -> Config:
    return min(times, key=times.__getitem__)


def trial(
    work: str, config: Config, side: TorchSide, clock: Any, patience: float, best: float, end: float
) -> tuple[float, Any]:
    """Seconds of the shortest run after the first within `patience` (of the first where that took longer, if it is an
    eager one), and the function. best: time of the fastest so far, 0 without one; by it a run is stopped.

    Raises BenchError where the configuration cannot run, TooSlow where it was stopped.
    """
    if why := refusal(config, side.device):
        raise BenchError(f"not tried: {why}")
    limit = HOPELESS * best + FIRST_RUN if best else float("inf")
    now = time.perf_counter()
    stopped = nullcontext() if config.how != "eager" else Until(min(now + limit, max(end, now + LEAST * (not best))))
    try:
        function = side.work(work, config)
        with stopped:
            runs = [clock.time(function)]
        until = time.perf_counter() + patience
        if runs[0] > patience and config.how == "eager":
            return runs[0], function
        while len(runs) < 2 or (len(runs) < RUNS and time.perf_counter() + min(runs) < until):
            runs.append(clock.time(function))
            if best and min(runs[1:]) > DROPPED * best and sum(runs[1:]) > FIRST_RUN:
                break
        return min(runs[1:]), function
    except TooSlow:
        raise
    except Exception as error:  # whatever a compiler of PyTorch's may raise
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise BenchError(f"not tried: {why}") from error
