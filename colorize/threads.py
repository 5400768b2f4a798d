"""Work on bands of a picture in threads, their results in order, few of them held at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from ltbc.kernels.cpu.cores import cores

THREADS = 8  # at most: each holds some 20 MB while it works
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_turn(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """work(item) of each, in order."""
    threads, left = min(THREADS, cores()), iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(left, 4 * threads)):
            yield from pool.map(work, some)
