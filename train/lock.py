"""One process a folder: a lock that says which process holds it, and is gone with that process, however it ends."""

import errno
import fcntl
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ltbc.train import TrainError

LOCK = "lock"


class Lock:
    """FOLDER/lock, from `take` to the end of the `with` statement. The file holds who took it, for people.

    The folder is made where there is none; what of it is empty at the end goes again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.file = folder, folder / LOCK, -1
        self.made: list[Path] = []

    def take(self) -> None:
        """Raises TrainError where another process holds the lock, or the folder cannot be made."""
        missing = [at for at in (self.folder, *self.folder.parents) if not at.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.made = missing
            while self.file < 0:
                self.file = self.opened()
            os.ftruncate(self.file, 0)
            os.write(self.file, f"process {os.getpid()} on {socket.gethostname()}, {time.ctime()}\n".encode())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # the name is not what counts
                raise TrainError(f"{error.filename or self.path}: {error.strerror}") from None

    def opened(self) -> int:
        """The locked file; -1 where its last holder has just removed it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 200).decode(errors="replace").strip() or "another process"
            os.close(file)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise TrainError(f"{self.folder}: in use by {holder}; wait for it or stop it, or take another "
                                 "folder") from None
            print(f"{self.path}: cannot be locked here ({error.strerror}): see that no other process works in "
                  "that folder", file=sys.stderr)
            return os.open(os.devnull, os.O_RDWR)
        if os.path.exists(self.path) and os.path.samestat(os.fstat(file), os.stat(self.path)):
            return file
        os.close(file)
        return -1

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.file >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self.file)
            self.file = -1
        with suppress(OSError):  # not empty
            for folder in self.made:
                folder.rmdir()
