"""`ltbc pack PHOTOS --out SHARDS`: a folder of class sub-folders as tar shards, decoded once.

Every picture is reduced to the short side that is asked for (never enlarged); JPEGs of that size and without metadata
go in as they are. Left out, and named with the reason in left_out.csv, are

    unusable     files that are no whole picture, or longer than 16 times their width
    near-grey    sqrt(var(a*) + var(b*)) < --near-grey, over at least 64 x 64 pixels: see `pictures.spread`
    duplicate    pictures with exactly the pixels of an earlier one

The pictures are mixed first, by a hash of their places: every shard holds pictures of all classes. After a kill, the
same command goes on with the first shard that is not whole. See `shards.py` for the files.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin(lasting=True)

import argparse
import hashlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ltbc.train import TrainError
from ltbc.train.lock import Lock
from ltbc.train.options import CPUS, Parser, count, number
from ltbc.train.pictures.packing import Packing
from ltbc.train.pictures.photograph import FORMATS, NEAR_GREY, PictureError, load, read, spread
from ltbc.train.pictures.scan import ahead, find
from ltbc.train.pictures.shards import INDEX
from ltbc.train.pictures.stream import random_bits

SUFFIX = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
PLAIN = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progression", "progressive"}  # of a JPEG's info


@dataclass
class Prepared:
    """What became of a file: reason "" and its new bytes, or why it is left out."""

    reason: str = ""
    data: bytes = b""
    spread: float = 0.0
    digest: str = ""  # of the pixels


def main(arguments: Sequence[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")  # what cannot be used is reported by name
    try:
        return pack(parser().parse_args(arguments))
    except KeyboardInterrupt:
        print("pack: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"pack: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
    except TrainError as error:
        print(f"pack: {error}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="ltbc pack", description=__doc__.partition("\n")[0])
    p.add_argument("photos", help="folder with one sub-folder of pictures a class")
    p.add_argument("--out", required=True, metavar="SHARDS", help="folder for the shards")
    p.add_argument("--short-side", type=number(int, 16, 4096), default=256, help="of the packed pictures (256)")
    p.add_argument("--format", choices=SUFFIX, default="jpg", help="of the packed pictures (jpg)")
    p.add_argument("--quality", type=number(int, 1, 100), default=92, help="of jpg and webp (92); jpg is 4:4:4")
    p.add_argument("--near-grey", type=number(float, 0), default=NEAR_GREY,
                   help=f"leave out pictures whose colors spread less ({NEAR_GREY:g}); 0 keeps all")
    p.add_argument("--per-shard", type=count, default=5000, help="pictures a shard (5000)")
    p.add_argument("--workers", type=count, default=CPUS, help=f"threads ({CPUS})")
    p.add_argument("--force", action="store_true", help="pack anew where --out holds shards already")
    return p


def pack(options: argparse.Namespace) -> int:
    root, out = Path(options.photos), Path(options.out)
    if out.resolve().is_relative_to(root.resolve()):
        raise TrainError(f"--out {out} lies in {root}: its pictures would be packed next time; choose another folder")
    with Lock(out) as lock:
        lock.take()
        return pack_into(out, root, options)


def pack_into(out: Path, root: Path, options: argparse.Namespace) -> int:
    found = find(root)
    names = found.names
    names = [names[i] for i in np.argsort(random_bits(0, len(names), np.arange(len(names))), kind="stable")]
    how = {name: getattr(options, name) for name in ("short_side", "format", "quality", "near_grey", "per_shard")}
    packing = Packing(root, out, names, how, force=options.force)
    if packing.done:
        print(f"{out}: packed already ({INDEX} is there); --force packs anew")
        return 0
    left = names[packing.position :]
    if packing.position:
        print(f"{out}: goes on after {packing.position} of {len(names)} files", flush=True)
    with tqdm(total=len(names), initial=packing.position, desc=f"packing {root}", disable=None, leave=False) as bar:
        for prepared in prepare_all(root, left, options, found.loose):
            packing.add(prepared.reason, prepared.data, prepared.spread, prepared.digest)
            bar.update()
    print(*packing.finish(), *found.report(), sep="\n")
    return 0


def prepare_all(root: Path, names: list[str], options: argparse.Namespace, loose: bool) -> Iterator[Prepared]:
    """The files in order, made ready by threads. loose: some files lie beside the class sub-folders."""

    def one(name: str) -> Prepared:
        if loose and "/" not in name:
            return Prepared("unusable: lies in no class sub-folder")
        return prepare(root / name, options.short_side, options.format, options.quality, options.near_grey)

    return ahead(one, names, options.workers, depth=8 * options.workers)


def prepare(path: Path, short_side: int, format: str, quality: int, near_grey: float) -> Prepared:
    """One file, read once."""
    try:
        data = load(path)
        pixels = read(data, short_side, enlarge=False)
    except PictureError as error:
        return Prepared(f"unusable: {error}")
    digest = hashlib.blake2b(pixels.tobytes() + bytes(str(pixels.shape), "ascii"), digest_size=16).hexdigest()
    if (colors := spread(pixels)) < near_grey:
        return Prepared(f"near-grey: {colors:.3f}", b"", colors, digest)
    if format != "jpg" or not stays(data, pixels.shape):
        buffer = BytesIO()
        how = {"jpg": {"quality": quality, "subsampling": 0}, "png": {}, "webp": {"quality": quality}}[format]
        Image.fromarray(pixels).save(buffer, SUFFIX[format], **how)
        data = buffer.getvalue()
    return Prepared("", data, colors, digest)


def stays(data: bytes, shape: tuple[int, ...]) -> bool:
    """Whether a file can go in as it is: a JPEG of that size in sRGB with nothing beside its pixels."""
    with Image.open(BytesIO(data), formats=FORMATS) as file:
        return (
            file.format == "JPEG" and file.mode == "RGB" and (*file.size[::-1], 3) == shape and set(file.info) <= PLAIN
        )


if __name__ == "__main__":
    sys.exit(main())
