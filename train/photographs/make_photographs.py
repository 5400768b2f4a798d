#!/usr/bin/env python3
"""Make the sample photographs again from the Debian packages they were taken from.

LICENCES.csv is the table: one row per JPEG, with the package, the file in the package
(ARCHIVE.rcc:NAME is a file in a Qt resource archive), and in "changes" the crop and the size.

    python3 make_photographs.py PACKAGES [OUTPUT]   make every JPEG of the table
    python3 make_photographs.py --check             check the JPEGs beside this file

PACKAGES is a folder with the .deb files (README.md says from which release); OUTPUT is this
folder unless given.  Needs Pillow, and dpkg-deb to unpack the packages.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the project's folder

from ltbc import program

if __name__ == "__main__":
    program.begin()

import csv
import io
import re
import subprocess
import tarfile

from PIL import Image, ImageCms
from qt_resources import resources

HERE = Path(__file__).resolve().parent
CHANGES = re.compile(r"cropped to (\d+)x(\d+)\+(\d+)\+(\d+), scaled to (\d+)x(\d+)")
LIMIT = 6_000_000  # bytes, all JPEGs together
QUALITY = 85


def rows():
    with open(HERE / "LICENCES.csv", newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def package_file(packages, name, version):
    """The .deb of one package; apt writes the colon of a version as %3a."""
    found = list(packages.glob(f"{name}_{version.replace(':', '%3a')}_*.deb"))
    if len(found) != 1:
        sys.exit(f"{name} {version}: expected one .deb in {packages}, found {len(found)}")
    return found[0]


def unpack(deb, wanted):
    """The wanted files of a .deb, as {path: bytes}."""
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
        archives = {path.partition(":")[0] for path in wanted}
        there = sorted(archives & files.keys())
        found = {path: file.read() for path in there if (file := tar.extractfile(files[path]))}
    for path in [path for path in found if path.endswith(".rcc")]:
        found |= {f"{path}:{name}": content for name, content in resources(found[path])}
    if missing := sorted(wanted - found.keys()):
        sys.exit(f"{deb.name}: not in the package: {missing}")
    return found


def to_srgb(image):
    """Apply an embedded color profile, if there is one, and drop it."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode != "RGB":
        return image.convert("RGB")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))


def crop_and_size(changes):
    """What the table's "changes" say: (left, top, right, bottom) of the crop, (width, height) that it is scaled to."""
    found = CHANGES.fullmatch(changes)
    if not found:
        sys.exit(f"LICENCES.csv: expected changes as in {CHANGES.pattern!r}, found {changes!r}")
    width, height, left, top, *size = map(int, found.groups())
    return (left, top, left + width, top + height), tuple(size)


def write(source, changes, target):
    box, size = crop_and_size(changes)
    image = source.crop(box).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, quality=QUALITY, subsampling="4:2:0", optimize=True)


def make(packages, output):
    by_package: dict[tuple[str, str], dict[str, list]] = {}
    for row in rows():
        key = row["source_package"], row["source_version"]
        by_package.setdefault(key, {}).setdefault(row["source_file"], []).append(row)
    for (name, version), wanted in sorted(by_package.items()):
        files = unpack(package_file(packages, name, version), wanted.keys())
        for path, crops in sorted(wanted.items()):
            source = to_srgb(Image.open(io.BytesIO(files[path])))
            for row in crops:
                write(source, row["changes"], output / row["file"])


def check():
    table = {row["file"]: row for row in rows()}
    present = {path.relative_to(HERE).as_posix() for path in HERE.glob("*/*/*.jpg")}
    errors = [f"not in LICENCES.csv: {name}" for name in sorted(present - table.keys())]
    errors += [f"missing: {name}" for name in sorted(table.keys() - present)]
    halves: dict[str, set] = {"train": set(), "held_out": set()}
    total = 0
    for name in sorted(present & table.keys()):
        row = table[name]
        halves[name.split("/")[0]].add((row["source_package"], row["source_file"]))
        total += (HERE / name).stat().st_size
        with Image.open(HERE / name) as image:
            image.load()
            _, size = crop_and_size(row["changes"])
            if image.mode != "RGB" or image.size != size or image.getexif():
                errors.append(f"not as the table says: {name}")
    errors += [f"in both halves: {source}" for source in halves["train"] & halves["held_out"]]
    if total > LIMIT:
        errors.append(f"{total} bytes, more than {LIMIT}")
    print(f"{len(present)} photographs, {total} bytes, sources: "
          f"{len(halves['train'])} train, {len(halves['held_out'])} held out")
    sys.exit("\n".join(errors) or None)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
        sys.exit()
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    make(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else HERE)
