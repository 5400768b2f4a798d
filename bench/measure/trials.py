"""The first runs of every configuration of PyTorch: which of them are worth measuring in turns with ours."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from bench import BenchError
from bench.torch.configs import COMPILED, Config, TorchSide, configs, refusal

LEAST = 4  # configurations are tried, however long that takes: the first ones, which are the fastest as a rule
COMPILING = 20.0  # seconds that the first torch.compile is expected to take; later ones what the last one took
RUNS = 6  # of a configuration at most: what is new to it (torch.jit profiles its first runs) must not be what counts
NOT_ALONE = "shortest of some runs; the fastest were measured in turns"


class Tried(NamedTuple):
    """What came of every configuration that was tried: its first time, the function, what is to be said of it."""

    seconds: dict[Config, float]
    functions: dict[Config, Any]
    notes: dict[Config, str]


def trials(
    work: str, side: TorchSide, clock: Any, quick: bool, end: float, keep: Callable[[Tried], None], only: str = ""
) -> Tried:
    """Every configuration (`only` those of one mode) once, as far as the time suffices; `keep` gets what there is after
    each."""
    tried, compiling = Tried({}, {}, {}), COMPILING
    for config in configs(work, quick, side.device, only):
        begun = time.perf_counter()
        compiled = config.how in COMPILED
        if quick and config.optimizer == "loop" and config._replace(optimizer="foreach") != fastest(tried.seconds):
            continue  # the optimizer's part is the same in all of them
        if compiled:
            config = config._replace(optimizer=fastest(tried.seconds).optimizer)
        if len(tried.seconds) >= LEAST and begun + compiled * compiling > end:
            tried.notes[config] = "not measured: no time left (--minutes)"
            continue
        try:
            tried.seconds[config], tried.functions[config] = trial(work, config, side, clock, 0.6 if quick else 4.0)
            tried.notes[config] = NOT_ALONE
            keep(tried)
        except BenchError as error:
            tried.notes[config] = f"not measured: {error}"
        compiling = time.perf_counter() - begun if compiled else compiling
    if not tried.seconds:
        raise BenchError(f"no configuration of PyTorch runs here: {'; '.join(tried.notes.values())}")
    return tried


def fastest(times: dict[Config, float]) -> Config:
    return min(times, key=times.__getitem__)


def trial(work: str, config: Config, side: TorchSide, clock: Any, patience: float) -> tuple[float, Any]:
    """Seconds of the shortest run after the first within `patience` (of the first where that took longer, if it is an
    eager one), and the function. Raises BenchError where the configuration cannot run."""
    if why := refusal(config, side.device):
        raise BenchError(why)
    try:
        function = side.work(work, config)
        runs, end = [clock.time(function)], time.perf_counter() + patience
        if runs[0] > patience and config.how == "eager":
            return runs[0], function
        while len(runs) < 2 or (len(runs) < RUNS and time.perf_counter() + min(runs) < end):
            runs.append(clock.time(function))
        return min(runs[1:]), function
    except Exception as error:  # whatever a compiler of PyTorch's may raise
        raise BenchError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
