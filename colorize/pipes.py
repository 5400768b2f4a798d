"""`-` for a photograph is standard input, for --out standard output: both lie in a temporary folder meanwhile."""

import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ltbc.colorize.errors import ImageError

PIPE, SOURCE, TARGET = "-", "standard input", "standard output"


@contextmanager
def piped(chosen: Namespace) -> Iterator[str]:
    """Puts files in place of `-` in the options, and what was written to its file on standard output at the end. Gives
    the folder's name, which no message should have. Raises ImageError where several pictures would go there."""
    with tempfile.TemporaryDirectory(prefix="colorize-") as name:
        folder, out = Path(name), chosen.out
        if PIPE in chosen.photos:
            with open(folder / SOURCE, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            chosen.photos = [str(folder / SOURCE) if photo == PIPE else photo for photo in chosen.photos]
        if out == PIPE:
            if len(chosen.photos) > 1 or Path(chosen.photos[0]).is_dir():
                raise ImageError("--out -: one photograph goes to standard output, not several")
            chosen.out = str(folder / f"{TARGET}{chosen.suffix or '.png'}")
        yield f"{folder}/"
        if out == PIPE and Path(chosen.out).exists():
            with open(chosen.out, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.flush()
