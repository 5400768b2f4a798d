"""EXIF and TIFF directories: values of every kind and length come through, against a literal reader and writer."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import tags
from ltbc.colorize.images import read
from tests.tools.picture_files import grey, written

BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # TIFF 6.0, section 2: of each type
FIRST = 0xC800  # tags that nobody else uses
EXIF, GPS = 0x8769, 0x8825


def values():
    """{tag: (type, bytes)}: of every type 1 to 9 values, so that they take fewer, just, and more than four bytes."""
    rng = np.random.default_rng(0)
    kinds = [(kind, rng.bytes(n * size)) for kind, size in BYTES.items() for n in range(1, 10)]
    return dict(enumerate(kinds, FIRST))


def literal_directory(entries, order, offset):
    """The bytes of a directory at that offset; tags of which the value is another directory point to it."""
    records, behind, at = struct.pack(f"{order}H", len(entries)), b"", offset + 2 + 12 * len(entries) + 4
    for tag in sorted(entries):
        if isinstance(entries[tag], dict):
            records += struct.pack(f"{order}HHII", tag, 4, 1, at + len(behind))
            behind += literal_directory(entries[tag], order, at + len(behind))
            continue
        kind, data = entries[tag]
        records += struct.pack(f"{order}HHI", tag, kind, len(data) // BYTES[kind])
        records += data + bytes(4 - len(data)) if len(data) <= 4 else struct.pack(f"{order}I", at + len(behind))
        behind += b"" if len(data) <= 4 else data + bytes(len(data) % 2)
    return records + bytes(4) + behind


def literal_block(entries, order):
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + literal_directory(entries, order, 8)


def literal_entries(block, order=None, offset=None):
    """The inverse, of tags from FIRST on and what EXIF and GPS point to."""
    order = order or {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    offset = struct.unpack(f"{order}I", block[4:8])[0] if offset is None else offset
    found, before = {}, -1
    for i in range(struct.unpack_from(f"{order}H", block, offset)[0]):
        tag, kind, number, at = struct.unpack_from(f"{order}HHII", block, offset + 2 + 12 * i)
        assert tag > before, "in order"
        before, size = tag, number * BYTES[kind]
        if tag in (EXIF, GPS):
            found[tag] = literal_entries(block, order, at)
        elif tag >= FIRST or tag < 100:  # GPS tags are small
            start = offset + 2 + 12 * i + 8 if size <= 4 else at
            assert size <= 4 or at % 2 == 0, "values lie at even places"
            found[tag] = kind, block[start : start + size]
    return found


def everything():
    return {**values(), EXIF: values(), GPS: {1: (2, b"N\0"), 5: (1, b"\1"), 29: (2, b"2001:02:03\0")}}


@pytest.mark.parametrize("order", "<>")
def test_what_is_read_and_written_is_what_was_there(order):
    block = literal_block(everything(), order)
    assert tags.read(io.BytesIO(block)) == (order, everything())
    assert tags.from_exif_block(tags.exif_block(everything(), order)) == (order, everything())
    assert literal_entries(tags.exif_block(everything(), order)[6:]) == everything()


def test_values_beyond_what_a_file_may_ask_for_are_left_out(monkeypatch):
    """Many entries may point to the same place: together they would fill the memory."""
    monkeypatch.setattr(tags, "LARGEST", 250)
    entries = {FIRST + i: (7, bytes([i]) * 100) for i in range(4)} | {FIRST + 9: (7, b"tiny")}
    _, found = tags.read(io.BytesIO(literal_block(entries, "<")))
    assert found == {tag: entries[tag] for tag in (FIRST, FIRST + 1, FIRST + 9)}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif", "16.tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
def test_they_go_from_file_to_file(tmp_path, source, target, order):
    path = tmp_path / f"in{source}"
    if source.endswith(".tif"):
        dtype = np.uint16 if "16" in source else np.uint8
        pixels = grey(dtype).astype(f"{order}u{dtype().itemsize}").tobytes()
        height, width = grey().shape
        numbers = {256: width, 257: height, 258: 8 * dtype().itemsize, 259: 1, 262: 1, 273: 8, 277: 1, 278: height,
                   279: len(pixels)}
        entries = {**everything(), **{tag: (4, struct.pack(f"{order}I", n)) for tag, n in numbers.items()}}
        start = 8 + len(pixels) + len(pixels) % 2
        path.write_bytes(literal_block({}, order)[:4] + struct.pack(f"{order}I", start)
                         + pixels.ljust(start - 8, b"\0") + literal_directory(entries, order, start))
    else:
        Image.fromarray(grey()).save(path, exif=b"Exif\0\0" + literal_block(everything(), order))
    picture = read(path)
    if source.endswith("tif"):  # a WebP is lossy here
        assert np.allclose(picture.luminance, grey() / 255, atol=1 / 255), "the file is what it is meant to be"
    _, notes = written(tmp_path / f"out{target}", picture)
    assert not any("EXIF" in note for note in picture.notes + notes)
    path = tmp_path / f"out{target}"
    block = path.read_bytes() if target == ".tif" else Image.open(path).info["exif"]
    assert literal_entries(block.removeprefix(b"Exif\0\0")) == everything()
