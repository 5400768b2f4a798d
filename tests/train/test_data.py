"""Pictures in, batches out: decoding, what is left out, and an order that is a function of seed and position."""

import struct
import zlib
from itertools import islice

import numpy as np
import pytest
from PIL import Image, ImageCms

from ltbc.train import TrainError
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.photograph import PictureError, read, spread
from ltbc.train.pictures.stream import batches, make_batch, order, random_bits
from tests.tools.drawn import draw, draw_folder


def take(pictures, number, start=0, batch=3, crop=24, seed=5, workers=2):
    return list(islice(batches(pictures, batch, crop, seed, start, workers), number))


def same(one, other):
    return all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(vars(x).values(), vars(y).values()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("photos"), each=4)


# order, crops, flips


def test_random_bits_are_splitmix64_of_seed_and_counters():
    def literal(*counters):
        x, mask = 0, 2**64 - 1
        for counter in counters:
            x = (x + 0x9E3779B97F4A7C15 + counter) & mask
            x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
            x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
            x ^= x >> 31
        return x

    got = random_bits(7, 2, np.arange(4)[:, None], np.arange(6))
    assert got.tolist() == [[literal(7, 2, i, j) for j in range(6)] for i in range(4)]
    assert random_bits(0, 0)[0] == literal(0, 0) and random_bits(2**63, 1)[0] == literal(2**63, 1)


def test_random_bits_are_random():
    bits = random_bits(1, 2, np.arange(200)[:, None], np.arange(500))
    assert len(np.unique(bits)) == bits.size
    ones = (bits[..., None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean((0, 1))
    assert np.all(abs(ones - 0.5) < 5 * 0.5 / np.sqrt(bits.size))  # five standard deviations
    counts = np.bincount((bits % np.uint64(29)).ravel().astype(int), minlength=29)
    chi2 = ((counts - bits.size / 29) ** 2 / (bits.size / 29)).sum()
    assert chi2 < 28 + 5 * np.sqrt(2 * 28)


def test_every_epoch_is_another_permutation():
    epochs = [order(3, epoch, (50,), 0) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert tuple(order(4, 0, (50,), 0)) != tuple(epochs[0])


def test_each_picture_once_an_epoch_over_batch_boundaries(folder):
    pictures = scan(folder, 24)
    for crops in pictures.kept.values():
        assert crops.shape == (24, 24, 3)  # so that a crop is the picture, mirrored or not
    seen = []
    for batch in take(pictures, 8):  # 24 pictures: three epochs of 8
        for pixels, label in zip(batch.pixels, batch.labels):
            (i,) = [i for i, kept in pictures.kept.items() if np.array_equal(kept, pixels)]
            assert pictures.labels[i] == label
            seen.append(i)
    assert all(sorted(seen[k : k + 8]) == list(range(8)) for k in (0, 8, 16))
    assert seen[:8] != seen[8:16]


@pytest.mark.parametrize("workers, memory", [(1, 2.0), (3, 2.0), (2, 0.0), (2, 20e-6)])
def test_batches_do_not_depend_on_start_workers_or_memory(folder, workers, memory):
    whole = take(scan(folder, 30), 9)
    pictures = scan(folder, 30, workers=workers, memory=memory)
    in_memory = len(pictures.kept)
    assert in_memory == {2.0: 8, 0.0: 0, 20e-6: 7}[memory]  # 2700 bytes each
    assert same(whole, take(pictures, 9, workers=workers))
    assert same(whole[4:], take(pictures, 5, start=12, workers=workers))
    assert not same(whole, take(pictures, 9, seed=6))


def test_crops_reach_every_corner_and_half_are_mirrored(tmp_path):
    (tmp_path / "a").mkdir()
    rows, columns = np.mgrid[0:20, 0:28]
    Image.fromarray(np.stack([rows, columns, rows], -1).astype(np.uint8)).save(tmp_path / "a/1.png")
    pictures = scan(tmp_path, 20, near_grey=0)
    batch = make_batch(pictures, np.arange(2000), 16, 1)
    top, left = batch.pixels[:, 0, 0, 0].astype(int), batch.pixels[:, 0, 0, 1].astype(int)
    assert set(zip(top, left)) == {(i, j) for i in range(5) for j in range(13)}
    assert (batch.pixels[..., 0] == top[:, None, None] + np.arange(16)[:, None]).all()
    assert (batch.pixels[..., 1] == left[:, None, None] + np.arange(16)).all()
    assert abs(batch.flip.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert abs(np.corrcoef(batch.flip, left)[0, 1]) < 0.12 and abs(np.corrcoef(top, left)[0, 1]) < 0.12


# decoding


SIZES = [((60, 90), (32, 48)), ((90, 60), (48, 32)), ((5, 8), (32, 51)), ((32, 32), (32, 32))]


@pytest.mark.parametrize("size, wanted", SIZES)
def test_short_side_reduced_or_enlarged(tmp_path, size, wanted):
    draw(1, *size).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png", 32).shape == (wanted[1], wanted[0], 3)


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


def test_spread_is_the_standard_deviation_of_ab():
    from skimage.color import rgb2lab

    rgb = np.asarray(draw(3, 62, 50))
    lab = rgb2lab(rgb.reshape(25, 2, 31, 2, 3))[..., 1:].mean((1, 3))
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


def test_a_picture_that_vanishes_during_training(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        read("nowhere.png", 24)
    pictures = scan(draw_folder(tmp_path, each=1), 24, memory=0)
    (tmp_path / "blue/0.png").unlink()
    with pytest.raises(TrainError, match="blue/0.png: cannot be read any more .no such file"):
        take(pictures, 2)


def test_fingerprint_follows_names_and_sizes(tmp_path):
    folder = draw_folder(tmp_path, each=2)
    first = scan(folder, 24).fingerprint
    assert scan(folder, 24, memory=0, workers=1).fingerprint == first
    (folder / "blue/0.png").rename(folder / "blue/5.png")
    assert scan(folder, 24).fingerprint != first
