"""What a user sees while kernels are compiled: one line on stderr, gone when it is done; where stderr is no terminal,
plain text that stays (`kernels/notices.py`); nothing where it is closed."""

import os
import sys
import time
from contextlib import AbstractContextManager
from typing import Any

from numba.core import event
from tqdm import tqdm

from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.notices import say

ONCE = f"cpu: compiling %s for {LEVEL.name}, once"
BAR = "{desc}: |{bar:20}| {n_fmt} of {total_fmt}, {remaining} left"


def terminal() -> bool:
    """Whether stderr is one, of known size: in another, tqdm shows nothing."""
    try:
        return sys.stderr is not None and sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


class Bar(AbstractContextManager):
    """So many kernels, and the time that they will take, as the ones before tell."""

    def __init__(self, kernels: int) -> None:
        self.kernels, self.done, self.begun = kernels, 0, time.perf_counter()
        self.bar = tqdm(total=kernels, desc=ONCE % "kernels", bar_format=BAR, leave=False) if terminal() else None

    def advance(self) -> None:
        self.done += 1
        if self.bar is not None:
            self.bar.update()
        elif self.done == 2:  # the first one also pays for the compiler's own start
            seconds = (time.perf_counter() - self.begun) * self.kernels / self.done
            say(f"{ONCE % f'{self.kernels} kernels'}: about {seconds:.0f} seconds")

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


class Single(event.Listener):
    """Tells of a kernel that is compiled by itself."""

    def __init__(self) -> None:
        self.said, self.quiet = False, False  # quiet: a `Bar` is shown

    def on_start(self, e: event.Event) -> None:
        if self.told(e):
            if terminal():
                print(f"\r{ONCE % e.data['dispatcher'].py_func.__name__}\x1b[K", end="", file=sys.stderr, flush=True)
            elif not self.said:
                say(ONCE % "kernels")
            self.said = True

    def on_end(self, e: event.Event) -> None:
        if self.told(e) and terminal():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def told(self, e: Any) -> bool:
        return not self.quiet and type(e.data["dispatcher"]._cache).__name__ == "Kept"
