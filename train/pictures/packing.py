"""Where packing stands: shards that are whole, the one in hand, and at the end index, reports and contact sheet.

Beside a shard that is whole lies parts/NUMBER.json: its rows, what was left out meanwhile, and the number of files that
were seen so far. Both are written beside and renamed; a shard without its part does not count. When the index is
written, last of all, the parts go.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ltbc.nn.weights import write_whole
from ltbc.program import printable
from ltbc.train import TrainError
from ltbc.train.pictures.photograph import PictureError, read
from ltbc.train.pictures.scan import times
from ltbc.train.pictures.shards import BLOCK, FORMAT, INDEX, ROW, ROWS

KEY_BYTES = 90  # of a key: with its suffix it fits into a plain tar header
SHEET, TILE = 12, (160, 120)  # borderline pictures on either side, and how large
REASONS = ("near-grey", "duplicate", "unusable")


class Packing:
    """The shards of `names` (paths in `root`, in the order of packing) so far; `position` files have been seen."""

    def __init__(self, root: Path, out: Path, names: list[str], how: dict[str, Any], force: bool) -> None:
        self.root, self.out, self.names, self.how = root, out, names, how
        self.classes = sorted({Path(name).parent.as_posix() for name in names})
        self.numbers = {name: k for k, name in enumerate(self.classes)}
        self.position, self.parts = 0, list[dict]()
        self.seen: dict[str, int] = {}  # digest of the pixels -> number of the file
        self.done = (out / INDEX).exists() and not force
        if self.done:
            shutil.rmtree(out / "parts", ignore_errors=True)
            return
        stated = "\0".join((json.dumps(how), *(f"{name} {times(root / name)[0]}" for name in names)))
        self.plan = hashlib.sha256(stated.encode(errors="surrogateescape")).hexdigest()
        if force:
            self.clear()
        (out / "parts").mkdir(parents=True, exist_ok=True)
        for part in sorted((out / "parts").glob("*.json")):
            self.take(json.loads(part.read_text()), part)
        self.keys = unique_keys(names)
        self.begin()

    def clear(self) -> None:
        (self.out / INDEX).unlink(missing_ok=True)  # first: without it there are no shards
        shutil.rmtree(self.out / "parts", ignore_errors=True)
        for shard in self.out.glob("[0-9]*.tar"):
            shard.unlink()

    def take(self, part: dict, path: Path) -> None:
        """Counts a shard that an earlier run finished."""
        if part["plan"] != self.plan:
            raise TrainError(f"{self.out}: begun with other pictures or options; --force packs anew")
        shard = self.out / part["name"]
        if not shard.exists() or shard.stat().st_size != part["bytes"]:
            raise TrainError(f"{shard}: not as {path} has it; --force packs anew")
        self.parts.append(part)
        self.position = part["position"]
        self.seen |= {digest: at for digest, (at, *_) in zip(part["digests"], part["rows"])}

    def begin(self) -> None:
        """An empty shard."""
        self.tar, self.digests = bytearray(), list[str]()
        self.rows, self.left_out = list[list](), list[tuple[int, str]]()

    def add(self, reason: str, data: bytes, spread: float, digest: str) -> None:
        """The next file: its new bytes, or why it is left out."""
        at = self.position
        if not reason and (first := self.seen.setdefault(digest, at)) != at:
            reason = f"duplicate: of {self.names[first]}"
        self.position += 1
        if reason:
            self.left_out.append((at, reason))
            return
        label = self.numbers[Path(self.names[at]).parent.as_posix()]
        offset = self.put(f"{self.keys[at]}.{self.how['format']}", data)
        self.put(f"{self.keys[at]}.cls", str(label).encode())
        self.rows.append([at, offset, len(data), label, spread])
        self.digests.append(digest)
        if len(self.rows) == self.how["per_shard"]:
            self.close()

    def put(self, name: str, data: bytes) -> int:
        """Adds a file to the shard in hand; returns where its bytes begin."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self.tar += info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        offset = len(self.tar)
        self.tar += data + bytes(-len(data) % BLOCK)
        return offset

    def close(self) -> None:
        """Writes the shard in hand and what is known of it."""
        name = f"{len(self.parts):06d}.tar"
        self.tar += bytes(2 * BLOCK)  # ends an archive
        self.tar += bytes(-len(self.tar) % (20 * BLOCK))
        write_whole(self.out / name, bytes(self.tar))
        part = {
            "plan": self.plan, "name": name, "bytes": len(self.tar), "position": self.position, "rows": self.rows,
            "digests": self.digests, "left_out": self.left_out,
        }
        write_whole(self.out / "parts" / f"{name}.json", json.dumps(part).encode())
        self.parts.append(part)
        self.begin()

    def finish(self) -> list[str]:
        """Writes what is left, the reports and the index; lines for the user."""
        done = [entry for part in self.parts for entry in part["left_out"]]
        left_out = [(self.names[at], reason) for at, reason in (*done, *self.left_out)]
        if self.rows:
            self.close()
        if not self.parts:
            some = f", for instance {': '.join(left_out[0])}" if left_out else ""
            raise TrainError(f"{self.root}: no usable picture among {len(self.names)} files{some}")
        rows = [row for part in self.parts for row in part["rows"]]
        write_whole(self.out / "left_out.csv", as_csv(left_out))
        write_whole(self.out / "borderline.jpg", self.borderline(rows, left_out))
        index = np.array([tuple(row[1:]) for row in rows], ROW)
        buffer = io.BytesIO()
        np.save(buffer, index)
        write_whole(self.out / ROWS, buffer.getvalue())
        about = self.about(index, Counter(reason.partition(":")[0] for _, reason in left_out))
        write_whole(self.out / INDEX, json.dumps(about, indent=1).encode() + b"\n")
        shutil.rmtree(self.out / "parts")
        return self.report(about, left_out)

    def about(self, index: np.ndarray, reasons: Counter) -> dict[str, Any]:
        """What index.json holds."""
        shards = [{"name": part["name"], "pictures": len(part["rows"]), "bytes": part["bytes"]} for part in self.parts]
        digests = "".join(digest for part in self.parts for digest in part["digests"])
        sizes = np.bincount(index["label"], minlength=len(self.classes)).tolist()
        return {
            "format": FORMAT, "pictures": len(index), "files": len(self.names), "options": self.how,
            "left_out": {reason: reasons[reason] for reason in REASONS}, "classes": dict(zip(self.classes, sizes)),
            "fingerprint": hashlib.sha256(digests.encode() + index["label"].tobytes()).hexdigest(), "shards": shards,
        }

    def report(self, about: dict[str, Any], left_out: list[tuple[str, str]]) -> list[str]:
        size = sum(shard["bytes"] for shard in about["shards"])
        counts, low = about["left_out"], self.how["near_grey"]
        lines = [
            f"{self.out}: {about['pictures']} of {about['files']} pictures in {len(about['classes'])} classes, "
            f"{len(about['shards'])} shards, {size / 2**20:,.1f} MiB",
            f"left out as near-grey: {counts['near-grey']} (sqrt(var(a*) + var(b*)) < {low:g}; the nearest to it on "
            f"both sides: {self.out / 'borderline.jpg'})",
            f"left out as duplicates of another one: {counts['duplicate']}; as unusable: {counts['unusable']} "
            f"(all by name: {self.out / 'left_out.csv'})",
        ]
        bad = [f"  {name}: {reason[10:]}" for name, reason in left_out if reason.startswith("unusable: ")]
        return [*map(printable, lines + bad[:10])] + ["  ..."][: len(bad) > 10]

    def borderline(self, rows: list[list], left_out: list[tuple[str, str]]) -> bytes:
        """The contact sheet: the most colorful that are left out, and the least colorful that are not."""
        grey = [(float(why[11:]), name) for name, why in left_out if why.startswith("near-grey: ")]
        kept = sorted((row[4], self.names[row[0]]) for row in rows)
        low = self.how["near_grey"]
        groups = (
            (f"left out: spread of color just below {low:g}", sorted(grey)[-SHEET:]),
            ("kept: the least colorful", kept[:SHEET]),
        )
        buffer = io.BytesIO()
        draw_sheet(self.root, groups).save(buffer, "JPEG", quality=90, subsampling=0)
        return buffer.getvalue()


def as_csv(rows: list[tuple[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "reason", "detail"))
    writer.writerows((name, *reason.partition(": ")[::2]) for name, reason in sorted(rows))
    return text.getvalue().encode(errors="surrogateescape")


def unique_keys(names: list[str]) -> list[str]:
    """A WebDataset key for each: the path without suffix, dots as "_", not too long, "~2" where one comes twice."""
    keys, used, last = list[str](), set[str](), dict[str, int]()
    for name in names:
        stem = name.rpartition(".")[0].replace(".", "_")
        stem = key = os.fsdecode(os.fsencode(stem)[-KEY_BYTES + 8 :]).lstrip("/")
        while key in used:
            last[stem] = n = last.get(stem, 1) + 1
            key = f"{stem}~{n}"
        used.add(key)
        keys.append(key)
    return keys


def draw_sheet(root: Path, groups: tuple) -> Image.Image:
    """Pictures with their spread and name, `SHEET` / 2 a row, under a title a group."""
    (width, height), gap, text, columns = TILE, 10, 34, SHEET // 2
    font, small = ImageFont.load_default(18), ImageFont.load_default(12)
    tall = [44 + -(-max(len(shown), 1) // columns) * (height + text + gap) for _, shown in groups]
    sheet = Image.new("RGB", (columns * (width + gap) + gap, sum(tall) + gap), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for (title, shown), group_height in zip(groups, tall):
        pen.text((gap, top + 14), title if shown else f"{title}: none", "black", font)
        for k, (spread, name) in enumerate(shown):
            x, y = gap + k % columns * (width + gap), top + 44 + k // columns * (height + text + gap)
            try:
                sheet.paste(ImageOps.fit(Image.fromarray(read(root / name, height)), TILE), (x, y))
            except PictureError:  # gone meanwhile
                continue
            pen.text((x, y + height + 2), f"{spread:.2f}", "black", small)
            pen.text((x, y + height + 16), shorten(name, pen, small, width), "dimgrey", small)
        top += group_height
    return sheet


def shorten(name: str, pen: ImageDraw.ImageDraw, font: Any, width: int) -> str:
    """The end of a name that fits."""
    name = name.encode("ascii", "replace").decode()
    while pen.textlength(name, font) > width:
        name = "…" + name.lstrip("…")[1:]
    return name
