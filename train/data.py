"""A folder of class sub-folders as an endless stream of batches.

Which picture, which crop and whether it is mirrored are functions of (seed, epoch, position) alone: a hash, without a
generator whose state would have to be kept. So a resumed run reads what an uninterrupted one would have read, and the
number of workers changes nothing. Every epoch holds every picture once; a batch may reach into the next epoch.
"""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from train import TrainError
from train.pictures import NEAR_GREY, SUFFIXES, PictureError, read, spread

GIB = 1 << 30
BATCHES_AHEAD = 2  # ready ones, beside those that the workers have in hand
ORDER, TOP, LEFT, FLIP = range(4)  # what random bits are used for


@dataclass
class Batch:
    """pixels: crops `[N, crop, crop, 3]` uint8. flip: bool `[N]`, to be mirrored. labels: int64 `[N]`."""

    pixels: np.ndarray
    flip: np.ndarray
    labels: np.ndarray


@dataclass
class Pictures:
    """The usable pictures of a folder, in the order of their names; `pictures[i]` is `[H, W, 3]` uint8.

    root: the folder. classes: names (sub-folders, relative to root). names: of the pictures, relative to root.
    labels: int64. kept: decoded pixels, None where they did not fit into memory. near_grey, unusable: what was left
    out, the latter with the reasons. fingerprint: a hash of names, labels and file sizes.
    """

    root: Path
    short_side: int
    classes: tuple[str, ...] = ()
    names: list[str] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kept: list[np.ndarray | None] = field(default_factory=list)
    near_grey: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> np.ndarray:
        if (kept := self.kept[i]) is not None:
            return kept
        try:
            return read(self.root / self.names[i], self.short_side)
        except PictureError as error:
            raise TrainError(f"{self.root / self.names[i]}: cannot be read any more ({error})") from None

    def summary(self) -> dict:
        """What was used and what was left out, for RUN/pictures.json."""
        sizes = Counter(self.labels.tolist())
        return {
            "folder": str(self.root), "pictures": len(self), "near_grey": self.near_grey,
            "classes": {name: sizes[k] for k, name in enumerate(self.classes)}, "unusable": dict(self.unusable),
        }

    def report(self) -> list[str]:
        """Lines for the user: how many pictures of which classes, what was left out and why."""
        sizes = Counter(self.labels.tolist())
        some = ", ".join(f"{name} {sizes[k]}" for k, name in list(enumerate(self.classes))[:8])
        more = ", ..." if len(self.classes) > 8 else ""
        classes = f"{len(self.classes)} class{'es' * (len(self.classes) != 1)}"
        lines = [f"{self.root}: {len(self)} pictures in {classes} ({some}{more})"]
        if in_memory := sum(x.nbytes for x in self.kept if x is not None):
            held = sum(x is not None for x in self.kept)
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
    """Reads every picture of the folder once and keeps what is usable.

    Pictures whose colors spread less than `near_grey` (see `pictures.spread`) are left out, as are unusable files.
    memory: GiB of decoded pixels that are kept; others are decoded when needed.
    Raises TrainError where there is no folder or no usable picture.
    """
    pictures = Pictures(Path(folder), short_side)
    names = find(pictures.root)
    room, classes = memory * GIB, []
    digest = hashlib.sha256(str(short_side).encode())
    for name, result in zip(names, decode_all(pictures.root, names, short_side, workers)):
        if isinstance(result, PictureError):
            pictures.unusable.append((name, str(result)))
        elif spread(result) < near_grey:
            pictures.near_grey.append(name)
        else:
            room -= result.nbytes
            pictures.kept.append(result if room >= 0 else None)
            pictures.names.append(name)
            classes.append(Path(name).parent.as_posix())
            digest.update(b"%s\0%d\0" % (os.fsencode(name), (pictures.root / name).stat().st_size))
    if not pictures.names:
        left_out = f"{len(pictures.near_grey)} near-grey, {len(pictures.unusable)} unusable"
        first = f", for instance {': '.join(pictures.unusable[0])}" if pictures.unusable else ""
        raise TrainError(f"{folder}: no usable picture among {len(names)} files ({left_out}{first})")
    found, pictures.labels = np.unique(classes, return_inverse=True)
    pictures.classes = tuple(map(str, found))
    pictures.fingerprint = digest.hexdigest()
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


def batches(
    pictures: Pictures, batch: int, crop: int, seed: int, start: int = 0, workers: int = 2
) -> Generator[Batch, None, None]:
    """The batches from position `start` on, without end, made by threads ahead of their use.

    The position counts pictures since the beginning of training: batch k begins at k * batch.
    """

    def make(position: int) -> Batch:
        return make_batch(pictures, np.arange(position, position + batch), crop, seed)

    return ahead(make, count(start, batch), workers, depth=workers + BATCHES_AHEAD)


def make_batch(pictures: Pictures, positions: np.ndarray, crop: int, seed: int) -> Batch:
    """The pictures at these positions, each with its crop. positions: int `[N]`."""
    epochs, at = np.divmod(positions, len(pictures))
    chosen = [order(seed, int(epoch), len(pictures))[i] for epoch, i in zip(epochs, at)]
    pixels = np.empty((len(positions), crop, crop, 3), np.uint8)
    bits = [random_bits(seed, use, epochs, at) for use in (TOP, LEFT, FLIP)]
    for n, i in enumerate(chosen):
        picture = pictures[i]
        top, left = (int(b[n]) % (size - crop + 1) for b, size in zip(bits[:2], picture.shape))
        pixels[n] = picture[top : top + crop, left : left + crop]
    return Batch(pixels, bits[2] % 2 == 1, pictures.labels[chosen])


@lru_cache(maxsize=2)
def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The permutation of 0 .. count - 1 in which an epoch shows its pictures."""
    return np.argsort(random_bits(seed, ORDER, epoch, np.arange(count)), kind="stable")


def random_bits(seed: int, *counters: int | np.ndarray) -> np.ndarray:
    """64 random bits for each element of the counters, which broadcast: a hash, the same on every machine.

    One round of SplitMix64 a counter (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    """
    x = np.zeros(1, np.uint64)
    for counter in (seed, *counters):
        x = x + np.uint64(0x9E3779B97F4A7C15) + np.asarray(counter, np.uint64)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        x = x ^ x >> np.uint64(31)
    return x


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
