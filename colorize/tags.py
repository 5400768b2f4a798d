"""Directories of tags as TIFF files and EXIF blocks hold them, copied without interpreting the values.

A directory is `{tag: (type, bytes)}`, or `{tag: directory}` where the tag points to another one (EXIF, GPS). Bytes
stay in the byte order of their source, so what is copied is what was there: unknown tags, any text encoding. An
entry that is damaged is left out, alone. Source: TIFF 6.0, section 2; Exif 2.3, section 4.6.
"""

import struct
from io import BytesIO
from typing import BinaryIO

Directory = dict[int, "tuple[int, bytes] | Directory"]

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of each type's values
BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
POINTERS = (EXIF, GPS, INTEROPERABILITY)
LARGEST = 1 << 24  # bytes of values that one file may ask for


def read(file: BinaryIO) -> tuple[str, Directory]:
    """(byte order `<` or `>`, first directory) of a TIFF file or of the TIFF part of an EXIF block.

    Raises ValueError where there is none (BigTIFF among it).
    """
    file.seek(0)
    header = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(header[:4])
    if order is None or len(header) < 8:
        raise ValueError("no TIFF header")
    return order, Reader(file, order).directory(struct.unpack(order + "I", header[4:])[0])


class Reader:
    """Reads directories one inside the other: each once, and not more than `LARGEST` bytes altogether."""

    def __init__(self, file: BinaryIO, order: str) -> None:
        self.file, self.order, self.left = file, order, LARGEST
        self.seen: set[int] = set()

    def directory(self, offset: int) -> Directory:
        """The directory at that offset of the file."""
        self.seen.add(offset)
        self.file.seek(offset)
        count = self.file.read(2)
        records = self.file.read(12 * struct.unpack(self.order + "H", count)[0]) if len(count) == 2 else b""
        entries = {}
        for start in range(0, len(records) // 12 * 12, 12):
            tag, kind, number = struct.unpack_from(self.order + "HHI", records, start)
            entry = self.entry(tag, kind, number, records[start + 8 : start + 12])
            if entry is not None:
                entries[tag] = entry
        return entries

    def entry(self, tag: int, kind: int, number: int, data: bytes) -> "tuple[int, bytes] | Directory | None":
        """One value, or the directory that it points to; None where it is damaged."""
        position = struct.unpack(self.order + "I", data)[0]
        if tag in POINTERS:
            if kind == LONG and number == 1 and position not in self.seen:
                return self.directory(position)
            return None
        size = SIZES.get(kind, 0) * number
        if not 0 < size <= self.left:
            return None
        if size > 4:
            self.file.seek(position)
            data = self.file.read(size)
            self.left -= size
        return (kind, data[:size]) if len(data) >= size else None


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


def integer(directory: Directory, tag: int, order: str, default: int) -> int:
    """The first value of an integer tag."""
    entry = directory.get(tag)
    if not isinstance(entry, tuple) or entry[0] not in (BYTE, SHORT, LONG):
        return default
    return struct.unpack_from(order + {BYTE: "B", SHORT: "H", LONG: "I"}[entry[0]], entry[1])[0]
