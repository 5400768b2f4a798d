"""What packing writes anew and shows: the files after --force, the borderline sheet, what a kill leaves seen."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.packing import SHEET, TILE
from ltbc.train.pictures.photograph import NEAR_GREY, read, spread
from ltbc.train.pictures.shards import Shards
from tests.tools.drawn import draw, draw_folder
from tests.tools.runs import error_line, new, train
from tests.train.test_pack import pack

WRITTEN = {"index.json", "index.npy", "left_out.csv", "borderline.jpg"}


def tars(out):
    return sorted(path.name for path in out.glob("*.tar"))


def test_packing_anew_leaves_nothing_of_before(tmp_path):
    """Fewer shards of more pictures, then fewer pictures: the folder is what a new one would be, to the byte."""
    photos, out = draw_folder(tmp_path / "photos", each=4), tmp_path / "shards"
    assert pack(photos, out, "--per-shard", 1) == 0 and len(tars(out)) == 8
    (out / "notes.tar").write_bytes(b"somebody's own")
    for k, more in enumerate((("--per-shard", 3), ("--per-shard", 3, "--format", "png"), ("--per-shard", 100))):
        if k == 2:
            (photos / "blue/0.png").unlink()
        fresh = tmp_path / f"fresh{k}"
        assert pack(photos, out, *more, "--force") == pack(photos, fresh, *more) == 0
        names = {path.name for path in out.iterdir()}
        assert names - {"notes.tar"} == {path.name for path in fresh.iterdir()} and "notes.tar" in names
        for path in fresh.iterdir():
            assert (out / path.name).read_bytes() == path.read_bytes(), path.name
        assert len(scan(out, 32)) == 8 - (k == 2)


def test_anew_over_what_was_killed(tmp_path):
    photos, out = draw_folder(tmp_path / "photos", each=4), tmp_path / "shards"
    assert pack(photos, out, "--per-shard", 1) == 0
    (out / "parts").mkdir()
    (out / "parts/000000.tar.json").write_text("{}")
    assert pack(photos, out, "--per-shard", 4, "--force") == 0
    assert {path.name for path in out.iterdir()} == WRITTEN | {"000000.tar", "000001.tar"}


@pytest.fixture(scope="module")
def borderline(tmp_path_factory):
    """Twenty pictures on either side of near-grey, each of a brightness of its own: (spread, brightness), packed."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    levels = 40 + 4.2 * np.random.default_rng(0).permutation(40)
    ramp = np.linspace(-1, 1, 40)[None].repeat(40, 0)
    for i in range(40):
        strength = (0.1 + 0.14 * i) if i < 20 else (4.5 + 1.2 * (i - 20))
        pixels = np.stack([ramp * strength, ramp * 0, -ramp * strength], -1) + levels[i]
        Image.fromarray(np.rint(pixels).astype(np.uint8)).save(folder / "ab"[i % 2] / f"{i:02}.png")
    assert pack(folder, folder.parent / "borderline", "--format", "png") == 0
    return folder, folder.parent / "borderline"


def tile(sheet, group, k):
    """The k-th picture below a title, by the layout that the sheet has for two full groups."""
    rows = 44 + SHEET // (SHEET // 2) * (TILE[1] + 44)
    left, top = 10 + k % (SHEET // 2) * (TILE[0] + 10), group * rows + 44 + k // (SHEET // 2) * (TILE[1] + 44)
    return sheet[top : top + TILE[1], left : left + TILE[0]]


def test_the_borderline_sheet_shows_the_nearest_on_both_sides(borderline):
    """Left out: the most colorful of them, rising; kept: the least colorful, rising."""
    folder, out = borderline
    found = sorted((spread(read(path, 32)), path) for path in folder.glob("*/*.png"))
    left_out, kept = ([pair for pair in found if (pair[0] < NEAR_GREY) == grey] for grey in (True, False))
    assert len(left_out) > SHEET + 3 and len(kept) > SHEET + 3
    assert len(Shards(out)) == len(kept)
    sheet = np.asarray(Image.open(out / "borderline.jpg")).astype(int)
    for group, shown in enumerate((left_out[-SHEET:], kept[:SHEET])):
        for k, (_, path) in enumerate(shown):
            want = np.asarray(Image.open(path)).astype(int)[:30]  # the middle of the picture fills the tile
            assert np.abs(tile(sheet, group, k).mean((0, 1)) - want.mean((0, 1))).max() < 1.5, (group, k, path)
    brightness = [tile(sheet, group, k).mean() for group in (0, 1) for k in range(SHEET)]
    assert np.diff(sorted(brightness)).min() > 3, "each shows another picture"


def test_near_grey_is_what_the_option_says(borderline, tmp_path):
    folder, _ = borderline
    spreads = [spread(read(path, 32)) for path in folder.glob("*/*.png")]
    for limit in (0, 1.5, 6):
        assert pack(folder, tmp_path / str(limit), "--near-grey", limit) == 0
        wanted = sum(value >= limit for value in spreads)
        assert len(scan(tmp_path / str(limit), 32, near_grey=0)) == wanted
        assert json.loads((tmp_path / str(limit) / "index.json").read_text())["left_out"]["near-grey"] == 40 - wanted


def test_shards_are_mixed_and_readable_by_all(tmp_path):
    photos = draw_folder(tmp_path / "photos", each=12)
    assert pack(photos, tmp_path / "s", "--per-shard", 8) == 0
    for path in sorted((tmp_path / "s").glob("*.tar")):
        with tarfile.open(path) as file:
            assert {member.mode for member in file} == {0o644}
            assert len({member.name.split("/")[0] for member in file}) == 2, "pictures of both classes"


def test_the_fingerprint_is_of_pictures_and_their_classes(tmp_path):
    """The same pictures in the same order, one of them of another class."""
    found = set()
    for k, places in enumerate((("a/0", "a/1", "b/2"), ("a/0", "b/1", "b/2"), ("a/0", "a/1", "b/2"))):
        for i, place in enumerate(places):
            path = tmp_path / str(k) / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(i).save(path)
        assert pack(tmp_path / str(k), tmp_path / f"s{k}") == 0
        found.add(json.loads((tmp_path / f"s{k}/index.json").read_text())["fingerprint"])
    assert len(found) == 2


def test_a_run_goes_on_with_the_same_names_of_classes_only(tmp_path, capsys):
    photos, out, run = draw_folder(tmp_path / "photos", each=2), tmp_path / "s", tmp_path / "run"
    assert pack(photos, out) == 0 and new(out, run, 1) == 0
    index = (out / "index.json").read_text()
    (out / "index.json").write_text(index.replace('"orange"', '"yellow"'))
    capsys.readouterr()
    assert train("--resume", run, "--steps", 2) == 2 and "not the pictures of" in error_line(capsys)
    (out / "index.json").write_text(index)
    assert train("--resume", run, "--steps", 2) == 0


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_quality_is_what_the_option_says(tmp_path, format):
    """More of it is nearer; a JPEG's colors are as sharp as its luminance."""
    rng = np.random.default_rng(0)
    (tmp_path / "p/a").mkdir(parents=True)
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p/a/0.png")
    draw(1).save(tmp_path / "p/a/1.png")
    errors = []
    for quality in (20, 60, 100):
        out = tmp_path / str(quality)
        assert pack(tmp_path / "p", out, "--format", format, "--quality", quality) == 0
        pictures = scan(out, 32)
        errors.append(abs(pictures[list(pictures.names).index(f"a/0.{format}")].astype(int) - pixels).mean())
    assert errors[0] > errors[1] > errors[2]
    assert format == "webp" or errors[2] < 2, "without chroma subsampling"
