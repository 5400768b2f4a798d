"""Pictures in: decoding, what is left out, what is remembered of a folder."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from ltbc.train import TrainError
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.photograph import PictureError, read, spread
from ltbc.train.pictures.scan import ahead
from ltbc.train.pictures.stream import make_batch, order
from tests.tools.drawn import draw, draw_folder

# decoding


SIZES = [((60, 90), (32, 48)), ((90, 60), (48, 32)), ((5, 8), (32, 51)), ((32, 32), (32, 32))]


@pytest.mark.parametrize("size, wanted", SIZES)
def test_short_side_reduced_or_enlarged(tmp_path, size, wanted):
    draw(1, *size).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", 32).shape == (wanted[1], wanted[0], 3)


def test_a_large_jpeg_is_decoded_small_without_a_loss(tmp_path):
    draw(1, 640, 480).save(tmp_path / "x.jpg", quality=95)
    for side in (24, 60, 200, 480):
        whole = Image.open(tmp_path / "x.jpg")
        whole.load()
        want = np.asarray(whole.resize((round(640 * side / 480), side), Image.Resampling.LANCZOS))
        assert abs(read(tmp_path / "x.jpg", side).astype(int) - want).mean() < 2


@pytest.mark.parametrize("size", [(16 * 9, 9), (9, 16 * 9)])
def test_how_long_a_picture_may_be(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", 9).shape == (*size[::-1], 3)
    Image.new("RGB", tuple(n + (n > 9) for n in size)).save(tmp_path / "x.png")
    with pytest.raises(PictureError, match="one side is more than 16 times the other"):
        read(tmp_path / "x.png", 9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = draw(1, 64, 48)
    turn = Image.Transpose
    stored = {  # how the camera's pixels lie for the viewer to see it upright
        1: lambda x: x, 2: lambda x: x.transpose(turn.FLIP_LEFT_RIGHT), 3: lambda x: x.transpose(turn.ROTATE_180),
        4: lambda x: x.transpose(turn.FLIP_TOP_BOTTOM), 5: lambda x: x.transpose(turn.TRANSPOSE),
        6: lambda x: x.transpose(turn.ROTATE_90), 7: lambda x: x.transpose(turn.TRANSVERSE),
        8: lambda x: x.transpose(turn.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(read(tmp_path / "x.png", 48), np.asarray(upright))


def test_embedded_profile_is_applied(tmp_path):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(struct.unpack(">I", profile[128:132])[0]):  # the table of tags: red's primary becomes green's
        at = 132 + 12 * i
        name = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(bytes(profile[at : at + 4]))
        profile[at : at + 4] = name or profile[at : at + 4]
    image = draw(1)
    image.save(tmp_path / "x.png", icc_profile=bytes(profile))
    image.save(tmp_path / "damaged.png", icc_profile=bytes(profile[:200]))
    pixels = np.asarray(image).astype(int)
    assert abs(read(tmp_path / "x.png", 40) - pixels[..., [1, 0, 2]]).max() <= 2
    assert np.array_equal(read(tmp_path / "damaged.png", 40), pixels)


def test_modes(tmp_path):
    image = draw(1)
    pixels = np.asarray(image)
    clear = image.copy()
    clear.putalpha(Image.fromarray(np.where(np.arange(40) < 20, 0, 255).astype(np.uint8)[None].repeat(40, 0)))
    clear.save(tmp_path / "rgba.png")
    got = read(tmp_path / "rgba.png", 40)
    assert (got[:, :20] == 255).all() and np.array_equal(got[:, 20:], pixels[:, 20:])
    for mode, name in (("1", "x.png"), ("L", "x.png"), ("I;16", "x.png"), ("F", "x.tif"), ("LA", "x.png")):
        image.convert("L").convert("I" if mode == "I;16" else mode).convert(mode).save(tmp_path / name)
        assert spread(read(tmp_path / name, 40)) < 1e-4
    image.quantize(256).save(tmp_path / "p.gif")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    for name in ("p.gif", "cmyk.jpg"):
        assert abs(read(tmp_path / name, 40).astype(int) - pixels).mean() < 8


# what is left out


def bomb() -> bytes:
    """A PNG that states 60000 x 60000 pixels and holds none."""
    chunks = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0), b"IDAT", b"IEND"
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_unusable_files_are_skipped_and_named(tmp_path):
    folder = draw_folder(tmp_path / "photos", each=2)
    whole = (folder / "blue/0.png").read_bytes()
    bad = {"cut.png": whole[: len(whole) // 2], "empty.jpg": b"", "text.jpg": b"no picture at all", "bomb.png": bomb()}
    for name, data in bad.items():
        (folder / "blue" / name).write_bytes(data)
    draw(9, 400, 20).save(folder / "blue/rule.png")
    draw(9).save(folder / "loose.png")
    (folder / "blue/.hidden.png").write_bytes(b"")
    (folder / "blue/notes.txt").write_text("not counted")
    pictures = scan(folder, 24)
    assert pictures.names == ["blue/0.png", "blue/1.png", "orange/0.png", "orange/1.png"]
    assert pictures.classes == ("blue", "orange") and pictures.labels.tolist() == [0, 0, 1, 1]
    reasons = dict(pictures.unusable)
    assert set(reasons) == {f"blue/{name}" for name in (*bad, "rule.png")} | {"loose.png"}
    assert reasons["blue/empty.jpg"] == "empty file" and reasons["blue/text.jpg"] == "no picture"
    assert "bomb" in reasons["blue/bomb.png"] and "times" in reasons["blue/rule.png"]
    report = "\n".join(pictures.report())
    assert "4 pictures in 2 classes (blue 2, orange 2)" in report and "unusable: 6" in report
    assert all(name in report for name in bad)


def test_near_grey_pictures_are_left_out_and_counted(tmp_path):
    folder = draw_folder(tmp_path / "photos", each=2)
    grey = draw(7).convert("L")
    grey.save(folder / "blue/grey.png")
    Image.merge("RGB", [grey.point(lambda v, k=k: v * k) for k in (1.0, 0.97, 0.92)]).save(folder / "blue/tint.png")
    Image.new("RGB", (1, 1), (255, 0, 0)).save(folder / "blue/one_pixel.png")
    pictures = scan(folder, 24)
    assert pictures.near_grey == ["blue/grey.png", "blue/one_pixel.png", "blue/tint.png"]
    assert "near-grey: 3" in "\n".join(pictures.report()) and len(pictures) == 4
    assert len(scan(folder, 24, near_grey=0)) == 7


@pytest.mark.parametrize("size, step", [((62, 50), 1), ((160, 130), 2), ((300, 196), 3)])
def test_spread_is_the_standard_deviation_of_ab(size, step):
    """On at least 64 pixels a side: of every second pixel from 128 on, every third from 192."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*size[::-1], 3), np.uint8)
    small = rgb[::step, ::step]
    height, width = (n // 2 for n in small.shape[:2])
    lab = rgb2lab(small[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3))[..., 1:].mean((1, 3))
    assert spread(rgb) == pytest.approx(np.sqrt(lab.var((0, 1)).sum()), rel=1e-3)


def test_folders_within_folders_and_links(tmp_path):
    folder = draw_folder(tmp_path / "photos", classes=("a/abbey", "b/beach"), each=1)
    (folder / "a/loop").symlink_to(folder)
    draw_folder(tmp_path / "elsewhere", classes=("c",), each=1)
    (folder / "linked").symlink_to(tmp_path / "elsewhere/c")
    assert scan(folder, 24).classes == ("a/abbey", "b/beach", "linked")


def test_clear_errors_where_nothing_is_left(tmp_path):
    with pytest.raises(TrainError, match="no such folder"):
        scan(tmp_path / "nowhere", 24)
    (tmp_path / "a").mkdir()
    with pytest.raises(TrainError, match="no pictures in it"):
        scan(tmp_path, 24)
    (tmp_path / "a/x.jpg").write_bytes(b"")
    with pytest.raises(TrainError, match="no usable picture among 1 files .*a/x.jpg: empty file"):
        scan(tmp_path, 24)


def test_a_picture_that_vanishes_is_replaced_by_the_next(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        read("nowhere.png", 24)
    pictures = scan(draw_folder(tmp_path, each=2), 24, memory=0)
    whole = make_batch(pictures, np.arange(8), 24, 5)
    (tmp_path / "blue/1.png").unlink()
    (tmp_path / "orange/0.png").write_bytes(b"")
    batch = make_batch(pictures, np.arange(8), 24, 5)
    chosen = [*order(5, 0, (4,), 0), *order(5, 1, (4,), 0)]
    want = [{1: 3, 2: 3}.get(int(i), int(i)) for i in chosen]
    assert batch.labels.tolist() == pictures.labels[want].tolist() != whole.labels.tolist()
    for n, i in enumerate(want):
        assert np.array_equal(batch.pixels[n], pictures[i])
    assert len(pictures.lost) == 2 and "blue/1.png: cannot be read any more (no such file)" in pictures.lost[1]
    with pytest.raises(TrainError, match="orange/0.png: cannot be read any more .empty file"):
        pictures[2]
    for file in tmp_path.rglob("*.png"):
        file.unlink()
    with pytest.raises(TrainError, match="nor can the 3 after it"):
        make_batch(pictures, np.arange(1), 24, 5)


def test_fingerprint_follows_names_and_sizes(tmp_path):
    folder = draw_folder(tmp_path, each=3)
    first = scan(folder, 24).fingerprint
    assert scan(folder, 24, memory=0, workers=1).fingerprint == first
    seen = {first, scan(folder, 32).fingerprint}
    (folder / "blue/0.png").rename(folder / "blue/5.png")
    seen.add(scan(folder, 24).fingerprint)
    draw(77, 41, 40).save(folder / "blue/5.png")
    seen.add(scan(folder, 24).fingerprint)
    (folder / "blue/5.png").rename(folder / "orange/5.png")
    seen.add(scan(folder, 24).fingerprint)
    (folder / "orange/5.png").unlink()
    seen.add(scan(folder, 24).fingerprint)
    assert len(seen) == 6, "short side, a name, a size, a class, a number"


def test_only_so_many_are_made_ahead_of_their_use():
    """Or decoded pictures would fill the memory."""
    taken = []
    made = ahead(lambda i: 10 * i, (taken.append(i) or i for i in range(100)), workers=2, depth=5)
    assert [next(made) for _ in range(3)] == [0, 10, 20] and len(taken) == 3 + 5
    assert list(made) == [10 * i for i in range(3, 100)]
