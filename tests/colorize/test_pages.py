"""TIFF files of several directories, BigTIFF, floats of any scale, cut-off JPEG: the photograph, or a line."""

import re
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from ltbc.colorize import images, tags
from ltbc.colorize.errors import How, ImageError
from ltbc.colorize.images import read
from ltbc.colorize.scale import scaled
from tests.tools import colorize_call
from tests.tools.drawn import draw
from tests.tools.picture_files import color_of, grey, written

call, weights = colorize_call.call, colorize_call.weights  # fixtures
BIG, SMALL = grey(np.uint8, 32, 48), grey(np.uint8, 8, 12)


def pages_of(path, *pages, **options):
    """A TIFF file of (pixels, options of tifffile) each."""
    with tifffile.TiffWriter(path, **options) as file:
        for pixels, about in pages:
            file.write(pixels, metadata=None, **about)
    return path


# which page


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_the_full_picture_is_colored_and_not_its_preview(tmp_path, dtype, big, order):
    full, small = grey(dtype, 32, 48), grey(dtype, 8, 12)
    for name, pages in {
        "first": [(small, {"subfiletype": 1}), (full, {})],
        "below": [(small, {"subfiletype": 1, "subifds": 1}), (full, {})],
        "unmarked": [(small, {"subifds": 1}), (full, {})],
        "old": [(small, {"extratags": [(255, 3, 1, 2, True)]}), (full, {})],
    }.items():
        path = pages_of(tmp_path / f"{name}.tif", *pages, bigtiff=big, byteorder=order)
        picture = read(path)
        assert np.allclose(picture.luminance, full / np.iinfo(dtype).max) and picture.dtype == dtype, name
        assert len(picture.notes) == 1 and "first page" in picture.notes[0], name
        assert np.allclose(read(path, How(page=1)).luminance, small / np.iinfo(dtype).max), name
    kept = pages_of(tmp_path / "pyramid.tif", (full, {"subifds": 1}), (small, {"subfiletype": 1}))
    assert read(kept).luminance.shape == full.shape and not read(kept).notes
    alone = pages_of(tmp_path / "alone.tif", (small, {"subfiletype": 1}))
    assert read(alone, How(page=1)).notes == ["page 1 is marked as a reduced copy"]
    assert read(alone).notes == ["its only picture is marked as a reduced copy"]


def raw(path, below):
    sensor = {"photometric": "cfa", "extratags": [(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)]}
    pages_of(path, (SMALL, {"subfiletype": 1, **({"subifds": 1} if below else {})}), (grey(np.uint16), sensor))


def test_raw_files_are_named_as_such(tmp_path):
    dng, cr2, raf = (tmp_path / name for name in ("a.tif", "b.tif", "c.jpg"))
    pages_of(dng, (SMALL, {"extratags": [(50706, 1, 4, b"\1\4\0\0", True)]}))
    cr2.write_bytes(b"II*\0" + struct.pack("<I", 16) + b"CR\2\0" + bytes(20))
    raf.write_bytes(b"FUJIFILMCCD-RAW 0201")
    raw(tmp_path / "d.tif", True)
    raw(tmp_path / "e.tif", False)
    Image.fromarray(SMALL).save(tmp_path / "f.png")
    (tmp_path / "f.png").rename(tmp_path / "f.nef")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ImageError, match=f"{path.name}: raw file of a camera; develop it first"):
            read(path)


def several(path):
    """A good page, a mask, floats, a kind that is not read, and a page larger than the first."""
    return pages_of(
        path, (BIG, {}), (BIG > 128, {"photometric": "mask", "subfiletype": 4}),
        ((BIG / 255).astype(np.float16), {}), (np.zeros((9, 9, 3), np.uint16), {"photometric": "cielab"}),
        (np.dstack([BIG] * 3), {"photometric": "rgb", "compression": "jpeg2000"}), (grey(np.uint8, 64, 96), {}),
    )


def test_later_pages_do_not_stop_the_first(tmp_path):
    path = several(tmp_path / "in.tif")
    picture = read(path)
    assert np.allclose(picture.luminance, BIG / 255)
    assert picture.notes == ["only the first of its 5 pages is used (--page N takes another, --pages all each)",
                             "page 6 is larger, 96 x 64 pixels"]
    assert read(path, How(page=3)).dtype == np.float32 and read(path, How(page=6)).luminance.shape == (64, 96)
    with pytest.raises(ImageError, match="in.tif: has no page 7; there are 6"):
        read(path, How(page=7))
    assert images.pages(path) == [1, 3, 4, 5, 6]


def test_all_pages_become_one_file(call, tmp_path):
    several("in.tif")
    code, out, _ = call("in.tif", "--out", "out/", "--pages", "all")
    assert code == 0 and out.count(" -> ") == 4 and "note: page 4 was left out: this kind of TIFF" in out
    with tifffile.TiffFile("out/in.tif") as file:
        assert [page.shape for page in file.pages] == [(32, 48, 3)] * 3 + [(64, 96, 3)]
        assert [page.dtype for page in file.pages] == [np.uint8, np.float32, np.uint8, np.uint8]
    assert np.abs(read("out/in.tif", How(page=4)).luminance - grey(np.uint8, 64, 96) / 255).max() * 255 < 0.65
    frames = [Image.fromarray(np.full((20, 24), value, np.uint8)) for value in (60, 120, 200)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    assert call("a.gif", "--out", "a.tif", "--pages", "all")[0] == 0
    assert [round(read("a.tif", How(page=i)).luminance.mean() * 255) for i in (1, 2, 3)] == [60, 120, 200]
    assert call("a.gif", "--out", "b.png", "--page", "2")[0] == 0 and round(read("b.png").luminance.mean() * 255) == 120
    code, _, err = call("a.gif", "--out", "b.jpg", "--pages", "all")
    assert code == 1 and err == "colorize: b.jpg: --pages all needs a .tif file, which holds several\n"
    for wrong in (("--page", "1"), ("--preview",), ("--suffix", ".png")):
        with pytest.raises(SystemExit):
            call("a.gif", "--out", "out", "--pages", "all", *wrong)


# BigTIFF


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("order", "<>")
def test_bigtiff_is_upright_and_keeps_what_it_says(tmp_path, orientation, dtype, order):
    pixels = (BIG / 255 * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", pixels, bigtiff=True, byteorder=order, description="Harbor", metadata=None,
                     resolution=(300, 150), extratags=[(274, 3, 1, orientation, True), (0xC800, 16, 2, (5, 7), True),
                                                       (0xC801, 16, 1, 1 << 40, True)])
    picture = read(tmp_path / "in.tif")
    turned = {1: BIG, 3: BIG[::-1, ::-1], 6: BIG[::-1].T, 8: BIG.T[::-1]}[orientation]
    assert np.abs(picture.luminance - turned / 255).max() < 0.01 and not picture.notes
    written(tmp_path / "out.tif", picture)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found = file.pages.first.tags
        assert found[270].value.endswith("; Harbor") and 274 not in found and 0xC801 not in found
        assert (found[282].value, found[283].value, found[0xC800].value) == ((300, 1), (150, 1), (5, 7))


def test_directories_that_run_in_a_circle_end(tmp_path):
    first = struct.pack("<HHHII", 1, 256, 4, 1, 8) + struct.pack("<I", 8)
    (tmp_path / "in.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + first)
    with pytest.raises(ImageError):
        read(tmp_path / "in.tif")
    with open(tmp_path / "in.tif", "rb") as file:
        assert len(list(tags.Reader(file).chain((256,)))) == 1


# which value is white


def spread(low, high, out=()):
    """A thousand floats from low to high, and those."""
    values = np.linspace(low, high, 1000, dtype=np.float32)
    values[1 : 1 + len(out)] = out
    return values.reshape(20, 50, 1)


@pytest.mark.parametrize("values, stated, white, beyond", [
    (spread(0, 1), None, 1, 0), (spread(0, 1, [1.001]), None, 1, 1), (spread(0, 1, [1.9, -0.5]), None, 1, 2),
    (spread(-0.05, 1.08), None, 1, 116), (spread(0, 0.01), None, 1, 0), (spread(0, 255), None, 255, 0),
    (spread(3, 262), None, 255, 27), (spread(0, 20), None, 255, 0), (spread(0, 65535), None, 65535, 0),
    (spread(0, 65600), None, 65535, 1), (spread(0, 3), 255, 255, 0), (spread(0, 300), 65535, 65535, 0),
    (spread(0, 200), 1, 255, 0), (spread(0, 1), 0.7, 1, 0),
])
def test_white_is_told_by_evidence_and_overshoot_clipped(values, stated, white, beyond):
    colors, _, found, notes = scaled(values.copy(), None, stated, None)
    assert found == white and np.array_equal(colors, np.clip(values, 0, white))
    assert bool(notes) == bool(beyond or white != 1)
    if notes:
        assert f"white is {white}, " in notes[0]
        assert (f"{beyond:,} of 1,000 values lie beyond" in notes[0]) == bool(beyond)


@pytest.mark.parametrize("values, said", [
    (spread(0, 3), "from 0 to 3"), (spread(0, 1, [2.5]), "to 2.5"), (spread(0, 1, [1.5] * 11), "to 1.5"),
    (spread(-1, 1), "from -1 to 1"), (spread(0, 1000), "to 1000"), (spread(0, 1e9), "to 1e"),
    (spread(0, 1, [np.nan, np.inf]), "2 of its values are no finite numbers"),
])
def test_white_that_cannot_be_told_is_asked_for(tmp_path, values, said):
    tifffile.imwrite(tmp_path / "in.tif", values[..., 0])
    with pytest.raises(ImageError, match=rf"{said}.*say it with --white 1, 255 or 65535"):
        read(tmp_path / "in.tif")
    for white in (1, 255, 65535):
        picture = read(tmp_path / "in.tif", How(white=white))
        clipped = np.clip(np.nan_to_num(values[..., 0], nan=0), 0, white) / white
        assert picture.white == white and np.allclose(picture.luminance, clipped, atol=1e-6)
        assert "as --white says" in picture.notes[0]


def test_alpha_may_count_to_one_beside_colors_that_count_to_255(tmp_path):
    pixels = np.dstack([spread(0, 255)[..., 0]] * 3 + [np.full((20, 50), 0.5, np.float32)])
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    picture = read(tmp_path / "in.tif")
    assert picture.white == 255 and np.allclose(picture.alpha, 0.5)


def test_white_on_the_command_line(call):
    tifffile.imwrite("in.tif", spread(0, 3)[..., 0])
    assert call("in.tif", "--out", "out.tif")[0] == 1
    code, out, _ = call("in.tif", "--out", "out.tif", "--white", "255")
    assert code == 0 and re.search("note: floats from 0 to 3: white is 255, as --white says\n", out)
    assert read("out.tif", How(white=255)).luminance.max() * 255 < 3.01


# files that lack something


def test_a_jpeg_that_is_cut_off_is_used_as_far_as_it_is_there(call, tmp_path):
    draw(0, 160, 128).save("whole.jpg", quality=95)
    whole, pixels = open("whole.jpg", "rb").read(), read("whole.jpg").luminance
    half = len(whole) // 2
    for cut, words in ((2, "its last bytes are missing"), (half, r"the lower \d+ of its 128 rows are missing")):
        open("cut.jpg", "wb").write(whole[:-cut])
        picture = read("cut.jpg")
        assert re.match(f"cut off: {words}; what is there is used", picture.notes[0])
        lost = int(re.findall(r"\d+", picture.notes[0])[0]) if "rows" in words else 0
        assert np.array_equal(picture.luminance[: 128 - lost - 32], pixels[: 128 - lost - 32]) and lost < 90
        with pytest.raises(ImageError, match="cut.jpg: damaged or cut off"):
            read("cut.jpg", How(strict=True))
    assert call("cut.jpg", "--out", "a.png")[0] == 0
    assert call("cut.jpg", "--out", "b.png", "--strict")[0] == 1
    open("cut.jpg", "wb").write(whole[: whole.index(b"\xff\xda")])
    with pytest.raises(ImageError, match="cut.jpg: not a picture"):
        read("cut.jpg")


@pytest.mark.parametrize("compression", ["webp", "zstd", "lzma", "jpeg2000", "png"])
def test_compressions_that_pillow_lacks(tmp_path, compression):
    pixels = np.dstack([BIG] * 3)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", compression=compression,
                     compressionargs={"lossless": True} if compression == "webp" else None)
    picture = read(tmp_path / "in.tif")
    assert np.allclose(picture.luminance, BIG / 255) and not picture.notes
    assert color_of(tmp_path / "out.tif", picture).shape == pixels.shape
