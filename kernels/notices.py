"""What a backend says by itself, on stderr: that kernels are being compiled, that compiled code cannot be kept. It
stands inside of no table: `with table():` around a program's rows lets it wait for their end.

What a terminal shows for a moment and takes away again (`kernels/cpu/progress.py`) does not wait.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

WAITING: list[list[str]] = []  # of each table that is being printed, the inner one last


def say(line: str) -> None:
    """On stderr, where there is one, as soon as no table is being printed."""
    if WAITING:
        WAITING[-1].append(line)
        return
    with suppress(OSError, ValueError):  # closed
        if sys.stderr is not None:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def table() -> Iterator[None]:
    """Within it a program prints a table."""
    WAITING.append([])
    try:
        yield
    finally:
        lines = WAITING.pop()
        if lines and sys.stdout is not None:
            with suppress(OSError, ValueError):
                sys.stdout.flush()  # the table first, where both go to one file
        for line in lines:
            say(line)
