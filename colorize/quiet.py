"""Decoders in C write their own warnings to the terminal; what of them matters is a note of ours."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOCK = threading.Lock()
INSIDE: list[int] = []  # where the true standard error is kept, once for each that is inside


@contextmanager
def decoders_silent() -> Iterator[None]:
    """The process's standard error goes nowhere, but for what is written through `sys.stderr` of a program that began
    with `program.begin`. May be nested, and entered by several threads."""
    with LOCK:
        if not INSIDE:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        INSIDE.append(INSIDE[0] if INSIDE else kept)
    try:
        yield
    finally:
        with LOCK:
            kept = INSIDE.pop()
            if not INSIDE:
                os.dup2(kept, 2)
                os.close(kept)
