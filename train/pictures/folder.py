"""The pictures to train on: of a folder of class sub-folders, read once to see what is usable, or of packed shards.

Shards carry in their index what packing found out: nothing is decoded before training, and millions of pictures take
some 30 bytes each (names and places stay in the index on the disk, which the processes of a machine share).
"""

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ltbc.program import printable
from ltbc.train import TrainError
from ltbc.train.pictures.photograph import NEAR_GREY, PictureError, read
from ltbc.train.pictures.scan import Entry, Found, as_bytes, find, look_at_all
from ltbc.train.pictures.shards import Shards, is_packed

GIB = 1 << 30
GIVEN_UP = 1000  # pictures in a row that cannot be read: the disk is gone
KEEPING = threading.Lock()


class Gone(TrainError):
    """A picture that cannot be read any more."""


@dataclass
class Pictures:
    """The usable pictures of a folder or of shards; `pictures[i]` is `[H, W, 3]` uint8, min(H, W) = short_side.

    root: the folder. classes: names (sub-folders, relative to root). names: of the pictures, relative to root.
    labels: int. kept: decoded pixels by number, as many as fit into `room` bytes more. near_grey, unusable: what was
    left out, the latter with the reasons. fingerprint: a hash of names, labels and what stands in the files. shards:
    where the pictures lie, if not in files of their own; else entries, found: what a scan found. lost: of pictures that
    could not be read any more, by their numbers, what is to be said.
    """

    root: Path
    short_side: int
    classes: tuple[str, ...] = ()
    names: Sequence[str] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    room: float = 0.0
    near_grey: Sequence[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    fingerprint: str = ""
    shards: Shards | None = None
    entries: list[Entry] = field(default_factory=list)
    found: Found = field(default_factory=Found)
    lost: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> np.ndarray:
        if (kept := self.kept.get(i)) is not None:
            return kept
        try:
            picture = read(self.shards.read(i) if self.shards else self.root / self.names[i], self.short_side)
        except PictureError as error:
            raise Gone(f"{self.root / self.names[i]}: cannot be read any more ({error})") from None
        self.keep(i, picture)
        return picture

    def take(self, i: int) -> tuple[int, np.ndarray]:
        """(i, its pixels) or, where that cannot be read any more, another picture's: the next one's that can.

        What cannot is noted in `lost`. Raises TrainError where GIVEN_UP in a row cannot.
        """
        for k in range(min(len(self), GIVEN_UP)):
            other = (i + k) % len(self)
            try:
                return other, self[other]
            except Gone as error:
                self.lost.setdefault(other, str(error))
        raise TrainError(f"{self.lost[i]}, nor can the {k} after it")

    def keep(self, i: int, picture: np.ndarray) -> None:
        """Keeps a decoded picture where there is room; by one thread at a time."""
        with KEEPING:
            if picture.nbytes <= self.room and i not in self.kept:
                self.room -= picture.nbytes
                self.kept[i] = picture

    @cached_property
    def members(self) -> list[np.ndarray]:
        """The numbers of the pictures of each class."""
        order = np.argsort(self.labels, kind="stable").astype(np.uint32)
        sizes = np.bincount(self.labels, minlength=len(self.classes))
        return [part for part in np.split(order, np.cumsum(sizes)[:-1]) if len(part)]

    @property
    def groups(self) -> tuple[int, ...]:
        """How many pictures lie together: in each shard, or in the folder."""
        return self.shards.counts if self.shards else (len(self),)

    def scan_bytes(self) -> bytes:
        """What RUN/scan.jsonl holds of a folder; nothing of shards."""
        return as_bytes(self.short_side, self.entries) if self.entries else b""

    def summary(self) -> dict:
        """What was used and what was left out, for RUN/pictures.json."""
        sizes = Counter(self.labels.tolist())
        return {
            "folder": str(self.root), "pictures": len(self), "near_grey": list(self.near_grey),
            "classes": {name: sizes[k] for k, name in enumerate(self.classes)}, "unusable": dict(self.unusable),
        }

    def report(self) -> list[str]:
        """Lines for the user: how many pictures of which classes, what was left out and why."""
        sizes = Counter(self.labels.tolist())
        some = ", ".join(f"{name} {sizes[k]}" for k, name in list(enumerate(self.classes))[:8])
        more = ", ..." if len(self.classes) > 8 else ""
        classes = f"{len(self.classes)} class{'es' * (len(self.classes) != 1)}"
        lines = [f"{self.root}: {len(self)} pictures in {classes} ({some}{more})"]
        if in_memory := sum(x.nbytes for x in self.kept.values()):
            held = len(self.kept)
            lines[0] += f"; {'all' if held == len(self) else held} in memory, {in_memory / 2**20:,.0f} MiB"
        if self.near_grey:
            lines.append(f"left out as near-grey: {len(self.near_grey)}")
        if self.unusable:
            lines.append(f"left out as unusable: {len(self.unusable)}")
            lines += [f"  {name}: {reason}" for name, reason in self.unusable[:10]]
            lines += ["  ..."] if len(self.unusable) > 10 else []
        return [*map(printable, lines)] + self.found.report()


def scan(
    folder: str | os.PathLike, short_side: int, near_grey: float = NEAR_GREY, memory: float = 2.0, workers: int = 2,
    known: dict[str, Entry] | None = None,
) -> Pictures:
    """The usable pictures of a folder, each read once to find out, or of shards, as packing found out.

    Pictures whose colors spread less than `near_grey` (see `pictures.spread`) are left out, as are unusable files.
    memory: GiB of decoded pixels that are kept; others are decoded when needed. known: what an earlier scan found.
    Raises TrainError where there is no folder or no usable picture.
    """
    root = Path(folder)
    if is_packed(root):
        return from_shards(Pictures(root, short_side, room=memory * GIB), near_grey)
    found, entries, room, kept = find(root), list[Entry](), memory * GIB, dict[str, np.ndarray]()
    for entry, pixels in look_at_all(root, found, short_side, workers, known or {}):
        entries.append(entry)
        if pixels is not None and entry.spread >= near_grey and pixels.nbytes <= room:
            room -= pixels.nbytes
            kept[entry.name] = pixels
    pictures = from_entries(root, short_side, near_grey, memory, entries)
    pictures.found = found
    for i, name in enumerate(pictures.names):
        if name in kept:
            pictures.keep(i, kept[name])
    return pictures


def from_entries(root: Path, short_side: int, near_grey: float, memory: float, entries: list[Entry]) -> Pictures:
    """The usable pictures among what a scan found."""
    pictures = Pictures(root, short_side, room=memory * GIB, entries=entries)
    pictures.unusable = [(entry.name, entry.unusable) for entry in entries if entry.unusable]
    seen = [entry for entry in entries if not entry.unusable]
    pictures.near_grey = [entry.name for entry in seen if entry.spread < near_grey]
    usable = [entry for entry in seen if entry.spread >= near_grey]
    if not usable:
        left_out = f"{len(pictures.near_grey)} near-grey, {len(pictures.unusable)} unusable"
        first = f", for instance {': '.join(pictures.unusable[0])}" if pictures.unusable else ""
        raise TrainError(f"{root}: no usable picture among {len(entries)} files ({left_out}{first})")
    folders = [os.path.dirname(entry.name) or "." for entry in usable]
    found, pictures.labels = np.unique(folders, return_inverse=True)
    pictures.names, pictures.classes = [entry.name for entry in usable], tuple(map(str, found))
    digest = hashlib.sha256(str(short_side).encode())
    for entry in usable:
        digest.update(b"%s\0%s\0" % (os.fsencode(entry.name), entry.digest.encode()))
    pictures.fingerprint = digest.hexdigest()
    return pictures


def from_shards(pictures: Pictures, near_grey: float) -> Pictures:
    """The pictures of `pictures.root`, a folder that `ltbc.train.pack` wrote."""
    shards = pictures.shards = Shards(pictures.root, near_grey)
    if not len(shards):
        raise TrainError(f"{pictures.root}: every picture's colors spread less than --near-grey {near_grey:g}")
    pictures.names, pictures.labels, pictures.classes = shards, shards.labels, shards.classes
    pictures.near_grey = shards.without(near_grey)
    stated = f"{shards.fingerprint} {near_grey} {pictures.short_side}"
    pictures.fingerprint = hashlib.sha256(stated.encode()).hexdigest()
    return pictures
