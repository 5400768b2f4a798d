"""Packing: what goes into the shards, what other tools read there, kills; and shards as training's source."""

import csv
import json
import subprocess
import sys
import tarfile
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from ltbc.train import TrainError
from ltbc.train.pack import main
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.packing import unique_keys
from ltbc.train.pictures.photograph import NEAR_GREY, read, spread
from ltbc.train.pictures.shards import FORMAT, ROW, Shards
from ltbc.train.pictures.stream import batches, order
from tests import ROOT
from tests.tools.drawn import draw, draw_folder
from tests.tools.runs import assert_same_bits, error_line, new, train


def pack(photos, out, *more):
    return main([str(a) for a in (photos, "--out", out, "--short-side", 32, "--per-shard", 3, *more)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight usable pictures, one near-grey, two twice, two that are none, of many kinds."""
    folder = draw_folder(tmp_path_factory.mktemp("photos"), each=4, width=60, height=50)
    draw(7).convert("L").save(folder / "blue/grey.png")
    (folder / "orange/again.png").write_bytes((folder / "blue/1.png").read_bytes())
    Image.open(folder / "blue/2.png").save(folder / "blue/other container.webp", lossless=True)
    (folder / "blue/cut.png").write_bytes((folder / "blue/1.png").read_bytes()[:900])
    (folder / "blue/text.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def shards(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "shards"
    assert pack(photos, out, "--format", "png") == 0
    return out


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_what_is_left_out_is_named_with_the_reason(shards, photos):
    rows = {r["file"]: (r["reason"], r["detail"]) for r in csv.DictReader(open(shards / "left_out.csv"))}
    assert rows["blue/grey.png"][0] == "near-grey" and float(rows["blue/grey.png"][1]) < NEAR_GREY
    assert rows["blue/text.jpg"] == ("unusable", "no picture") and rows["blue/cut.png"][0] == "unusable"
    twins = {"orange/again.png": "blue/1.png", "blue/other container.webp": "blue/2.png"}
    left = [name for name in (*twins, *twins.values()) if rows.get(name, "")]  # whichever came second
    assert len(left) == 2 and len(rows) == 5
    for name in left:
        one = twins.get(name) or {v: k for k, v in twins.items()}[name]
        assert rows[name] == ("duplicate", f"of {one}")
    about = json.loads((shards / "index.json").read_text())
    assert about["left_out"] == {"near-grey": 1, "duplicate": 2, "unusable": 2}
    assert about["pictures"] == 8 and about["files"] == 13 and [s["pictures"] for s in about["shards"]] == [3, 3, 2]
    assert Image.open(shards / "borderline.jpg").size[0] > 900


def test_tarfile_reads_the_shards(shards, photos):
    seen = 0
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as file:
            members = file.getmembers()
            for picture, label in zip(members[::2], members[1::2]):
                key = picture.name.removesuffix(".png")
                assert label.name == f"{key}.cls" and "." not in key
                assert ("blue", "orange")[int(file.extractfile(label).read())] == key.split("/")[0]
                pixels = read(file.extractfile(picture).read(), 32)
                source = next(p for p in photos.glob(f"{key}.*"))
                assert np.array_equal(pixels, read(source, 32))
                seen += 1
    assert seen == 8


def test_webdataset_reads_the_shards(shards):
    wds = pytest.importorskip("webdataset", reason="that others read our shards needs pip install webdataset")
    dataset = wds.WebDataset(str(shards / "{000000..000002}.tar"), shardshuffle=False).decode("rgb8")
    samples = [(s["__key__"], s["png"], s["cls"]) for s in dataset]
    pictures = scan(shards, 32)
    assert [f"{key}.png" for key, *_ in samples] == list(pictures.names) and len(samples) == 8
    for i, (_, pixels, label) in enumerate(samples):
        assert np.array_equal(pixels, pictures[i]) and label == pictures.labels[i]


def test_shards_train_like_the_folder_they_came_from(shards, photos):
    packed, folder = scan(shards, 32), scan(photos, 32)
    assert packed.classes == folder.classes == ("blue", "orange")
    by_name = {name: i for i, name in enumerate(folder.names)}
    for i, name in enumerate(packed.names):
        assert np.array_equal(packed[i], folder[by_name[name]])
        assert packed.labels[i] == folder.labels[by_name[name]]
        assert packed.shards.rows["spread"][i] == pytest.approx(spread(folder[by_name[name]]), rel=1e-6)
    strict = scan(shards, 32, near_grey=float(np.median(packed.shards.rows["spread"])))
    assert len(strict) == 4 and len(strict.near_grey) == 4 and sum(strict.groups) == 4
    assert strict.fingerprint != packed.fingerprint == scan(shards, 32, memory=0).fingerprint
    assert scan(shards, 24).fingerprint != packed.fingerprint
    assert "8 pictures in 2 classes (blue" in packed.report()[0]
    with pytest.raises(TrainError, match="spread less than --near-grey 99"):
        scan(shards, 32, near_grey=99)


def test_a_jpeg_of_that_size_goes_in_as_it_is(tmp_path):
    (tmp_path / "p/a").mkdir(parents=True)
    draw(1, 32, 40).save(tmp_path / "p/a/plain.jpg", quality=70)
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(2, 40, 32).save(tmp_path / "p/a/turned.jpg", exif=exif)
    exif[0x0112] = 3  # upside down, of the same size
    draw(5, 32, 40).save(tmp_path / "p/a/upside.jpg", exif=exif)
    draw(6, 32, 40).save(tmp_path / "p/a/comment.jpg", comment="a place's name")
    draw(3, 64, 64).save(tmp_path / "p/a/large.jpg")
    draw(4, 20, 24).save(tmp_path / "p/a/small.jpg")
    assert pack(tmp_path / "p", tmp_path / "s") == 0
    shards = Shards(tmp_path / "s")
    data = {name: shards.read(i) for i, name in enumerate(shards)}
    same = {name for name in data if data[name] == (tmp_path / "p" / name).read_bytes()}
    assert same == {"a/plain.jpg", "a/small.jpg"} and len(data) == 6
    shapes = {name: read(x, 1, enlarge=False).shape for name, x in data.items()}
    assert len(shapes) == 6 and scan(tmp_path / "s", 32)[0].shape[1] == 32  # small ones are enlarged by who reads


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_lossy_formats_stay_near(photos, tmp_path, format):
    assert pack(photos, tmp_path, "--format", format) == 0
    folder, packed = scan(photos, 32), scan(tmp_path, 32)
    for i, name in enumerate(packed.names):
        true = folder[[n.rpartition(".")[0] for n in folder.names].index(name.rpartition(".")[0])]
        assert abs(packed[i].astype(int) - true).mean() < 6


def test_keys():
    names = ["a/x.y.jpg", "a/x_y.png", "a/x.y.png", "b/" + "long" * 40 + ".jpg", "b/" + "c" + "long" * 40 + ".jpg"]
    keys = unique_keys(names)
    assert keys[:3] == ["a/x_y", "a/x_y~2", "a/x_y~3"] and len(set(keys)) == 5
    assert all(len(key) <= 90 and "." not in key for key in keys)


# kills and bad input


def test_killed_again_and_again_packs_the_same_bytes(shards, photos, tmp_path):
    out = tmp_path / "shards"
    script = (
        "import os, sys; from ltbc.train import pack; from ltbc.train.pictures import packing\n"
        "stop = int(sys.argv.pop(1)); whole = packing.write_whole\n"
        "def dying(path, data):\n"
        "    global stop; stop -= 1\n"
        "    if stop == 0: path.with_name(path.name + '.part').write_bytes(data[:100]); os.kill(os.getpid(), 9)\n"
        "    whole(path, data)\n"
        "packing.write_whole = dying; sys.exit(pack.main())"
    )
    command = [photos, "--out", out, "--short-side", 32, "--per-shard", 3, "--format", "png"]
    statuses = []
    for stop in (1, 2, 4, 3, 5, 99):  # written are three shards, a part for each, and four files more
        done = subprocess.run([sys.executable, "-c", script, str(stop), *map(str, command)], cwd=ROOT)
        statuses.append(done.returncode)
        if done.returncode:
            with pytest.raises(TrainError, match="not whole yet"):
                scan(out, 32)
    assert statuses[0] == -9 and statuses[-1] == 0
    for name in ("left_out.csv", "index.npy", "index.json", *(f"{k:06d}.tar" for k in range(3))):
        assert (out / name).read_bytes() == (shards / name).read_bytes()
    assert not (out / "parts").exists()


def test_other_pictures_or_options_are_not_mixed_in(photos, tmp_path, capsys):
    out = tmp_path / "s"
    assert pack(photos, out) == 0
    before = contents(out)
    assert pack(photos, out) == 0 and "packed already" in capsys.readouterr().out and contents(out) == before
    (out / "index.json").unlink()
    (out / "parts").mkdir()
    (out / "parts/000000.tar.json").write_text(json.dumps({"plan": "another"}))
    assert pack(photos, out) == 2 and "begun with other pictures or options" in capsys.readouterr().err
    assert pack(photos, out, "--force") == 0 and contents(out) == before
    assert pack(photos, photos / "blue/s") == 2 and "lies in" in capsys.readouterr().err
    assert pack(tmp_path / "nowhere", tmp_path / "t") == 2 and "no such folder" in capsys.readouterr().err


def test_damaged_shards_are_refused(photos, tmp_path):
    out = tmp_path / "s"
    assert pack(photos, out) == 0
    good = contents(out)
    for name, data, says in (
        ("000001.tar", good["000001.tar"][:-5], "index.json says"), ("index.json", b"{", "damaged index"),
        ("index.json", b'{"format": "other/2"}', f"wanted {FORMAT}"), ("index.npy", good["index.npy"][:90], "damaged"),
        ("index.npy", good["index.npy"][:-20], "damaged"),
    ):
        (out / name).write_bytes(data)
        with pytest.raises(TrainError, match=says):
            scan(out, 32)
        (out / name).write_bytes(good[name])
    (out / "000001.tar").unlink()
    with pytest.raises(TrainError, match="000001.tar: is missing"):
        scan(out, 32)


# training from shards


def test_a_run_on_shards_resumes_with_the_same_bits(shards, tmp_path, capsys):
    how = ("--shuffle", 4, "--held-out", shards)
    assert new(shards, tmp_path / "x", 1, *how) == 2 and "would be trained on" in error_line(capsys)
    how = how[:2]
    assert new(shards, tmp_path / "whole", 9, *how) == 0 and new(shards, tmp_path / "halves", 4, *how) == 0
    assert train("--resume", tmp_path / "halves", "--steps", 9, "--memory", 0, "--workers", 3) == 0
    assert_same_bits(tmp_path / "whole", tmp_path / "halves")


GROUPS = (700, 300, 1000, 650)


def test_shuffle_buffer_is_bounded():
    n, shuffle = sum(GROUPS), 200
    starts = np.cumsum((0, *GROUPS))
    seen = [order(3, epoch, GROUPS, shuffle) for epoch in range(4)]
    assert all(sorted(one) == list(range(n)) for one in seen) and len({tuple(one) for one in seen}) == 4
    for one in seen:
        firsts = [int(np.flatnonzero((one >= starts[k]) & (one < starts[k + 1]))[0]) for k in range(4)]
        shards = np.argsort(firsts)
        reading = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in shards])
        place = np.empty(n, int)
        place[reading] = np.arange(n)
        moved = place[one] - np.arange(n)
        assert abs(moved).max() < shuffle and abs(moved).mean() > shuffle / 8
    assert len({tuple(np.argsort([int(np.flatnonzero(o == s)[0]) for s in starts[:-1]])) for o in seen}) > 1
    assert not np.array_equal(order(4, 0, GROUPS, shuffle), seen[0])
    assert np.array_equal(order(3, 0, GROUPS, n), order(3, 0, (n,), 0))  # all fits: any order


def test_parts_of_the_processes_make_up_the_batches_of_one(shards):
    pictures = scan(shards, 32)
    whole = list(islice(batches(pictures, 6, 24, 1, 12, shuffle=4), 5))
    parts = [list(islice(batches(pictures, 6, 24, 1, 12, shuffle=4, rank=r, ranks=3), 5)) for r in range(3)]
    for k, batch in enumerate(whole):
        for name in ("pixels", "flip", "labels"):
            together = np.concatenate([getattr(part[k], name) for part in parts])
            assert np.array_equal(together, getattr(batch, name))


MEMORY = """
import sys
from pathlib import Path
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.stream import order
def own():  # MiB without the file that is mapped: the system may drop that, and processes share it
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024
before = own()
pictures = scan(sys.argv[1], 256)
assert len(pictures) == 2_300_000
for epoch in (0, 1):
    order(0, epoch, pictures.groups, 1 << 14)
print(own() - before, sum(pictures.labels[:10]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_millions_of_pictures_take_little_memory(tmp_path):
    n, each = 2_300_000, 5000
    rows = np.zeros(n, ROW)
    rows["offset"], rows["size"], rows["label"], rows["spread"] = 512, 20_000, np.arange(n) % 365, 10
    np.save(tmp_path / "index.npy", rows)
    shards = [{"name": f"{k:06d}.tar", "pictures": each, "bytes": 0} for k in range(n // each)]
    for shard in shards:
        (tmp_path / shard["name"]).touch()
    about = {"format": FORMAT, "classes": {str(k): 1 for k in range(365)}, "fingerprint": "x", "shards": shards}
    (tmp_path / "index.json").write_text(json.dumps(about))
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert float(done.stdout.split()[0]) < 120  # MiB; a list of 2.3 million names alone takes more than 200
