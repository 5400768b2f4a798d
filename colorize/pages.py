"""Which picture of a TIFF file is the photograph: its directories may hold pages, reduced copies of them, masks.

Directories that follow one another are the pages, counted from 1; one may have others below it (SubIFDs). What each is
stands in NewSubfileType, or in SubfileType of older files (TIFF 6.0, section 8). Raw files of cameras are TIFF, too:
what can be read of them is a preview, so they are refused.
"""

import io
from typing import BinaryIO, NamedTuple

from ltbc.colorize import tags
from ltbc.colorize.errors import ImageError

NEW_KIND, OLD_KIND, WIDTH, HEIGHT, PHOTOMETRIC, BELOW, DNG = 254, 255, 256, 257, 262, 330, 50706
WANTED = frozenset((NEW_KIND, OLD_KIND, WIDTH, HEIGHT, PHOTOMETRIC, BELOW, DNG))
WHOLE, REDUCED, MASK = "a page", "a reduced copy", "a mask"
SENSOR = (32803, 34892)  # photometric interpretations: color filter array, linear raw
RAW = "raw file of a camera; develop it first, and color the TIFF or JPEG that comes of it"
RAW_SUFFIXES = frozenset((
    ".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw",
    ".x3f", ".3fr", ".fff", ".iiq", ".erf", ".mrw", ".kdc", ".dcr", ".mos", ".mef", ".rwl", ".raw",
))
RAW_HEADS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
MOST = 100_000  # directories of one file


class Page(NamedTuple):
    """number: from 1, 0 for one below a page. size: width times height."""

    offset: int
    number: int
    kind: str
    width: int
    height: int

    @property
    def size(self) -> int:
        return self.width * self.height


def found(file: BinaryIO) -> list[tuple[Page, list[Page]]]:
    """The pages of a TIFF file, each with the pictures below it. Raises ImageError for a raw file."""
    try:
        reader = tags.Reader(file)
    except ValueError:
        raise ImageError("damaged or cut off (no TIFF header)") from None
    file.seek(8)
    if file.read(2) == b"CR":
        raise ImageError(RAW)
    listed: list[tuple[Page, list[Page]]] = []
    for offset, directory in reader.chain(WANTED):
        below = [inner for inner in tags.integers(directory, BELOW, reader.order) if inner not in reader.seen]
        inner = [described(at, 0, reader.directory(at, WANTED), reader.order) for at in below[:MOST]]
        listed.append((described(offset, len(listed) + 1, directory, reader.order), inner))
        if len(listed) == MOST:
            break
    return listed


def described(offset: int, number: int, directory: tags.Directory, order: str) -> Page:
    if DNG in directory or tags.integer(directory, PHOTOMETRIC, order) in SENSOR:
        raise ImageError(RAW)
    bits = tags.integer(directory, NEW_KIND, order)
    reduced = bits & 1 or tags.integer(directory, OLD_KIND, order) == 2
    kind = MASK if bits & 4 or tags.integer(directory, PHOTOMETRIC, order) == 4 else REDUCED if reduced else WHOLE
    return Page(offset, number, kind, tags.integer(directory, WIDTH, order), tags.integer(directory, HEIGHT, order))


def choose(file: BinaryIO, number: int | None = None) -> tuple[Page, list[str]]:
    """(the page of that number, or the photograph; notes for the user). Raises ImageError where it is not there."""
    listed = found(file)
    if not listed:
        raise ImageError("damaged or cut off (no picture in it)")
    if number is not None:
        if number > len(listed):
            raise ImageError(f"has no page {number}; there {'is' if len(listed) == 1 else 'are'} {len(listed)}")
        page = listed[number - 1][0]
        return page, [] if page.kind == WHOLE else [f"page {number} is marked as {page.kind}"]
    first, below = listed[0]
    whole = [page for page, _ in listed if page.kind == WHOLE]
    full = max((page for page in below if page.kind == WHOLE), key=lambda page: page.size, default=None)
    notes = []
    if full and (first.kind != WHOLE or full.size > first.size):
        page = full
        notes.append(f"its first page is a preview of {first.width} x {first.height}; the full picture is used")
    elif first.kind == WHOLE or not whole:
        page = first
        notes += [f"its only picture is marked as {first.kind}"] if first.kind != WHOLE else []
    else:
        page = whole[0]
        notes.append(f"its first page is marked as {first.kind}; page {page.number} is used")
    others = [other for other in whole if other != page]
    if others and page.kind == WHOLE and page.number:
        notes.append(only(page.number, len(whole)))
        larger = max(others, key=lambda other: other.size)
        if larger.size > page.size:
            notes.append(f"page {larger.number} is larger, {larger.width} x {larger.height} pixels")
    return page, notes


def only(number: int, pages: int) -> str:
    used = "the first" if number == 1 else f"page {number}"
    return f"only {used} of its {pages} pages is used (--page N takes another, --pages all each)"


class Redirected(io.RawIOBase):
    """A TIFF file, read-only, that begins with another of its directories."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self.file, self.at = file, 0
        reader = tags.Reader(file)
        self.start, wide = reader.layout.first, reader.layout.wide
        self.first = offset.to_bytes(wide, "little" if reader.order == "<" else "big")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.file.seek(self.at)
        self.at = self.file.seek(offset, whence)
        return self.at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        self.file.seek(self.at)
        data = bytearray(self.file.read(len(buffer)))
        for i, byte in enumerate(self.first, self.start - self.at):
            if 0 <= i < len(data):
                data[i] = byte
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)
