"""Every class as often as the others, whatever the numbers of their pictures.

Position p lies in round p // C of C classes: each round holds every class once, in an order of its own. So the k-th
picture of a class is that of round k; the pictures of a class come in another order each time they are through. As the
even order, this is a function of seed and position alone.
"""

from functools import lru_cache

import numpy as np

from ltbc.train.pictures.folder import Pictures
from ltbc.train.pictures.stream import CLASS_ORDER, CLASSES, random_bits


def balanced(pictures: Pictures, seed: int, positions: np.ndarray) -> list[int]:
    """The numbers of the pictures at these positions."""
    members = pictures.members
    chosen = []
    for position in positions.tolist():
        turn, place = divmod(position, len(members))
        label = int(round_of(seed, turn, len(members))[place])
        own = members[label]
        again, at = divmod(turn, len(own))
        chosen.append(int(own[order_of(seed, label, again, len(own))[at]]))
    return chosen


@lru_cache(maxsize=64)
def round_of(seed: int, turn: int, classes: int) -> np.ndarray:
    return np.argsort(random_bits(seed, CLASSES, turn, np.arange(classes)), kind="stable")


@lru_cache(maxsize=4096)
def order_of(seed: int, label: int, again: int, pictures: int) -> np.ndarray:
    bits = random_bits(seed, CLASS_ORDER, label, again, np.arange(pictures))
    return np.argsort(bits, kind="stable").astype(np.uint32)
