"""Folders as they are: special files, other kinds, pictures that go or change during a run; mistakes told early."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import features

from ltbc.train import pack
from ltbc.train.evaluate import main as evaluate
from ltbc.train.leavings import WEIGHTS
from ltbc.train.pictures import folder as folders
from ltbc.train.pictures import scan as scanning
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.packing import unique_keys
from ltbc.train.run import Run
from tests.tools.drawn import draw, draw_folder, lock_folder
from tests.tools.runs import TINY, assert_same_bits, error_line, new, seven_pictures, train


@pytest.fixture
def photos(tmp_path):
    return seven_pictures(tmp_path / "photos")


@pytest.fixture
def special(photos):
    """A folder with all that is no picture; of each the reason."""
    at = photos / "blue"
    os.mkfifo(at / "fifo.jpg")
    (at / "loop.png").symlink_to(at / "loop.png")
    (at / "nothing.png").symlink_to(at / "nowhere.png")
    reasons = {"fifo.jpg": "no plain file", "loop.png": "Too many levels of symbolic links",
               "nothing.png": "a link to nothing"}
    (at / "zero.jpg").symlink_to("/dev/zero")
    reasons["zero.jpg"] = "no plain file"
    if sys.platform == "linux":
        (at / "eio.jpg").symlink_to("/proc/self/mem")
        reasons["eio.jpg"] = "Input/output error"
    (at / "folder.jpg").mkdir()
    for name in ("x.heic", "y.heic", "notes.txt"):
        (at / name).write_bytes(b"x")
    return photos, reasons


def test_special_files_are_a_line_in_train_pack_and_evaluate(special, tmp_path, capsys):
    photos, reasons = special
    assert new(photos, tmp_path / "run", 1) == 0
    trained = capsys.readouterr().out
    assert pack.main([str(photos), "--out", str(tmp_path / "shards"), "--short-side", "32"]) == 0
    packed = capsys.readouterr().out
    pytest.importorskip("skimage")
    assert evaluate([str(photos), "--weights", str(tmp_path / "run" / WEIGHTS), "--backend", "reference"]) == 0
    evaluated = capsys.readouterr().err
    for said in (trained, packed, evaluated):
        for name, reason in reasons.items():
            assert f"  blue/{name}: {reason}" in said
        assert "left out as of other kinds: 3 files (.heic 2, .txt 1)" in said
        assert "unusable" in said and ": 7 " in said
    assert pack.main([str(photos), "--out", str(tmp_path / "shards"), "--short-side", "32"]) == 0
    assert "packed already" in capsys.readouterr().out


@pytest.mark.parametrize("name, feature", [("x.avif", "avif"), ("x.jp2", "jpg_2000"), ("x.jfif", "jpg")])
def test_other_kinds_are_read_where_pillow_can(photos, name, feature):
    if not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    draw(50).save(photos / "blue" / name, format="JPEG" if feature == "jpg" else None)
    assert f"blue/{name}" in scan(photos, 18).names


def test_a_folder_that_cannot_be_read_is_told(photos, monkeypatch):
    lock_folder(monkeypatch, "orange")
    assert "left out: the folder orange: Permission denied" in scan(photos, 18).report()


# linear, and once


def test_a_flat_folder_takes_linear_time():
    """Of a million names: a quadratic way would take hours."""
    names = [f"{i}.jpg" for i in range(1_000_000)]
    assert not scanning.Found(names).loose and scanning.Found([*names, "a/b.jpg"]).loose
    keys = unique_keys([f"{i}/{'long' * 40}.jpg" for i in range(50_000)])
    assert len(set(keys)) == 50_000


def test_a_scan_is_kept_beside_the_run(photos, tmp_path, monkeypatch):
    held_out = draw_folder(tmp_path / "held out", classes=("new",), each=2)
    (photos / "blue/broken.jpg").write_bytes(b"broken")
    assert new(photos, tmp_path / "whole", 6, "--held-out", held_out) == 0
    assert new(photos, tmp_path / "run", 3, "--held-out", held_out) == 0
    decoded = []
    look = scanning.read
    monkeypatch.setattr(scanning, "read", lambda *how: decoded.append(how) or look(*how))
    assert train("--resume", tmp_path / "run", "--steps", 6) == 0 and not decoded
    assert_same_bits(tmp_path / "whole", tmp_path / "run")
    os.utime(photos / "blue/1.png")
    (tmp_path / "run/scan_held_out.jsonl").write_text("damaged")
    assert train("--resume", tmp_path / "run", "--steps", 7) == 0 and len(decoded) == 1 + 2


def test_other_bytes_of_the_same_size_are_noticed(photos, tmp_path, capsys):
    assert new(photos, tmp_path / "run", 2) == 0
    file = photos / "blue/1.png"
    before, data = os.stat(file), bytearray(file.read_bytes())
    draw(99).save(file)
    changed = bytearray(file.read_bytes())[: len(data)]
    file.write_bytes(changed + bytes(len(data) - len(changed)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    capsys.readouterr()
    assert train("--resume", tmp_path / "run", "--steps", 3) == 2 and "not the pictures of" in error_line(capsys)


# while it lasts


def test_pictures_that_go_while_a_run_lasts_are_named_once(photos, tmp_path, monkeypatch, capsys):
    update, steps = Run.update, iter(range(99))

    def removing(*how):
        if next(steps) == 2:
            (photos / "blue/1.png").unlink()
            (photos / "orange/2.png").write_bytes((photos / "orange/2.png").read_bytes()[:200])
        update(*how)

    monkeypatch.setattr(Run, "update", removing)
    assert new(photos, tmp_path / "run", 20, "--memory", 0) == 0
    said = capsys.readouterr().err
    assert said.count("blue/1.png: cannot be read any more (no such file); another one takes its place") == 1
    assert said.count("orange/2.png: cannot be read any more") == 1
    assert "2 pictures could not be read any more" in said


def test_a_damaged_shard_ends_no_run(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "shards"
    assert pack.main([str(photos), "--out", str(out), "--short-side", "32", "--per-shard", "3", "--format", "png"]) == 0
    rows = np.load(out / "index.npy")
    monkeypatch.setattr(folders, "GIVEN_UP", 5)
    for k, damage in enumerate(("flip", "cut", "gone")):
        run = tmp_path / f"run{k}"
        assert new(out, run, 1, "--memory", 0) == 0
        shard = out / "000001.tar"
        before = shard.read_bytes()
        update = Run.update

        def damaging(*how, damage=damage, shard=shard, before=before, update=update):
            if damage == "gone":
                shard.unlink(missing_ok=True)
            else:
                data = bytearray(before)
                data[rows["offset"][3] + 60] ^= 255
                shard.write_bytes(data if damage == "flip" else before[: rows["offset"][5] + 10])
            update(*how)

        monkeypatch.setattr(Run, "update", damaging)
        capsys.readouterr()
        assert train("--resume", run, "--steps", 9, "--memory", 0) == 0
        assert "cannot be read any more" in capsys.readouterr().err
        monkeypatch.setattr(Run, "update", update)
        shard.write_bytes(before)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range_are_a_damaged_index(photos, tmp_path, capsys, label):
    out = tmp_path / "shards"
    assert pack.main([str(photos), "--out", str(out), "--short-side", "32"]) == 0
    rows = np.load(out / "index.npy")
    rows["label"][4] = label
    np.save(out / "index.npy", rows)
    capsys.readouterr()
    assert new(out, tmp_path / "run", 1) == 2
    assert "index.npy: labels from" in error_line(capsys)


@pytest.mark.parametrize("shards", [[{}], [{"name": 3, "pictures": 1, "bytes": 1}], 5, [7], {"a": 1}])
def test_an_index_of_other_things_is_one_line(photos, tmp_path, capsys, shards):
    out = tmp_path / "shards"
    assert pack.main([str(photos), "--out", str(out), "--short-side", "32"]) == 0
    about = json.loads((out / "index.json").read_text())
    (out / "index.json").write_text(json.dumps(about | {"shards": shards}))
    capsys.readouterr()
    assert new(out, tmp_path / "run", 1) == 2
    assert "damaged index" in error_line(capsys)


# told before pictures are read


@pytest.mark.parametrize("arguments, says", [
    (["--epochs", "inf"], "--epochs: must be finite"), (["--minutes", "inf"], "--minutes: must be finite"),
    (["--memory", "inf"], "--memory: must be finite"), (["--epochs", "nan"], "--epochs: must be at least 0, got nan"),
    (["--out", "PHOTOS"], "lies in the photographs'"), (["--out", "PHOTOS/blue/run"], "lies in the photographs'"),
    (["--held-out", "nowhere"], "no such folder"), (["--held-out", "PHOTOS/blue"], "would be trained on"),
    (["--backend", "cpu", "--dtype", "float16"], "float16"),
])
def test_mistakes_are_told_before_pictures_are_read(photos, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.setattr(folders, "look_at_all", lambda *_: 1 / 0)
    more = ["--out", str(tmp_path / "run")] if "--out" not in arguments else []
    assert train(photos, *TINY, *more, *(x.replace("PHOTOS", str(photos)) for x in arguments)) == 2
    assert says in error_line(capsys) and not (tmp_path / "run").exists()
    assert sorted(p.name for p in photos.iterdir()) == ["blue", "orange"]


def test_two_packings_do_not_share_a_folder(photos, tmp_path, capsys):
    import fcntl

    out = tmp_path / "shards"
    out.mkdir()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        file = os.open(out / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.lockf(file, fcntl.LOCK_EX)
        os.write(file, b"process 7 on another\n")
        os.write(write, b"x")
        os.read(os.pipe()[0], 1)
    os.read(read, 1)
    try:
        assert pack.main([str(photos), "--out", str(out)]) == 2
        assert "in use by process 7 on another" in capsys.readouterr().err
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert pack.main([str(photos), "--out", str(out)]) == 0
