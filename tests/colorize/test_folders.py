"""Folders as people have them: what is left alone is said; pictures of phones; photographs in color already."""

import io
from importlib.util import find_spec
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import decode
from ltbc.colorize.errors import ImageError
from ltbc.colorize.images import read
from ltbc.colorize.luminance import is_color
from tests import ROOT
from tests.tools import colorize_call
from tests.tools.colorize_call import files, photographs
from tests.tools.drawn import draw, lock_folder
from tests.tools.picture_files import grey, luminance

call, weights = colorize_call.call, colorize_call.weights  # fixtures
COW = ROOT / "train/photographs/held_out/field/cow.jpg"


def test_what_is_not_understood_is_said(call):
    photographs("in/a.png", "in/sub/b.png", "else/c.png")
    for name in ("in/film.psd", "in/scan.dng", "in/sub/notes.txt", "in/.hidden"):
        Path(name).write_bytes(b"8BPS")
    Path("in/nowhere.png").symlink_to("gone.png")
    Path("in/linked").symlink_to(Path("else").resolve())
    code, out, err = call("in", "--out", "out")
    assert (code, err) == (0, "") and files("out") == ["a.png", "sub/b.png"]
    assert out.splitlines()[0] == "5 other files left alone (--verbose names them)"
    code, out, _ = call("in", "--out", "out2", "--verbose")
    assert out.splitlines()[:6] == [
        "5 other files left alone", "  in/linked: linked folder", "  in/film.psd: no kind of picture that can be read",
        "  in/nowhere.png: dangling link", "  in/scan.dng: raw file of a camera",
        "  in/sub/notes.txt: no kind of picture that can be read"]
    assert call("in/*", "--out", "out3")[1].startswith("3 other files left alone")


def test_a_folder_that_cannot_be_read_is_a_failure(call, monkeypatch):
    photographs("in/a.png", "in/locked/b.png")
    lock_folder(monkeypatch, "locked")
    code, out, err = call("in", "--out", "out")
    assert code == 1 and err == "colorize: in/locked: folder cannot be read (Permission denied)\n"
    assert out.endswith("1 colored, 0 skipped, 1 failed\n")


AVIF = {"quality": 100, "subsampling": "4:4:4"}


@pytest.mark.parametrize("name, options", [("a.jp2", {}), ("a.j2k", {}), ("a.avif", AVIF)])
def test_pictures_of_newer_kinds(call, name, options):
    draw(0, 40, 32).save(name, **options)
    assert np.abs(read(name).luminance - luminance(np.asarray(Image.open(name).convert("RGB")) / 255)).max() < 1e-6
    assert call(".", "--out", "out")[0] == 0 and files("out") == ["a.png"]


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_jpeg_2000_stays_deep(tmp_path, bits, channels):
    codes = np.random.default_rng(0).integers(0, 1 << bits, (20, 24, channels), dtype=np.uint16)
    data = imagecodecs.jpeg2k_encode(codes.squeeze(), level=0, reversible=True, bitspersample=bits, codecformat="jp2")
    (tmp_path / "in.jp2").write_bytes(data)
    picture = read(tmp_path / "in.jp2")
    assert picture.dtype == np.uint16
    assert np.abs(picture.luminance - luminance(codes.squeeze() / ((1 << bits) - 1))).max() < 1e-6


@pytest.mark.skipif(not find_spec("pillow_heif"), reason="needs pillow-heif, which writes HEIC")
@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_upright(tmp_path, orientation):
    import pillow_heif

    pillow_heif.register_heif_opener()
    image, exif = Image.fromarray(grey(np.uint8, 64, 96)), Image.Exif()
    exif[0x112], exif[0x10E] = orientation, "Harbor"
    image.convert("RGB").save(tmp_path / "in.heic", quality=100, exif=exif.tobytes())
    picture = read(tmp_path / "in.heic")
    want = np.asarray(image) if orientation == 1 else np.rot90(np.asarray(image), -1)
    assert picture.luminance.shape == want.shape and np.abs(picture.luminance * 255 - want).max() < 8
    assert picture.metadata.exif[0x10E] == (2, b"Harbor\0") and not picture.notes


def test_heic_without_its_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    (tmp_path / "in.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    with pytest.raises(ImageError, match="in.heic: HEIC needs the package pi-heif: pip install"):
        read(tmp_path / "in.heic")


def toned(brightness):
    """A sepia print, fading to the right, as a JPEG keeps it."""
    g = brightness[..., None] / 255
    tone = np.concatenate([np.minimum(1.1 * g + 0.06, 1), 0.95 * g + 0.03, 0.75 * g + 0.02], -1)
    tone[..., 2] -= np.linspace(0, 0.1, g.shape[1]) * tone[..., 2]
    file = io.BytesIO()
    Image.fromarray((tone * 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


def test_color_photographs_are_known_and_toned_ones_not():
    colors = np.asarray(Image.open(COW))
    brightness = np.rint(luminance(colors / 255) * 255).astype(np.uint8)
    assert is_color(colors, 255) and is_color(colors.astype(np.uint16) * 257, 65535)
    assert not is_color(toned(brightness), 255) and not is_color(np.dstack([brightness] * 3), 255)
    assert not is_color(brightness[..., None], 255)


def test_color_photographs_are_said_and_skipped(call):
    Path("in").mkdir()
    cow = Image.open(COW)
    cow.thumbnail((48, 48))
    cow.save("in/color.png")
    cow.convert("L").save("in/grey.png")
    code, out, _ = call("in", "--out", "out")
    assert code == 0 and out.count("note: it is in color: its own colors were replaced") == 1
    code, out, _ = call("in", "--out", "out2", "--skip-color")
    assert code == 0 and files("out2") == ["grey.png"] and "in/color.png: skipped, it is a color photograph" in out
    assert out.endswith("1 colored, 1 skipped, 0 failed\n")
