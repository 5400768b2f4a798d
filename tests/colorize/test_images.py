"""Picture files in and out: luminance, depth, alpha, orientation, color profile."""

import io
import os

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from ltbc.colorize import images, png, tags
from ltbc.colorize.images import read
from tests.tools.drawn import draw
from tests.tools.picture_files import WEIGHTS, grey, luminance, profile_of, srgb, written

SAVED = {
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ".tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F"),
    ".webp": ("RGB", "RGBA"), ".bmp": ("1", "L", "P", "RGB"), ".gif": ("L", "P"), ".jpg": ("L", "RGB", "CMYK", "YCbCr"),
}


def in_mode(mode):
    """A drawn picture in that mode."""
    image = draw(1, 23, 17)
    brightness = np.asarray(image.convert("L"))
    if mode in ("I;16", "F"):
        return Image.fromarray(brightness.astype(np.uint16) * 257 if mode == "I;16" else brightness / np.float32(255))
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


@pytest.mark.parametrize("suffix, mode", [(suffix, mode) for suffix, modes in SAVED.items() for mode in modes])
def test_every_mode_of_every_format_is_read_with_its_luminance(tmp_path, suffix, mode):
    path = tmp_path / f"picture{suffix}"
    options = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}
    in_mode(mode).save(path, **options.get(suffix, {}))
    reopened = Image.open(path)
    shown = reopened if mode in ("I;16", "F") else reopened.convert("RGB")
    codes = np.asarray(shown) / (65535 if mode == "I;16" else 1 if mode == "F" else 255)
    picture = read(path)
    assert np.abs(picture.luminance - luminance(codes)).max() < 1e-6
    assert (picture.alpha is not None) == ("A" in mode)
    assert picture.dtype == {"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)


@pytest.mark.parametrize("suffix", images.WRITE)
def test_what_is_written_is_what_was_colored(tmp_path, suffix):
    Image.fromarray(grey()).save(tmp_path / "grey.png")
    picture = read(tmp_path / "grey.png")
    target = tmp_path / f"colored{suffix}"
    pixels, notes = written(target, picture)
    stored = np.asarray(Image.open(target))
    if target.suffix in (".jpg", ".jpeg"):
        assert np.abs(stored - pixels.astype(int)).mean() < 4
        assert notes[0].startswith("JPEG is lossy: luminance changed by up to ")
    else:
        assert np.array_equal(stored, pixels)
    assert set(os.listdir(tmp_path)) == {"grey.png", target.name}


@pytest.mark.parametrize("suffix, loads", [(".png", lambda path: imagecodecs.png_decode(path.read_bytes())),
                                           (".tif", tifffile.imread)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_stay_sixteen_bits_and_alpha_alpha(tmp_path, suffix, loads, channels):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 65536, (13, 300, channels), dtype=np.uint16)
    source, target = tmp_path / f"deep{suffix}", tmp_path / f"colored{suffix}"
    if suffix == ".png":
        source.write_bytes(imagecodecs.png_encode(codes.squeeze()))
    else:
        options = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
        options |= {"planarconfig": "contig"} if channels > 1 else {}
        tifffile.imwrite(source, codes.squeeze(), photometric="rgb" if channels > 2 else "minisblack", **options)
    picture = read(source)
    colors = codes[..., :3] if channels > 2 else codes[..., 0]
    assert np.abs(picture.luminance - luminance(colors / 65535)).max() * 65535 < 0.01
    pixels, notes = written(target, picture)
    stored = loads(target)
    assert stored.dtype == np.uint16 and np.array_equal(stored[..., :3], pixels) and not notes
    if channels in (2, 4):
        assert np.array_equal(stored[..., 3], codes[..., -1])
    Image.open(target).load()  # other readers like it, too


TIFFS = {
    "planar": dict(data=np.uint16, photometric="rgb", planarconfig="separate"),
    "lzw": dict(data=np.uint16, photometric="rgb", compression="lzw", predictor=True),
    "big endian": dict(data=np.uint16, photometric="rgb", byteorder=">"),
    "bigtiff": dict(data=np.uint16, photometric="rgb", bigtiff=True),
    "tiles": dict(data=np.uint16, photometric="rgb", tile=(16, 16)),
    "white is zero": dict(data=np.uint16, photometric="miniswhite"),
    "float": dict(data=np.float32, photometric="minisblack"),
    "float color": dict(data=np.float32, photometric="rgb"),
    "half floats": dict(data=np.float16, photometric="rgb"),
    "floats to 255": dict(data=np.float32, photometric="minisblack", white=255),
    "ink": dict(data=np.uint16, photometric="separated"),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_kinds_of_deep_tiff(tmp_path, kind):
    options = dict(TIFFS[kind])
    dtype, white = np.dtype(options.pop("data")), options.pop("white", 1)
    samples = {"rgb": 3, "separated": 4}.get(options["photometric"], 1)
    codes = np.random.default_rng(0).random((33, 35, samples))
    data = codes * (65535 if dtype.kind == "u" else white)
    data = data.astype(dtype)
    codes = data.astype(np.float64) / (65535 if dtype.kind == "u" else white)
    stored = np.moveaxis(data, -1, 0) if options.get("planarconfig") == "separate" else data.squeeze()
    tifffile.imwrite(tmp_path / "in.tif", stored, **options)
    ink = codes[..., -1:]
    colors = {"miniswhite": 1 - codes[..., 0], "minisblack": codes[..., 0], "rgb": codes,
              "separated": (1 - codes[..., :3]) * (1 - ink)}
    want = luminance(colors[options["photometric"]])
    picture = read(tmp_path / "in.tif")
    assert np.abs(picture.luminance - want).max() < 1e-6
    pixels, _ = written(tmp_path / "out.tif", picture)
    back = tifffile.imread(tmp_path / "out.tif")
    assert back.dtype == (np.uint16 if dtype.kind == "u" else np.float32) and np.array_equal(back, pixels)
    assert back.max() > 0.9 * (65535 if dtype.kind == "u" else white)


def test_a_transparent_color_becomes_alpha(tmp_path):
    Image.fromarray(grey(np.uint8)).save(tmp_path / "a.png", transparency=0)
    Image.fromarray(grey(np.uint16)).save(tmp_path / "b.png", transparency=65535)
    Image.fromarray(grey()).convert("P").save(tmp_path / "c.gif", transparency=0)
    for name, value in (("a.png", 0), ("b.png", 65535), ("c.gif", 0)):
        shown = grey(np.uint16 if name == "b.png" else np.uint8)
        assert np.array_equal(read(tmp_path / name).alpha == 0, shown == value), name


# orientation, profile, metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", "16.png", "16.tif"])
def test_orientation_is_applied_once_and_reset(tmp_path, suffix, orientation):
    path, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    image = Image.fromarray(grey(np.uint16 if "16" in suffix else np.uint8, 16, 24))
    exif = Image.Exif()
    exif[0x112] = orientation
    exif.get_ifd(tags.EXIF).update({0xA002: 24, 0xA003: 16})
    image.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    from_memory = io.BytesIO(path.read_bytes())  # from a path, Pillow 13 maps such a TIFF with sides exchanged
    turned = ImageOps.exif_transpose(Image.open(from_memory)).convert("L" if "16" not in suffix else "I")
    picture = read(path)
    assert np.abs(picture.luminance * image_white(suffix) - np.asarray(turned)).max() < 0.01
    written(target, picture)
    colored = Image.open(target)
    assert colored.size == turned.size and colored.getexif().get(0x112, 1) == 1
    colored.load()
    assert colored.size == turned.size
    if suffix == ".jpg":
        assert colored.getexif().get_ifd(tags.EXIF)[0xA002] == turned.width


def image_white(suffix):
    return 65535 if "16" in suffix else 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_profile_is_applied(tmp_path, dtype):
    codes, white = grey(dtype), np.iinfo(dtype).max
    Image.fromarray(codes).save(tmp_path / "in.png", icc_profile=profile_of("gray", gamma=1.8))
    picture = read(tmp_path / "in.png")
    assert np.abs(picture.luminance - srgb((codes / white) ** 1.8)).max() < 2e-4
    written(tmp_path / "out.png", picture)
    profile = Image.open(tmp_path / "out.png").info["icc_profile"]
    assert profile[16:20] == b"RGB " and b"s\0R\0G\0B" in profile


@pytest.mark.parametrize("suffix", [".png", ".tif", "16.png", "16.tif"])
def test_a_color_profile_is_applied_in_floats(tmp_path, suffix):
    """Muted colors of linear light, in the primaries of sRGB: their luminance is the profile's."""
    primaries, white = [0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1], [0.3127, 0.3290, 1]
    profile = profile_of("rgb", whitepoint=white, primaries=primaries, gamma=1.0)
    top = image_white(suffix)
    codes = np.rint(np.random.default_rng(0).uniform(0.3, 0.6, (20, 20, 3)) * top).astype(f"u{1 + (top > 255)}")
    path = tmp_path / f"in{suffix}"
    if top > 255:
        small = io.BytesIO()
        Image.new("RGB", (1, 1)).save(small, "PNG", icc_profile=profile)
        with open(path, "wb") as file:
            png.write(file, codes, png.between(small.getvalue()))
        if suffix == "16.tif":
            tifffile.imwrite(path, codes, photometric="rgb", iccprofile=profile)
    else:
        Image.fromarray(codes).save(path, icc_profile=profile)
    picture = read(path)
    assert not picture.notes and picture.metadata.profile
    assert np.abs(picture.luminance - srgb(codes / top @ WEIGHTS)).max() < 3e-4
    written(tmp_path / f"out{suffix}", picture)
    assert Image.open(tmp_path / f"out{suffix}").info["icc_profile"][16:20] == b"RGB "


def test_a_profile_that_does_not_fit_is_ignored_and_told(tmp_path):
    for profile in (b"nonsense" * 40, profile_of("gray", gamma=1.8)):
        draw(0).save(tmp_path / "in.png", icc_profile=profile)
        picture = read(tmp_path / "in.png")
        assert picture.notes == ["its color profile does not fit or is damaged, and was ignored"]
        assert np.abs(picture.luminance - luminance(np.asarray(draw(0)) / 255)).max() < 1e-6
    Image.fromarray(grey()).save(tmp_path / "in.png", icc_profile=profile_of("srgb"))  # grey in an RGB profile fits
    assert not (picture := read(tmp_path / "in.png")).notes
    assert np.abs(picture.luminance - grey() / 255).max() < 1e-3
