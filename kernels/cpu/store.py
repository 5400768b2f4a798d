"""Compiled code on disk: one file a kernel and signature, found by the digest of what decides it (`key`).

A file is written whole or not at all, and what it holds is checked, so that programs may write and clean at the same
time. Where the folder cannot be used everything works without it, and one line says so.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ltbc.kernels.notices import say

LIMIT = 64 << 20  # bytes; all kernels at one level are about 5 MB
MARK, PART = ".kernel", ".part"


class Store:
    """A folder with compiled code; None for a machine that has no place for it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.said, self.cleaned = folder, False, False

    def path(self, name: str) -> Path | None:
        return self.folder and self.folder / f"{name}{MARK}"

    def has(self, name: str) -> bool:
        path = self.path(name)
        return path is not None and path.is_file()

    def read(self, name: str) -> bytes | None:
        """What was written under that name, None without it or where it is damaged. Marks it as used."""
        path = self.path(name)
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.complain(f"{path} cannot be read ({error.strerror})")
            return None
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            self.complain(f"{path} is damaged and made anew")
            return None
        try:
            os.utime(path)
        except OSError:  # a folder that others fill
            pass
        return data[32:]

    def write(self, name: str, data: bytes) -> None:
        path = self.path(name)
        if path is None:
            self.complain("no home folder to keep compiled code in; LTBC_CACHE names another one")
            return
        beside = path.with_name(f"{uuid.uuid4().hex}{PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.clean()
            try:
                beside.write_bytes(hashlib.sha256(data).digest() + data)
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            self.complain(f"compiled code cannot be kept in {path.parent} ({error.strerror}); LTBC_CACHE names another")

    def usable(self) -> bool:
        """Whether what another process compiles can be handed over here."""
        if self.folder is None:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(self.folder, os.W_OK | os.X_OK)

    def clean(self) -> None:
        """Once a process: what was used last stays, up to LIMIT; no file is needed any more once it has been read."""
        if self.cleaned or self.folder is None:
            return
        self.cleaned, total = True, 0
        for used, size, path in sorted(entries(self.folder), reverse=True):
            total += size
            abandoned = path.suffix == PART and used < time.time() - 3600
            if abandoned or (path.suffix == MARK and total > LIMIT):
                path.unlink(missing_ok=True)

    def complain(self, message: str) -> None:
        """On stderr, once."""
        if not self.said:
            self.said = True
            say(f"cpu: {message}")


def entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(time of last use, bytes, path) of our files there, which others may take away meanwhile."""
    for file in os.scandir(folder):
        try:
            if file.name.endswith((MARK, PART)):
                yield file.stat().st_mtime, file.stat().st_size, Path(file)
        except FileNotFoundError:
            pass


def default_folder() -> Path | None:
    """LTBC_CACHE, or `ltbc` in the user's cache folder."""
    if named := os.environ.get("LTBC_CACHE"):
        return Path(named).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ltbc").absolute()
    except RuntimeError:  # a user without a home
        return None
