"""How large a step is: the course of the learning rate, the limit on the gradient, and the average of the weights."""

import math
from typing import Any

from ltbc.kernels.arrays import Array, array_module

LEAST = 1e-6  # of the learning rate
BLOCK = 1 << 20  # elements at a time


def rate(settings: dict[str, Any], step: int, done: float) -> float:
    """The learning rate of the step after `step` steps; done: the share of the run that is over.

    It rises linearly over the first `warm_up` steps and falls over the last share `decay` of the run: linearly, or as
    half a cosine (Loshchilov and Hutter, SGDR, 2017).
    """
    left, decay = max(1 - done, 0.0), settings["decay"]
    fallen = left / decay if left < decay else 1.0
    if settings["schedule"] == "cosine":
        fallen = (1 - math.cos(math.pi * fallen)) / 2
    risen = min(1.0, (step + 1) / settings["warm_up"]) if settings["warm_up"] else 1.0
    return settings["lr"] * (risen * max(fallen, LEAST) if fallen < 1 else risen)


def norm(x: Array) -> float:
    """The Euclidean norm of a flat array, in float64 sums."""
    xp = array_module(x)
    blocks = (x[start : start + BLOCK] for start in range(0, x.size, BLOCK))
    return math.sqrt(sum(float(xp.square(block, dtype="float64").sum()) for block in blocks))


def clip(gradient: Array, limit: float) -> None:
    """Shortens the gradient to `limit` where it is longer (Pascanu, Mikolov, Bengio, 2013), in place."""
    if (length := norm(gradient)) > limit:
        gradient *= limit / length


def follow(average: Array, parameters: Array, decay: float, step: int) -> None:
    """average <- d average + (1 - d) parameters, d = min(decay, (1 + step) / (10 + step)): younger at the beginning."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for start in range(0, average.size, BLOCK):
        at = slice(start, start + BLOCK)
        average[at] += share * (parameters[at] - average[at])
