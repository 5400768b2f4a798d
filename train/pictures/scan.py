"""What a folder holds: which files are pictures, what each of them is, found out once and kept.

    RUN/scan.jsonl     the short side, then a line a picture file: what `Entry` has

A file that is as it was (size, times of its bytes and of its inode) is not decoded again.
"""

import json
import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ltbc.program import printable
from ltbc.train import TrainError
from ltbc.train.pictures.photograph import SUFFIXES, PictureError, load, read, spread


class Entry(NamedTuple):
    """A picture file: name relative to the folder, size, times in ns, digest of its bytes; of its colors the spread.

    unusable: why it is left out, or "".
    """

    name: str
    size: int = -1
    modified: int = -1
    changed: int = -1
    digest: str = ""
    spread: float = 0.0
    unusable: str = ""

    def is_as(self, other: "Entry") -> bool:
        return self.size >= 0 and self[:4] == other[:4]


@dataclass
class Found:
    """names: of the files that may be pictures, sorted. others: how many of other kinds, by suffix.

    unusable: folders that cannot be read, with the reasons.
    """

    names: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    unusable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def loose(self) -> bool:
        """Whether some lie beside the class sub-folders, and so in none."""
        flat = sum("/" not in name for name in self.names)
        return 0 < flat < len(self.names)

    def report(self) -> list[str]:
        """Lines for the user."""
        lines = [f"left out: the folder {name}: {reason}" for name, reason in self.unusable]
        if self.others:
            kinds = ", ".join(f"{suffix or 'without suffix'} {n}" for suffix, n in self.others.most_common(8))
            more = ", ..." if len(self.others) > 8 else ""
            lines.append(f"left out as of other kinds: {self.others.total()} files ({kinds}{more})")
        return [*map(printable, lines)]


def find(root: Path) -> Found:
    """The picture files below root: `CLASS/.../NAME`. What begins with a dot does not count. Raises TrainError."""
    if not root.is_dir():
        kind = "a file" if root.exists() else "no such folder"
        raise TrainError(f"{root}: {kind}; wanted a folder with one sub-folder of pictures a class")
    found, seen = Found(), set()

    def unreadable(error: OSError) -> None:
        found.unusable.append((os.path.relpath(error.filename, root), error.strerror or "cannot be read"))

    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        at = Path(folder).relative_to(root).as_posix()
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES and name[0] != ".":
                found.names.append(name if at == "." else f"{at}/{name}")
            elif name[0] != ".":
                found.others[suffix] += 1
    if not found.names:
        more = "; ".join(("", *found.report()))
        raise TrainError(
            f"{root}: no pictures in it; wanted one sub-folder a class with {', '.join(sorted(SUFFIXES))}{more}"
        )
    found.names.sort()
    return found


def look_at_all(
    root: Path, found: Found, short_side: int, workers: int, known: dict[str, Entry]
) -> Iterator[tuple[Entry, np.ndarray | None]]:
    """What each file is, in order, with its pixels where it was decoded. known: from an earlier scan."""
    loose = found.loose

    def one(name: str) -> tuple[Entry, np.ndarray | None]:
        if loose and "/" not in name:
            return Entry(name, unusable="lies in no class sub-folder"), None
        return look_at(root, name, short_side, known.get(name))

    with tqdm(found.names, desc=f"reading {root}", unit="", leave=False, disable=None) as bar:
        yield from ahead(one, bar, workers, depth=8 * workers)


def look_at(root: Path, name: str, short_side: int, known: Entry | None) -> tuple[Entry, np.ndarray | None]:
    entry = Entry(name, *times(root / name))
    if known and known.is_as(entry):
        return known, None
    try:
        data = load(root / name)
        digest = blake2b(data, digest_size=8).hexdigest()
        pixels = read(data, short_side)
        return entry._replace(digest=digest, spread=round(spread(pixels), 4)), pixels
    except PictureError as error:
        return entry._replace(unusable=str(error)), None


def times(path: Path) -> tuple[int, int, int]:
    """(size, modified, changed) of a file; -1 where there are none to rely on."""
    try:
        about = os.stat(path)
    except OSError:
        return -1, -1, -1
    return (about.st_size if stat.S_ISREG(about.st_mode) else -1), about.st_mtime_ns, about.st_ctime_ns


def as_bytes(short_side: int, entries: list[Entry]) -> bytes:
    """What RUN/scan.jsonl holds."""
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in (short_side, *entries))


def known_from(path: Path, short_side: int) -> dict[str, Entry]:
    """The entries of an earlier scan by name; none where there is none for this short side that can be read."""
    try:
        first, *rows = path.read_bytes().splitlines()
        if json.loads(first) != short_side:
            return {}
        return {entry.name: entry for entry in (Entry(*json.loads(row)) for row in rows)}
    except (OSError, ValueError, TypeError):
        return {}


def ahead(function: Callable, items: Iterable, workers: int, depth: int) -> Generator:
    """function(item) for each of the items, in order, computed by threads at most `depth` items ahead."""
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
