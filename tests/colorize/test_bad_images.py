"""Damaged and hostile picture files, and a full disk: a picture or one line, never anything half."""

import errno
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from ltbc.colorize import pages, png
from ltbc.colorize.images import read
from ltbc.colorize.picture import ImageError
from tests.tools.drawn import draw
from tests.tools.picture_files import grey, rich_exif, written

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, about what is wrong with these files


def reason(path):
    """The one line that reading gives, without the path."""
    with pytest.raises(ImageError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


def test_what_is_no_picture_is_told(tmp_path):
    kinds = "not a picture that can be read (JPEG, PNG, TIFF, WebP, BMP, GIF, JPEG 2000, AVIF or HEIC)"
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no pixels")
    (tmp_path / "vector.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # no interpreter is run
    assert reason(tmp_path / "empty.jpg") == "empty file (0 bytes)"
    assert reason(tmp_path / "text.png") == reason(tmp_path / "vector.png") == kinds
    assert reason(tmp_path / "missing.png") == "No such file or directory"
    assert reason(tmp_path) == "Is a directory"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".tif", "16.png", "16.tif", "float.tif"])
def test_a_truncated_file_is_told(tmp_path, suffix):
    path = tmp_path / f"whole{suffix}"
    if suffix.endswith(".tif") and suffix != ".tif":
        tifffile.imwrite(path, np.random.default_rng(0).random((90, 90, 3), np.float32), photometric="rgb")
    else:
        noise = np.random.default_rng(0).integers(0, 256, (90, 90), dtype=np.uint8)
        Image.fromarray(noise.astype(np.uint16) * 257 if "16" in suffix else noise).save(path)
    assert read(path).luminance.shape == (90, 90)
    whole = path.read_bytes()
    for part in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(part * len(whole))])
        if suffix == ".jpg":
            assert "rows are missing" in read(path).notes[0]
        else:
            assert reason(path).startswith(("damaged", "not a picture"))


def test_a_bomb_is_told_with_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    rows = zlib.compress(bytes(2001 * 1001))
    chunks = (b"IHDR", struct.pack(">IIBBBBB", 2000, 1001, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")
    bomb = png.SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    tifffile.imwrite(tmp_path / "bomb.tif", np.zeros((1001, 2000, 3), np.float32), photometric="rgb", compression=8)
    for name in ("bomb.png", "bomb.tif"):
        line = reason(tmp_path / name)
        assert line == "2 megapixels, over the limit of 2 megapixels; make it smaller or cut it into parts first"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".tif", "16.png", "16.tif"])
def test_files_with_flipped_bytes_give_a_picture_or_a_line(tmp_path, suffix):
    """What can still be read can be written; nothing else than ImageError ever comes out."""
    path, target = tmp_path / f"in{suffix}", tmp_path / "out.png"
    image = draw(0, 24, 16)
    image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257) if "16" in suffix else image
    image.save(path, exif=rich_exif())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    read_again = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            picture = read(path)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            continue
        if picture.luminance.size < 1e6:
            read_again += 1
            written(target, picture)
            assert Image.open(target).size == picture.luminance.shape[::-1]
    assert read_again or suffix in (".png", "16.png", ".webp"), "checksums may refuse all"


def test_what_a_format_cannot_hold_is_told(tmp_path):
    image = draw(0)
    image.putalpha(128)
    image.save(tmp_path / "clear.png")
    with pytest.raises(ImageError, match=r"out.jpg: JPEG holds no transparency; name a .png, .tif or .webp file"):
        written(tmp_path / "out.jpg", read(tmp_path / "clear.png"))
    image.putalpha(255)
    image.save(tmp_path / "opaque.png")
    written(tmp_path / "out.jpg", read(tmp_path / "opaque.png"))
    Image.fromarray(grey(np.uint16)).save(tmp_path / "deep.png")
    _, notes = written(tmp_path / "out.bmp", read(tmp_path / "deep.png"))
    assert notes == ["BMP holds 8 bits a channel, fewer than the input had",
                     "BMP holds no metadata: nothing in it says that the colors are estimated"]
    Image.new("L", (17_000, 1)).save(tmp_path / "wide.png")
    with pytest.raises(ImageError, match=r"out.webp: WEBP cannot hold this picture \("):
        written(tmp_path / "out.webp", read(tmp_path / "wide.png"))


def test_only_the_first_frame_is_used_and_told(tmp_path):
    frames = [Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (10, 200)]
    for name in ("in.gif", "in.png", "in.tif", "in.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        picture = read(tmp_path / name)
        assert picture.notes == [pages.only(1, 2)] and picture.luminance.mean() < 0.1


@pytest.mark.parametrize("failing", ["write", "replace"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, failing):
    Image.fromarray(grey()).save(tmp_path / "in.png")
    picture = read(tmp_path / "in.png")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "out.tif").write_bytes(b"what was there")
    monkeypatch.setattr(os, "fsync" if failing == "write" else "replace", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "out.tif", picture)
    assert set(os.listdir(tmp_path)) == {"in.png", "out.tif"}
    assert (tmp_path / "out.tif").read_bytes() == b"what was there"
