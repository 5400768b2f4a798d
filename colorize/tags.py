"""Directories of tags as TIFF files and EXIF blocks hold them, copied without interpreting the values.

A directory is `{tag: (type, bytes)}`, or `{tag: directory}` where the tag points to another one (EXIF, GPS). Bytes
stay in the byte order of their source, so what is copied is what was there: unknown tags, any text encoding. An
entry that is damaged is left out, alone. BigTIFF is read, too; its numbers of 64 bits become those of TIFF where they
fit. Source: TIFF 6.0, section 2; Exif 2.3, section 4.6; BigTIFF as libtiff has it.
"""

import struct
from collections.abc import Container, Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

Directory = dict[int, "tuple[int, bytes] | Directory"]

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of each type's values
WIDE = {13: "I", 16: "Q", 18: "Q"}  # types of offsets and of whole numbers of 64 bits, which only BigTIFF has
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
POINTERS = (EXIF, GPS, INTEROPERABILITY)
LARGEST = 1 << 24  # bytes of values that one file may ask for


class Layout(NamedTuple):
    """Formats of the number of entries, and of lengths and offsets; bytes of these; where the first offset stands."""

    entries: str
    length: str
    wide: int
    first: int


LAYOUTS = {42: Layout("H", "I", 4, 4), 43: Layout("Q", "Q", 8, 8)}  # TIFF, BigTIFF


def read(file: BinaryIO) -> tuple[str, Directory]:
    """(byte order `<` or `>`, first directory) of a TIFF file or of the TIFF part of an EXIF block.

    Raises ValueError where there is none.
    """
    reader = Reader(file)
    return reader.order, reader.directory(reader.first)


class Reader:
    """Reads directories one inside the other: each once, and not more than `LARGEST` bytes altogether.

    order: `<` or `>`. first: offset of the first directory. Raises ValueError for a file that does not begin as TIFF.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, LARGEST
        self.seen: set[int] = set()
        file.seek(0)
        header = file.read(16).ljust(4)
        self.order = ">" if header[:2] == b"MM" else "<"
        layout = LAYOUTS.get(*struct.unpack(self.order + "H", header[2:4]))
        if header[:2] not in (b"II", b"MM") or layout is None or len(header) < layout.first + layout.wide:
            raise ValueError("no TIFF header")
        self.layout = layout
        (self.first,) = struct.unpack_from(self.order + layout.length, header, layout.first)

    def chain(self, wanted: Container[int]) -> Iterator[tuple[int, Directory]]:
        """(offset, the wanted tags) of the first directory and of those that follow it."""
        offset = self.first
        while offset and offset not in self.seen:
            directory, after = self.linked(offset, wanted)
            yield offset, directory
            offset = after

    def directory(self, offset: int, wanted: Container[int] | None = None) -> Directory:
        """The directory at that offset of the file, or the wanted tags of it."""
        return self.linked(offset, wanted)[0]

    def linked(self, offset: int, wanted: Container[int] | None = None) -> tuple[Directory, int]:
        """(that directory, the offset of the next one or 0)."""
        self.seen.add(offset)
        (entries, length, wide, _), order = self.layout, self.order
        record = struct.Struct(f"{order}HH{length}{wide}s")
        self.file.seek(offset)
        start = self.file.read(struct.calcsize(f"={entries}"))
        count = struct.unpack(order + entries, start)[0] if len(start) == struct.calcsize(f"={entries}") else 0
        records = self.file.read(min(record.size * count, LARGEST))
        after = self.file.read(wide)
        found = {}
        for tag, kind, number, data in record.iter_unpack(records[: len(records) // record.size * record.size]):
            entry = self.entry(tag, kind, number, data) if wanted is None or tag in wanted else None
            if entry is not None:
                found[tag] = entry
        return found, struct.unpack(order + length, after)[0] if len(after) == wide else 0

    def entry(self, tag: int, kind: int, number: int, data: bytes) -> "tuple[int, bytes] | Directory | None":
        """One value, or the directory that it points to; None where it is damaged."""
        if tag in POINTERS:
            position = struct.unpack_from(self.order + WIDE.get(kind, "I"), data.ljust(8))[0]
            if kind in (LONG, *WIDE) and number == 1 and position not in self.seen:
                return self.directory(position)
            return None
        size = struct.calcsize(WIDE[kind]) * number if kind in WIDE else SIZES.get(kind, 0) * number
        if not 0 < size <= self.left:
            return None
        if size > len(data):
            self.file.seek(*struct.unpack(self.order + self.layout.length, data))
            data = self.file.read(size)
            self.left -= size
        if len(data) < size:
            return None
        return self.narrow(kind, data[:size]) if kind in WIDE else (kind, data[:size])

    def narrow(self, kind: int, data: bytes) -> tuple[int, bytes] | None:
        """Whole numbers as LONG; None where one of them is too large for that."""
        values = [value for value, in struct.iter_unpack(self.order + WIDE[kind], data)]
        return numbers(LONG, self.order, *values) if max(values) < 1 << 32 else None


def write(directory: Directory, order: str, offset: int) -> bytes:
    """The directory as it stands at that (even) offset of a file; directories that it points to follow it."""
    end = offset + 2 + 12 * len(directory) + 4
    records, values = struct.pack(order + "H", len(directory)), b""
    for tag, entry in sorted(directory.items()):
        at = struct.pack(order + "I", end + len(values))
        if isinstance(entry, dict):
            records += struct.pack(order + "HHI", tag, LONG, 1) + at
            values += write(entry, order, end + len(values))
            continue
        kind, data = entry
        records += struct.pack(order + "HHI", tag, kind, len(data) // SIZES[kind])
        if len(data) <= 4:
            records += data.ljust(4, b"\0")
        else:
            records += at
            values += data + bytes(len(data) % 2)
    return records + bytes(4) + values


def exif_block(directory: Directory, order: str) -> bytes:
    """An EXIF block as JPEG, PNG and WebP carry it."""
    return b"Exif\0\0" + header(order, 8) + write(directory, order, 8)


def header(order: str, offset: int) -> bytes:
    """The eight bytes that a TIFF file begins with; the first directory stands at offset."""
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", offset)


def from_exif_block(block: bytes) -> tuple[str, Directory]:
    """The inverse of `exif_block`. Raises ValueError where there is no TIFF header in it."""
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    return read(BytesIO(block))


def numbers(kind: int, order: str, *values: int) -> tuple[int, bytes]:
    """An entry of SHORT, LONG or RATIONAL (numerator and denominator each) values."""
    return kind, struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'I'}", *values)


def integer(directory: Directory, tag: int, order: str, default: int = 0) -> int:
    """The first value of an integer tag."""
    return next(iter(integers(directory, tag, order)), default)



def integers(directory: Directory, tag: int, order: str) -> list[int]:
    """All values of an integer tag; none where it is missing."""
    entry = directory.get(tag)
    kinds = {BYTE: "B", SHORT: "H", LONG: "I"}
    if not isinstance(entry, tuple) or entry[0] not in kinds:
        return []
    return [value for value, in struct.iter_unpack(order + kinds[entry[0]], entry[1])]
