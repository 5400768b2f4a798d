"""Ctrl-C and SIGTERM as a note to be read between two steps."""

import signal
import time
from types import FrameType


class Interruption:
    """While entered, notes SIGINT and SIGTERM instead of dying of them; a later second one raises KeyboardInterrupt.

    Within a second, it is the same one: both the terminal and torchrun send Ctrl-C on.

    signal: the number of the one that came, or 0.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal, self.at = 0, 0.0

    def __enter__(self) -> "Interruption":
        self.before = {number: signal.signal(number, self.note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and time.monotonic() > self.at + 1:
            raise KeyboardInterrupt
        self.signal, self.at = number, time.monotonic()
