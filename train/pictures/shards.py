"""Packed pictures: tar shards as WebDataset has them, with an index for random access.

    SHARDS/000000.tar ...   KEY.jpg (or .png, .webp) and KEY.cls (the class's number as text), picture after picture
    SHARDS/index.npy        one row of `ROW` a picture, in the order of the shards: mapped, not read, and so shared
    SHARDS/index.json       format, classes, shards with their pictures and bytes, how they were made
    SHARDS/left_out.csv, borderline.jpg   what is not in the shards and why, to be looked at

KEY is the path of the picture in the packed folder without its suffix; a dot in it has become "_", since for
WebDataset a key ends at the first one.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltbc.train import TrainError
from ltbc.train.pictures.photograph import PictureError

FORMAT = "let-there-be-color-shards/1"
ROWS, INDEX = "index.npy", "index.json"
# offset: of the picture's bytes in its shard. spread: of its colors, as `pictures.spread` has it.
ROW = np.dtype([("offset", "<i8"), ("size", "<i4"), ("label", "<i4"), ("spread", "<f4")])
BLOCK = 512  # bytes of a tar header, before the bytes of each file


def is_packed(folder: Path) -> bool:
    if not (folder / INDEX).exists() and (folder / "parts").is_dir():
        raise TrainError(f"{folder}: shards that are not whole yet; run ltbc pack again, it goes on")
    return (folder / INDEX).exists()


class Shards(Sequence):
    """The pictures of a folder of shards whose colors spread at least `near_grey`; `shards[i]` is a picture's name.

    classes: names. labels: int32 `[N]`. counts: pictures of each shard. fingerprint: of the index.
    Raises TrainError for an index or shards that are foreign, damaged or not whole.
    """

    def __init__(self, folder: Path, near_grey: float = 0.0) -> None:
        self.folder = folder
        about = load_index(folder / INDEX)
        self.files = [folder / shard["name"] for shard in about["shards"]]
        for file, shard in zip(self.files, about["shards"]):
            size = file.stat().st_size if file.exists() else None
            if size != shard["bytes"]:
                got = "is missing" if size is None else f"has {size} bytes"
                raise TrainError(f"{file}: {got}, {INDEX} says {shard['bytes']}; copy it again, or pack again")
        self.rows = load_rows(folder / ROWS, sum(shard["pictures"] for shard in about["shards"]))
        labels = self.rows["label"]
        if labels.min() < 0 or labels.max() >= len(about["classes"]):
            raise TrainError(f"{folder / ROWS}: labels from {labels.min()} to {labels.max()}, {INDEX} names "
                             f"{len(about['classes'])} classes; pack the pictures again")
        self.ends = np.cumsum([shard["pictures"] for shard in about["shards"]])
        self.chosen = np.flatnonzero(self.rows["spread"] >= near_grey).astype(np.uint32)
        self.labels = self.rows["label"][self.chosen]
        self.classes, self.fingerprint = tuple(about["classes"]), about["fingerprint"]
        within = np.searchsorted(self.chosen, (0, *self.ends))
        self.counts = tuple(int(n) for n in np.diff(within))

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, i: Any) -> str:
        return self.name(int(self.chosen[i]))

    def without(self, near_grey: float) -> list[str]:
        """Names of the pictures whose colors spread less."""
        return [self.name(int(row)) for row in np.flatnonzero(self.rows["spread"] < near_grey)]

    def name(self, row: int) -> str:
        try:
            header = self.bytes(row, int(self.rows["offset"][row]) - BLOCK, BLOCK)
        except PictureError:
            return f"picture {row}"  # of a shard that is gone meanwhile
        return os.fsdecode(header[:100].rstrip(b"\0"))

    def read(self, i: int) -> bytes:
        """The file of picture i."""
        row = int(self.chosen[i])
        return self.bytes(row, int(self.rows["offset"][row]), int(self.rows["size"][row]))

    def bytes(self, row: int, offset: int, size: int) -> bytes:
        """Bytes of the shard that a row belongs to. Opened anew each time: no limit of open files is reached.

        Raises PictureError where they cannot be read.
        """
        file = self.files[int(np.searchsorted(self.ends, row, side="right"))]
        try:
            descriptor = os.open(file, os.O_RDONLY)
            try:
                data = os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PictureError(f"{file.name}: {error.strerror}") from None
        if len(data) != size:
            raise PictureError(f"{file.name} ends within it, at {offset + len(data)} bytes")
        return data


def load_index(path: Path) -> dict[str, Any]:
    """Reads index.json. Raises TrainError where it is none of ours."""
    try:
        about = json.loads(path.read_text())
        if about.get("format") != FORMAT:
            raise TrainError(f"{path}: not an index of this program (it states {about.get('format')}, wanted {FORMAT})")
        if not about["shards"] or not about["classes"] or not about["fingerprint"]:
            raise KeyError("shards")
        for shard in about["shards"]:
            if not (isinstance(shard["name"], str) and min(int(shard["pictures"]), int(shard["bytes"])) >= 0):
                raise ValueError(f"a shard that is {shard}")
        return about
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise TrainError(f"{path}: damaged index ({error}); pack the pictures again") from None


def load_rows(path: Path, wanted: int) -> np.ndarray:
    try:
        rows = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise TrainError(f"{path}: damaged index ({error}); pack the pictures again") from None
    if rows.dtype != ROW or rows.shape != (wanted,):
        raise TrainError(f"{path}: {rows.shape[0]} rows of {rows.dtype}, {INDEX} says {wanted}; pack again")
    return rows
