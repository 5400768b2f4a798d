"""Pictures as an endless stream of batches, decoded by threads ahead of their use.

Which picture, which crop and whether it is mirrored are functions of (seed, epoch, position) alone: a hash, without a
generator whose state would have to be kept. So a resumed run reads what an uninterrupted one would have read, and the
number of workers changes nothing. Every epoch holds every picture once; a batch may reach into the next epoch. One that
cannot be read any more is replaced by the next one that can. Where N
processes train together, each takes its N-th of every batch: together they read what one process would.
"""

import threading
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import numpy as np

from ltbc.train.pictures.folder import Pictures
from ltbc.train.pictures.scan import ahead

RANDOM = "SplitMix64 of seed, use, epoch and place"  # stated in checkpoints; another text for another order
BATCHES_AHEAD = 2  # ready ones, beside those that the workers have in hand
ORDER, TOP, LEFT, FLIP, SHARDS, CLASSES, CLASS_ORDER = range(7)  # what random bits are used for
STEPS = 1 << 20  # between two pictures' places in `shuffled`
LOCK = threading.Lock()


@dataclass
class Batch:
    """pixels: crops `[N, crop, crop, 3]` uint8. flip: bool `[N]`, to be mirrored. labels: int64 `[N]`."""

    pixels: np.ndarray
    flip: np.ndarray
    labels: np.ndarray


def batches(
    pictures: Pictures, batch: int, crop: int, seed: int, start: int = 0, workers: int = 2,
    shuffle: int = 1 << 14, rank: int = 0, ranks: int = 1, sampling: str = "even",
) -> Generator[Batch, None, None]:
    """The batches from position `start` on, without end, made by threads ahead of their use.

    The position counts pictures since the beginning of training: batch k begins at k * batch. Of each batch, this
    gives the part of process `rank` among `ranks`. shuffle: see `order`. sampling: even, each picture once an epoch, or
    classes, see `balance.py`.
    """
    part = batch // ranks

    def make(position: int) -> Batch:
        first = position + rank * part
        return make_batch(pictures, np.arange(first, first + part), crop, seed, shuffle, sampling)

    return ahead(make, count(start, batch), workers, depth=workers + BATCHES_AHEAD)


def make_batch(
    pictures: Pictures, positions: np.ndarray, crop: int, seed: int, shuffle: int = 1 << 14, sampling: str = "even",
) -> Batch:
    """The pictures at these positions, each with its crop. positions: int `[N]`."""
    epochs, at = np.divmod(positions, len(pictures))
    if sampling == "classes":
        from ltbc.train.pictures.balance import balanced

        chosen = balanced(pictures, seed, positions)
    else:
        chosen = [int(order(seed, int(epoch), pictures.groups, shuffle)[i]) for epoch, i in zip(epochs, at)]
    pixels = np.empty((len(positions), crop, crop, 3), np.uint8)
    bits = [random_bits(seed, use, epochs, at) for use in (TOP, LEFT, FLIP)]
    for n, i in enumerate(chosen):
        chosen[n], picture = pictures.take(i)
        top, left = (int(b[n]) % (size - crop + 1) for b, size in zip(bits[:2], picture.shape))
        pixels[n] = picture[top : top + crop, left : left + crop]
    return Batch(pixels, bits[2] % 2 == 1, pictures.labels[chosen].astype(np.int64))


def order(seed: int, epoch: int, groups: tuple[int, ...], shuffle: int) -> np.ndarray:
    """The order uint32 `[N]` in which an epoch shows N pictures that lie in groups (files, shards) of these sizes.

    Files that lie each for itself, and sets that fit into the shuffle buffer, come in any order. Else the shards are
    permuted and read from end to end through a buffer of `shuffle` pictures: none comes `shuffle` places or more
    before or behind its place in that reading.
    """
    with LOCK:  # of several threads, one computes it and the others wait: memory for one
        return cached_order(seed, epoch, groups, shuffle)


@lru_cache(maxsize=2)
def cached_order(seed: int, epoch: int, groups: tuple[int, ...], shuffle: int) -> np.ndarray:
    n = sum(groups)
    bits = random_bits(seed, ORDER, epoch, np.arange(n))
    if len(groups) == 1 or shuffle >= n:
        return np.argsort(bits, kind="stable").astype(np.uint32)
    starts = np.cumsum((0, *groups))
    shards = np.argsort(random_bits(seed, SHARDS, epoch, np.arange(len(groups))), kind="stable")
    reading = np.concatenate([np.arange(starts[k], starts[k + 1], dtype=np.uint32) for k in shards])
    bits %= np.uint64(shuffle * STEPS)
    bits += np.arange(0, n * STEPS, STEPS, dtype=np.uint64)
    return reading[np.argsort(bits, kind="stable")]


def random_bits(seed: int, *counters: int | np.ndarray) -> np.ndarray:
    """64 random bits for each element of the counters, which broadcast: a hash, the same on every machine.

    One round of SplitMix64 a counter (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    """
    x = np.zeros(1, np.uint64)
    for counter in (seed, *counters):
        x = x + np.uint64(0x9E3779B97F4A7C15) + np.asarray(counter, np.uint64)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        x = x ^ x >> np.uint64(31)
    return x
