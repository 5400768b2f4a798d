"""Helper threads in Python, for other systems than Linux, where `pool` cannot be: slower, the same bits."""

from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from typing import Any

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import own_memory


class Helpers:
    """As `pool.Helpers`."""

    def __init__(self, helpers: int) -> None:
        self.count, self.pool = helpers, ThreadPoolExecutor(helpers, "cpu-kernel")

    def run(self, kernel: Any, units: int, pieces: int, own: int, scratch: int, arguments: tuple) -> None:
        """The kernel over all units, in pieces; `own` and `scratch` bytes a helper are memory for it."""
        numbers = count()  # of pieces; the interpreter hands each out once

        def work(memory: int) -> None:
            while (i := next(numbers)) < pieces:
                kernel(units * i // pieces, units * (i + 1) // pieces, memory, *arguments)

        helping = [self.pool.submit(lambda: work(address(own_memory("scratch", scratch)))) for _ in range(self.count)]
        try:
            work(own)
        finally:
            wait(helping)
        for helper in helping:
            helper.result()

    def stop(self) -> None:
        """Ends the threads."""
        self.pool.shutdown()
