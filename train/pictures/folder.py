"""The pictures to train on: of a folder of class sub-folders, read once to see what is usable, or of packed shards.

Shards carry in their index what packing found out: nothing is decoded before training, and millions of pictures take
some 30 bytes each (names and places stay in the index on the disk, which the processes of a machine share).
"""

import hashlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ltbc.train import TrainError
from ltbc.train.pictures.photograph import NEAR_GREY, SUFFIXES, PictureError, read, spread
from ltbc.train.pictures.shards import Shards, is_packed

GIB = 1 << 30
KEEPING = threading.Lock()


@dataclass
class Pictures:
    """The usable pictures of a folder or of shards; `pictures[i]` is `[H, W, 3]` uint8, min(H, W) = short_side.

    root: the folder. classes: names (sub-folders, relative to root). names: of the pictures, relative to root.
    labels: int. kept: decoded pixels by number, as many as fit into `room` bytes more. near_grey, unusable: what was
    left out, the latter with the reasons. fingerprint: a hash of names, labels and file sizes. shards: where the
    pictures lie, if not in files of their own.
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

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> np.ndarray:
        if (kept := self.kept.get(i)) is not None:
            return kept
        try:
            picture = read(self.shards.read(i) if self.shards else self.root / self.names[i], self.short_side)
        except PictureError as error:
            raise TrainError(f"{self.root / self.names[i]}: cannot be read any more ({error})") from None
        self.keep(i, picture)
        return picture

    def keep(self, i: int, picture: np.ndarray) -> None:
        """Keeps a decoded picture where there is room; by one thread at a time."""
        with KEEPING:
            if picture.nbytes <= self.room and i not in self.kept:
                self.room -= picture.nbytes
                self.kept[i] = picture

    @property
    def groups(self) -> tuple[int, ...]:
        """How many pictures lie together: in each shard, or in the folder."""
        return self.shards.counts if self.shards else (len(self),)

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
        return lines


def scan(
    folder: str | os.PathLike, short_side: int, near_grey: float = NEAR_GREY, memory: float = 2.0, workers: int = 2
) -> Pictures:
    """The usable pictures of a folder, each read once to find out, or of shards, as packing found out.

    Pictures whose colors spread less than `near_grey` (see `pictures.spread`) are left out, as are unusable files.
    memory: GiB of decoded pixels that are kept; others are decoded when needed.
    Raises TrainError where there is no folder or no usable picture.
    """
    pictures = Pictures(Path(folder), short_side, room=memory * GIB)
    if is_packed(pictures.root):
        return from_shards(pictures, near_grey)
    names, classes = find(pictures.root), []
    usable, near_grey_ones = list[str](), list[str]()
    digest = hashlib.sha256(str(short_side).encode())
    for name, result in zip(names, decode_all(pictures.root, names, short_side, workers)):
        if isinstance(result, PictureError):
            pictures.unusable.append((name, str(result)))
        elif spread(result) < near_grey:
            near_grey_ones.append(name)
        else:
            pictures.keep(len(usable), result)
            usable.append(name)
            classes.append(Path(name).parent.as_posix())
            digest.update(b"%s\0%d\0" % (os.fsencode(name), (pictures.root / name).stat().st_size))
    if not usable:
        left_out = f"{len(near_grey_ones)} near-grey, {len(pictures.unusable)} unusable"
        first = f", for instance {': '.join(pictures.unusable[0])}" if pictures.unusable else ""
        raise TrainError(f"{folder}: no usable picture among {len(names)} files ({left_out}{first})")
    found, pictures.labels = np.unique(classes, return_inverse=True)
    pictures.names, pictures.near_grey, pictures.classes = usable, near_grey_ones, tuple(map(str, found))
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


def find(root: Path) -> list[str]:
    """Names of the picture files below root, sorted: `CLASS/.../NAME`. What begins with a dot does not count."""
    if not root.is_dir():
        kind = "a file" if root.exists() else "no such folder"
        raise TrainError(f"{root}: {kind}; wanted a folder with one sub-folder of pictures a class")
    names, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        at = Path(folder).relative_to(root)
        names += [(at / name).as_posix() for name in files if name[0] != "." and Path(name).suffix.lower() in SUFFIXES]
    if not names:
        raise TrainError(f"{root}: no pictures in it; wanted one sub-folder a class with {', '.join(sorted(SUFFIXES))}")
    return sorted(names)


def decode_all(root: Path, names: list[str], short_side: int, workers: int) -> Iterator[np.ndarray | PictureError]:
    """The pictures in order, or why they cannot be used."""

    def decode(name: str) -> np.ndarray | PictureError:
        if "/" not in name and any("/" in other for other in names):
            return PictureError("lies in no class sub-folder")
        try:
            return read(root / name, short_side)
        except PictureError as error:
            return error

    with tqdm(names, desc=f"reading {root}", unit="", leave=False, disable=None) as bar:
        yield from ahead(decode, bar, workers, depth=8 * workers)


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
