"""TIFF beyond one strip of 8 or 16 bits: many strips, odd depths, each kind of alpha, ink with a profile."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from ltbc.colorize import deep
from ltbc.colorize.images import read
from ltbc.colorize.picture import ImageError
from tests.tools.picture_files import WEIGHTS, grey, luminance, profile_of, srgb, write_tiff, written


def noise(height, width, samples, dtype=np.uint8):
    values = np.random.default_rng(height).random((height, width, samples))
    return (values * np.iinfo(dtype).max).astype(dtype) if np.dtype(dtype).kind == "u" else values.astype(dtype)


# strips


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("strip", [1, 700, 2000])  # bytes: a row each; some rows, the last strip shorter
def test_strips_make_up_the_picture(tmp_path, monkeypatch, strip, order, dtype, samples):
    monkeypatch.setattr(deep, "STRIP", strip)
    pixels, path = noise(23, 31, samples, dtype), tmp_path / "out.tif"
    write_tiff(path, pixels, {}, order)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert len(page.dataoffsets) == -(-23 // page.rowsperstrip) > 1
        assert page.rowsperstrip == max(1, strip // pixels[0].nbytes)
        assert np.array_equal(page.asarray(), pixels)
    if dtype == np.uint8:  # Pillow reads no others in color
        assert np.array_equal(np.asarray(Image.open(path)), pixels)
    again = read(path)
    white = {1: 255, 2: 65535, 4: 1}[pixels.dtype.itemsize]
    assert np.abs(again.luminance - luminance(pixels[..., :3] / white)).max() < 1e-6


def test_a_picture_of_more_than_a_strip_is_read_as_it_was_written(tmp_path):
    """At the strip's true size, through the whole program's reader and writer."""
    Image.fromarray(grey(np.uint8, 700, 1000)).save(tmp_path / "in.png")
    pixels, _ = written(tmp_path / "out.tif", read(tmp_path / "in.png"))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert len(file.pages.first.dataoffsets) == 3, "2.1 MB in strips of 1 MiB"
        assert np.array_equal(file.asarray(), pixels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.tif")), pixels)


# depths


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb", "rgb with alpha"])
def test_white_is_the_largest_code_of_the_bits(tmp_path, bits, photometric):
    white, path = (1 << bits) - 1, tmp_path / "in.tif"
    samples = {"rgb": 3, "rgb with alpha": 4}.get(photometric, 1)
    codes = np.rint(np.random.default_rng(bits).random((17, 19, samples)) * white).astype(np.uint16)
    codes[0], codes[1] = 0, white
    options = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    tifffile.imwrite(path, codes.squeeze(), photometric=photometric.split()[0], bitspersample=bits, **options,
                     planarconfig="contig" if samples > 1 else None)
    picture = read(path)
    colors = codes[..., :3] if samples > 1 else codes[..., 0]
    want = luminance((white - colors if photometric == "miniswhite" else colors) / white)
    assert np.abs(picture.luminance - want).max() < 1e-6
    assert np.ptp(picture.luminance) == 1, "black and white"
    assert (picture.dtype, picture.white) == (np.uint16, 65535)
    if samples == 4:
        assert np.abs(picture.alpha - codes[..., 3] / white).max() < 1e-6
        pixels, _ = written(tmp_path / "out.tif", picture)
        stored = tifffile.imread(tmp_path / "out.tif")
        assert np.array_equal(stored[..., 3], np.rint(codes[..., 3] / white * 65535))


def test_whole_numbers_of_32_bits_count_to_65535(tmp_path):
    codes = np.linspace(0, 65535, 126).reshape(9, 14).astype(np.uint32)
    tifffile.imwrite(tmp_path / "in.tif", codes, photometric="minisblack")
    assert np.abs(read(tmp_path / "in.tif").luminance - codes / 65535).max() < 1e-6
    tifffile.imwrite(tmp_path / "in.tif", codes.astype(np.uint32) * 65537, photometric="minisblack")
    picture = read(tmp_path / "in.tif")
    assert np.abs(picture.luminance - codes / 65535).max() < 1e-6 and picture.dtype == np.uint16
    assert picture.notes == ["whole numbers from 0 to 4.29497e+09: white is 4.29497e+09, by most of them"]
    tifffile.imwrite(tmp_path / "in.tif", codes * 3, photometric="minisblack")
    with pytest.raises(ImageError, match="whole numbers from 0 to 196605: which of them is white cannot be told"):
        read(tmp_path / "in.tif")


# alpha


def stored_with_alpha(kind, colors, alpha, white):
    """What a file of that kind of alpha holds of straight colors and alpha in [0, 1]."""
    colors = colors * alpha if kind == "assocalpha" else colors
    samples = np.concatenate([colors, alpha], -1) * white
    return samples.astype(np.float32) if white == 1 else np.rint(samples).astype(f"u{1 + (white > 255)}")


@pytest.mark.parametrize("kind", ["unspecified", "assocalpha", "unassalpha"])
@pytest.mark.parametrize("white", [255, 65535, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_kind_of_alpha(tmp_path, kind, white, channels):
    """Premultiplied colors are divided by their alpha; an extra sample that nobody calls alpha is none."""
    rng = np.random.default_rng(0)
    colors, alpha = rng.random((20, 30, channels)), rng.uniform(0.5, 1, (20, 30, 1))
    alpha[:5] = 1
    data = stored_with_alpha(kind, colors, alpha, white)
    tifffile.imwrite(tmp_path / "in.tif", data, photometric="rgb" if channels == 3 else "minisblack",
                     planarconfig="contig", extrasamples=[kind])
    picture = read(tmp_path / "in.tif")
    assert (picture.alpha is None) == (kind == "unspecified")
    want = luminance(colors[..., 0] if channels == 1 else colors)
    assert np.abs(picture.luminance - want).max() < (1e-6 if white == 1 else 3 / white)  # the quotient of two codes
    if kind != "unspecified":
        assert np.abs(picture.alpha - alpha[..., 0]).max() < (1e-6 if white == 1 else 0.51 / white)
        pixels, _ = written(tmp_path / "out.tif", picture)
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            assert file.pages.first.extrasamples == (deep.ALPHA,), "what is written is not premultiplied"
            assert np.array_equal(file.asarray()[..., :3], pixels)
    else:
        assert written(tmp_path / "out.tif", picture)[0].shape == tifffile.imread(tmp_path / "out.tif").shape


# profiles


INKS = np.array([20, 10, 8, 62])  # what each takes from L*


def ink_profile():
    """An ICC profile of CMYK whose L* is 100 minus the inks times INKS, a* = b* = 0; all inks together are black.

    ICC.1:2001-04, section 6.5.9: a table of 2 values an ink, which interpolates what is linear exactly.
    """
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *np.eye(3, dtype=int).ravel() * 65536)
    table += struct.pack(">HH", 2, 2) + struct.pack(">HH", 0, 65535) * 4
    for inks in np.ndindex(2, 2, 2, 2):
        lightness = 100 - np.dot(inks, INKS)
        table += struct.pack(">3H", round(lightness / 100 * 0xFF00), 0x8000, 0x8000)
    table += struct.pack(">HH", 0, 65535) * 3
    text = b"text" + bytes(4) + b"none\0\0\0\0"
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    described = b"desc" + bytes(4) + struct.pack(">I", 4) + b"ink\0" + bytes(78 + 2)
    found, at = b"", 128 + 4 + 12 * 4
    for data, name in ((described, b"desc"), (text, b"cprt"), (white, b"wtpt"), (table, b"A2B0")):
        found += name + struct.pack(">II", at, len(data))
        at += len(data) + -len(data) % 4
    body = b"".join(data + bytes(-len(data) % 4) for data in (described, text, white, table))
    header = struct.pack(">I4sI4s4s4s", at, b"lcms", 0x02100000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 4) + found + body


@pytest.mark.parametrize("name", ["in.jpg", "in.tif", "deep.tif"])
def test_ink_goes_through_its_profile(tmp_path, name):
    white, path = 65535 if name == "deep.tif" else 255, tmp_path / name
    inks = np.random.default_rng(0).random((6, 7, 4)).repeat(8, 0).repeat(8, 1)  # a JPEG's blocks
    codes = np.rint(inks * white).astype(np.uint8 if white == 255 else np.uint16)
    if white == 255:
        Image.fromarray(codes, "CMYK").save(path, icc_profile=ink_profile(), quality=100, subsampling=0)
        codes = np.asarray(Image.open(path))
    else:
        tifffile.imwrite(path, codes, photometric="separated", iccprofile=ink_profile())
    lightness = 100 - codes / white @ INKS
    want = srgb(np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3))
    picture = read(path)
    assert not picture.notes
    assert np.abs(picture.luminance - want).max() < 1e-3
    pixels, _ = written(tmp_path / "out.png", picture)
    again = Image.open(tmp_path / "out.png")
    assert again.info["icc_profile"][16:20] == b"RGB " and again.mode == "RGB"


def test_colors_that_srgb_lacks_are_cut_off(tmp_path):
    """The primaries of BT.2020 lie outside of sRGB's: what a viewer shows of each is that of sRGB."""
    wide = profile_of("rgb", whitepoint=[0.3127, 0.3290, 1], gamma=1.0,
                      primaries=[0.708, 0.292, 1, 0.17, 0.797, 1, 0.131, 0.046, 1])
    tifffile.imwrite(tmp_path / "in.tif", np.eye(3, dtype=np.float32)[None], photometric="rgb", iccprofile=wide)
    assert np.abs(read(tmp_path / "in.tif").luminance[0] - srgb(WEIGHTS)).max() < 2e-3
