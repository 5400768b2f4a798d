"""Ctrl-C, SIGTERM and the other signals that ask a run to end, as a note to be read between two steps."""

import signal
import time
from types import FrameType

IMPATIENT = (signal.SIGINT, signal.SIGTERM)  # people's, of which a second one counts


class Interruption:
    """While entered, notes signals instead of dying of them; a later second SIGINT or SIGTERM raises KeyboardInterrupt.

    Within a second, it is the same one: both the terminal and torchrun send Ctrl-C on. A closed terminal (SIGHUP,
    which `nohup` has ignored) and batch systems (SIGUSR1, SIGUSR2, SIGXCPU) may send theirs again and again.

    signal: the number of the one that came, or 0.
    """

    SIGNALS = (*IMPATIENT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)

    def __init__(self) -> None:
        self.signal, self.at = 0, 0.0

    def __enter__(self) -> "Interruption":
        noted = [n for n in self.SIGNALS if n in IMPATIENT or signal.getsignal(n) is not signal.SIG_IGN]
        self.before = {number: signal.signal(number, self.note) for number in noted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame: FrameType | None) -> None:
        if self.signal in IMPATIENT and number in IMPATIENT and time.monotonic() > self.at + 1:
            raise KeyboardInterrupt
        if number in IMPATIENT or not self.signal:
            self.signal, self.at = number, time.monotonic()
