"""What each program of the project does first, before the imports that take long:

    if __name__ == "__main__":
        program.begin()

From then on Ctrl-C ends it without a traceback, wherever it comes (status 130 in a shell), and so does an output that
is closed early, as by `| head` (141, as for other programs), or is full (1, and a line on stderr that says so).
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedWriter, FileIO, TextIOWrapper
from types import FrameType, TracebackType
from typing import Any, NoReturn

CLOSED = 128 + signal.SIGPIPE  # what a shell says of a program that died of it


def begin(lasting: bool = False) -> None:
    """lasting: the program leaves files after a long time, so it goes on without an output that breaks, and says so."""
    spec = sys.modules["__main__"].__spec__
    name = (spec.name if spec else os.path.basename(sys.argv[0])).removesuffix(".__main__")
    for number in range(3):
        reserve(number)
    output = Output(1, partial(go_on if lasting else stop, name))
    sys.stdout = text(output, sys.stdout)
    sys.stderr = text(Output(os.dup(2), lambda error: 0), sys.stderr)  # apart from what libraries in C write to 2
    Interruption()
    atexit.register(end, output, name)  # the first to be registered runs last


def printable(text: object, stream: Any = None) -> str:
    """On one line of a terminal, whatever file names are in it: control characters, bytes that are no text and what the
    stream's encoding lacks are escaped."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    known = str(text).encode(encoding, "backslashreplace").decode(encoding)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in known)


class Output(FileIO):
    """A standard stream. Once writing fails, all that is written goes nowhere; `broken` says it and gives the status.

    With one other than 0 the program ends. That is no OSError, which it would take for one of its files'.
    """

    def __init__(self, number: int, broken: Callable[[OSError], int]) -> None:
        super().__init__(number, "w", closefd=False)
        self.broken, self.status = broken, 0

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            self.status = self.broken(error)
            if self.status:
                raise SystemExit(self.status) from None
            return len(data)


def reserve(number: int) -> None:
    """Opens a standard stream that was closed (`>&-`) as nowhere: else the next file that is opened would be it."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def text(output: Output, old: Any) -> TextIOWrapper:
    """In place of the stream `old`, which is None where it was closed. What its encoding lacks is escaped."""
    at_once = getattr(old, "write_through", False)  # python -u
    return TextIOWrapper(
        output if at_once else BufferedWriter(output),  # type: ignore[arg-type]
        getattr(old, "encoding", "utf-8"), "backslashreplace", write_through=at_once,
        line_buffering=getattr(old, "line_buffering", False),
    )


def stop(name: str, error: OSError) -> int:
    if isinstance(error, BrokenPipeError):
        return CLOSED
    print(f"{name}: standard output: {error.strerror}", file=sys.stderr)
    return 1


def go_on(name: str, error: OSError) -> int:
    print(f"{name}: standard output: {error.strerror}; goes on without it", file=sys.stderr)
    return 0


class Interruption:
    """Ctrl-C raises KeyboardInterrupt, of which nobody reads a traceback.

    It ends the process at once where that would become something else: an import in C makes an ImportError of it, a
    process of a pool prints it, a callback of LLVM's cannot raise it.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
            signal.signal(signal.SIGINT, self.come)
        sys.excepthook, sys.unraisablehook = uncaught, unraisable

    def come(self, number: int, frame: FrameType | None) -> NoReturn:
        at_once = os.getpid() != self.process
        while frame and not at_once:
            at_once = frame.f_code.co_filename.startswith("<frozen importlib")
            frame = frame.f_back
        if at_once:
            die()
        raise KeyboardInterrupt


def die() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):  # of which Python then dies as of the signal
        sys.__excepthook__(kind, error, trace)


def unraisable(args: Any) -> None:
    if args.exc_type is KeyboardInterrupt:
        die()
    sys.__unraisablehook__(args)


def end(output: Output, name: str) -> None:
    """Writes what is left, and gives the status, which Python forgets where it wrote that itself."""
    output.broken = partial(stop, name)
    with suppress(SystemExit):
        sys.stdout.flush()
    if output.status:
        os._exit(output.status)
