"""What stands beside the pixels is kept, and says that the colors are estimated."""

import struct
import time

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from ltbc.colorize import images, metadata, tags, xmp
from ltbc.colorize.images import read, write
from tests.tools.drawn import draw
from tests.tools.picture_files import PLACE, WEIGHTS, color_of, grey, profile_of, rich_exif, srgb, write_tiff, written


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif", "16.tif"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", "16.png"])
def test_metadata_is_kept_and_says_that_the_colors_are_estimated(tmp_path, source, suffix):
    path, target = tmp_path / f"in{source}", tmp_path / f"out{suffix.removeprefix('16')}"
    image = Image.fromarray(grey())
    if source.endswith(".tif"):
        order, directory = tags.from_exif_block(rich_exif().tobytes())
        directory[282] = tags.numbers(tags.RATIONAL, order, 300, 1)
        pixels = grey(np.uint16 if "16" in source else np.uint8)[..., None].repeat(3, 2)
        write_tiff(path, pixels, directory, order)
    else:
        image.save(path, exif=rich_exif(), **({} if source == ".webp" else {"dpi": (300, 300)}))
    picture = read(path)
    if suffix == "16.png":
        picture.dtype, picture.white = np.dtype(np.uint16), 65535
    _, notes = written(target, picture)
    colored = Image.open(target)
    colored.load()
    exif = colored.getexif()
    assert exif[0x10E] == f"{metadata.STATEMENT}; Harbor, 1911" and exif[0x8298] == "public domain"
    assert exif[0x13B] == "José"
    inner, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert inner[0x9003] == "1911:05:01 10:00:00" and inner[0x927C] == b"maker\0note" * 9 and gps[1] == "N"
    assert xmp.ENHANCED.encode() in metadata.xmp_of(colored.info)
    if source != ".webp" and suffix != ".webp":
        assert round(float(colored.info["dpi"][0])) == 300
    write(target, color_of(target, again := read(target)), again)
    assert Image.open(target).getexif()[0x10E] == exif[0x10E], "stated once, however often"


@pytest.mark.parametrize("source", [".jpg", ".png", ".bmp", ".tif", "16.tif", "cm.tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".bmp", ".tif", "16.png", "16.tif"])
def test_resolution_is_kept_across_and_down(tmp_path, source, target):
    """Dots an inch, another number each way, one of them no whole number."""
    path, dpi = tmp_path / f"in{source}", (300, 150) if source == ".jpg" else (299.72, 151.13)
    if source in ("16.tif", "cm.tif"):
        unit, scale = (3, 2.54) if source == "cm.tif" else (2, 1)
        tifffile.imwrite(path, grey(np.uint16 if "16" in source else np.uint8), photometric="minisblack",
                         resolution=(dpi[0] / scale, dpi[1] / scale), resolutionunit=unit)
    else:
        Image.fromarray(grey()).save(path, dpi=dpi)
    picture = read(path)
    if target.startswith("16"):
        picture.dtype, picture.white = np.dtype(np.uint16), 65535
    out = tmp_path / f"out{target}"
    written(out, picture)
    whole = 0.51 if ".jpg" in (source, target) else 0.02  # PNG and BMP count dots a meter, JPEG whole ones an inch
    assert np.allclose([float(x) for x in Image.open(out).info["dpi"]], dpi, atol=whole)
    if target.endswith("tif"):
        with tifffile.TiffFile(out) as file:
            page = file.pages.first
            assert np.allclose(page.get_resolution("inch"), dpi, atol=whole)
            assert page.tags[296].value == (3 if source == "cm.tif" else 2), "a TIFF's own unit stays"


def test_exif_of_older_png_files_is_kept(tmp_path):
    """As ImageMagick writes it: a text of hexadecimal digits, with a name and a length before them."""
    block, info = rich_exif().tobytes(), PngImagePlugin.PngInfo()
    digits = block.hex()
    lines = "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{lines}\n", zip=True)
    Image.fromarray(grey()).save(tmp_path / "in.png", pnginfo=info)
    picture = read(tmp_path / "in.png")
    for name in ("out.png", "out.jpg"):
        written(tmp_path / name, picture)
        colored = Image.open(tmp_path / name)
        assert colored.getexif()[0x8298] == "public domain" and not picture.notes
        assert colored.getexif().get_ifd(ExifTags.IFD.Exif)[0x927C] == b"maker\0note" * 9
        assert not any(key.startswith("Raw profile") for key in getattr(colored, "text", {})), "said once"


def test_a_tiff_that_pillow_does_not_know_keeps_profile_and_xmp(tmp_path):
    """Floats in color: its directory is all that is read of it."""
    packet = xmp.EMPTY.replace(b"></rdf", PLACE + b'dc:rights="none"/></rdf')
    linear = profile_of("rgb", whitepoint=[0.3127, 0.3290, 1], primaries=[0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1],
                        gamma=1.0)
    pixels = np.random.default_rng(0).uniform(0.3, 0.6, (9, 14, 3)).astype(np.float32)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", iccprofile=linear, description="Harbor",
                     metadata=None, extratags=[(700, 1, len(packet), packet, True)])
    picture = read(tmp_path / "in.tif")
    assert np.abs(picture.luminance - srgb(pixels @ WEIGHTS)).max() < 3e-4 and not picture.notes
    for name in ("out.tif", "out.png"):
        written(tmp_path / name, picture)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.pages.first.tags
        assert found[700].value.count(b'dc:rights="none"') == found[700].value.count(xmp.ENHANCED.encode()) == 1
        assert found[34675].value[16:20] == b"RGB " and found[270].value.endswith("; Harbor")
    colored = Image.open(tmp_path / "out.png")
    assert 'dc:rights="none"' in colored.text["XML:com.adobe.xmp"] and colored.info["icc_profile"][16:20] == b"RGB "


def test_size_and_color_space_stated_in_exif_are_the_new_ones(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    exif.get_ifd(tags.EXIF).update({0xA001: 0xFFFF, 0xA002: 14, 0xA003: 9})
    Image.fromarray(grey()).save(tmp_path / "in.jpg", exif=exif)
    written(tmp_path / "out.jpg", read(tmp_path / "in.jpg"))
    inner = Image.open(tmp_path / "out.jpg").getexif().get_ifd(tags.EXIF)
    assert dict(inner) == {0xA001: 1, 0xA002: 9, 0xA003: 14}, "sRGB, upright"


def test_a_statement_behind_other_words_is_not_made_again(tmp_path):
    exif = Image.Exif()
    exif[0x10E] = f"Harbor; {metadata.STATEMENT}"
    Image.fromarray(grey()).save(tmp_path / "in.png", exif=exif)
    written(tmp_path / "out.png", read(tmp_path / "in.png"))
    assert Image.open(tmp_path / "out.png").getexif()[0x10E] == exif[0x10E]


def test_png_texts_comments_and_xmp_are_kept(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Zoë, 東京")
    packet = xmp.EMPTY.replace(b"></rdf", PLACE + b'tiff:Orientation="6" dc:rights="none"/></rdf')
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    Image.fromarray(grey()).save(tmp_path / "in.png", pnginfo=info)
    written(tmp_path / "out.png", read(tmp_path / "in.png"))
    text = Image.open(tmp_path / "out.png").text
    assert text["Author"] == "Zoë, 東京" and text["Warning"] == metadata.STATEMENT
    said = text["XML:com.adobe.xmp"]
    assert 'dc:rights="none"' in said and xmp.ENHANCED in said and "Orientation" not in said
    draw(0).save(tmp_path / "in.jpg", comment="seen at noon")
    for name in ("out.png", "out.jpg"):
        written(tmp_path / name, read(tmp_path / "in.jpg"))
        again = Image.open(tmp_path / name)
        assert again.info.get("comment", again.info.get("Comment")) in (b"seen at noon", "seen at noon")


def test_damaged_exif_does_not_stop_the_picture(tmp_path):
    far, endless = tags.header("<", 0xFFFFFFFF), tags.header("<", 8) + b"\xff\xff" + b"\x12" * 99
    loop = tags.header("<", 8) + struct.pack("<HHHII", 1, tags.EXIF, tags.LONG, 1, 8) + bytes(4)
    for block in (far, endless, loop, b"nonsense", rich_exif().tobytes()[6:90]):
        Image.fromarray(grey()).save(tmp_path / "in.jpg", exif=b"Exif\0\0" + block)
        written(tmp_path / "out.png", read(tmp_path / "in.jpg"))
        assert metadata.STATEMENT in Image.open(tmp_path / "out.png").getexif()[0x10E]


def test_exif_too_long_for_jpeg_is_shortened_and_told(tmp_path):
    exif = rich_exif()
    exif.get_ifd(tags.EXIF)[0x927C] = bytes(70_000)
    Image.fromarray(grey()).save(tmp_path / "in.png", exif=exif)
    _, notes = written(tmp_path / "out.jpg", read(tmp_path / "in.png"))
    assert any("too long for JPEG" in note for note in notes)
    assert Image.open(tmp_path / "out.jpg").getexif().get_ifd(tags.EXIF)[0x9003] == "1911:05:01 10:00:00"


def test_the_same_picture_gives_the_same_file(tmp_path):
    Image.fromarray(grey()).save(tmp_path / "in.png", icc_profile=profile_of("srgb"), exif=rich_exif())
    for name in ("a", "b"):
        for suffix in images.WRITE:
            written(tmp_path / f"{name}{suffix}", read(tmp_path / "in.png"))
        time.sleep(1.1)  # files tell times in seconds
    for suffix in images.WRITE:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
