"""The command line: what goes where, what is told, what is never overwritten, and the exit codes."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import images, options
from tests import ROOT
from tests.tools import colorize_call
from tests.tools.colorize_call import PATH_TAKEN, files, photographs
from tests.tools.picture_files import grey, luminance

call, weights = colorize_call.call, colorize_call.weights  # fixtures


def test_one_file(call):
    photographs("in.jpg")
    code, out, err = call("in.jpg", "--out", "out.png")
    forced = r", the gamut forced [\d,]+ pixels \([\d.]+%\) towards grey"
    assert code == 0 and re.fullmatch(rf"in\.jpg -> out\.png: 20 x 16({forced})?\n", out)
    assert not err and Image.open("out.png").size == (20, 16)
    kept = luminance(np.asarray(Image.open("out.png")) / 255) - luminance(np.asarray(Image.open("in.jpg")) / 255)
    assert np.abs(kept).max() * 255 < 0.65
    code, out, _ = call("in.jpg", "--out", "new/folder/")
    assert code == 0 and files() == ["in.jpg", "new/folder/in.png", "out.png"]


def test_folders_keep_their_structure_and_patterns_theirs(call):
    photographs("photos/a.png", "photos/b/a.jpg", "photos/b/c/d.tif", "photos/b/e.GIF", "photos/.hidden.png")
    Path("photos/notes.txt").write_text("no picture")
    code, out, _ = call("photos", "--out", "photos/colored")
    assert code == 0 and out.endswith("4 colored, 0 skipped, 0 failed\n")
    assert files("photos/colored") == ["a.png", "b/a.png", "b/c/d.tif", "b/e.png"]
    code, out, _ = call("photos", "--out", "photos/colored")  # what it wrote is not taken for photographs
    assert code == 0 and out.count("skipped, ") == 5 and out.endswith("0 colored, 4 skipped, 0 failed\n")
    assert call("photos/b/**/*.tif", "photos/*.png", "--out", "found")[0] == 0
    assert files("found") == ["a.png", "c/d.tif"]
    shutil.rmtree("photos/colored")
    assert call("photos", "--out", "jpegs", "--suffix", ".jpg")[0] == 0
    assert files("jpegs") == ["a.jpg", "b/a.jpg", "b/c/d.jpg", "b/e.jpg"]


def test_names_that_would_meet_are_kept_apart(call):
    photographs("photos/a.png", "photos/a.jpg", "photos/a.gif", "else/a.png")
    assert call("photos", "--out", "out")[0] == 0 and files("out") == ["a.gif.png", "a.jpg.png", "a.png"]
    assert Image.open("out/a.png").size == Image.open("photos/a.png").size
    code, out, err = call("photos/a.png", "else/a.png", "photos/a.png", "--out", "more")
    assert code == 1 and files("more") == ["a.png"] and out.endswith("1 colored, 0 skipped, 1 failed\n")
    assert err == "colorize: else/a.png: more/a.png is already made from photos/a.png; give their folder instead\n"


def test_one_photograph_named_in_several_ways_is_one(call):
    """By another spelling, by its folder, by a pattern and through a link: it is colored once, not told as a clash."""
    photographs("photos/a.png", "photos/b.png")
    Path("link.png").symlink_to("photos/a.png")
    Path("again").symlink_to("photos")
    one, other = "photos/a.png", "photos/../photos/./a.png"
    named = [(one, other), (other, str(Path(one).resolve())), (one, "photos"), ("photos", one), (one, "photos/*.png"),
             ("*/a.png", one), (one, "link.png"), ("again/a.png", one), ("photos", "again")]
    for i, inputs in enumerate(named):
        code, out, err = call(*inputs, "--out", f"out{i}")
        both = "photos" in inputs or "photos/*.png" in inputs
        assert (code, err) == (0, ""), inputs
        assert len(files(f"out{i}")) == out.count(" -> ") == 1 + both, inputs
        shutil.rmtree(f"out{i}")  # or a pattern finds it


def test_nothing_is_overwritten_without_force_and_the_photographs_never(call):
    photographs("a.png", "photos/b.png")
    Path("out.png").write_text("mine")
    assert call("a.png", "--out", "out.png") == (0, "a.png: skipped, out.png exists (--force overwrites it)\n", "")
    assert Path("out.png").read_text() == "mine"
    assert call("a.png", "--out", "out.png", "--force")[0] == 0 and Image.open("out.png").size == (20, 16)
    before = Path("a.png").read_bytes(), Path("photos/b.png").read_bytes()
    for arguments in (("a.png", "--out", "a.png"), ("a.png", "--out", "."), ("photos/b.png", "--out", "photos/b.png")):
        code, _, err = call(*arguments, "--force")
        assert code == 1 and "this is one of the photographs; name another --out" in err
    code, _, err = call("photos", "--out", "photos", "--force")
    assert code == 1 and err == "colorize: --out photos: this is the folder of the photographs; name another one\n"
    assert before == (Path("a.png").read_bytes(), Path("photos/b.png").read_bytes())


def test_one_bad_file_does_not_stop_the_rest(call):
    photographs("photos/a.png", "photos/c.png")
    Path("photos/b.png").write_bytes(Path("photos/a.png").read_bytes()[:-60])
    code, out, err = call("photos", "missing.jpg", "nothing/*.png", "--out", "out")
    assert code == 1 and files("out") == ["a.png", "c.png"] and out.endswith("2 colored, 0 skipped, 3 failed\n")
    lines = [line for line in err.splitlines() if line.startswith("colorize: ")]
    assert lines[0] == "colorize: missing.jpg: no such file or folder"
    assert lines[1].startswith("colorize: nothing/*.png: no pictures here (.avif, ")
    assert lines[2].startswith("colorize: photos/b.png: damaged or cut off (") and len(lines) == 3


BAD = {
    "missing.png": "missing.png: no such file or folder",
    "empty": r"empty: no pictures here \(.avif, .*, .webp\)",
    "zero.png": r"zero.png: empty file \(0 bytes\)",
    "text.png": r"text.png: not a picture that can be read \(JPEG, .* or HEIC\)",
}


@pytest.mark.parametrize("name", BAD)
def test_a_single_bad_input_is_one_line(call, name):
    Path("empty").mkdir()
    Path("zero.png").touch()
    Path("text.png").write_text("text")
    code, out, err = call(name, "--out", "out/")
    assert (code, out) == (1, "") and re.fullmatch(f"colorize: {BAD[name]}\n", err) and not Path("out").exists()


@pytest.mark.parametrize("out, message", [
    ("out.xyz", "--out out.xyz: files ending in .xyz cannot be written; "
                "end it in .bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp, or in / for a folder"),
    ("out.gif", "--out out.gif: files ending in .gif cannot be written; "),
    ("file.png/out.png", "file.png/out.png: cannot be written (file.png is not a folder)"),
    ("file.png/", "file.png/a.png: cannot be written (file.png is not a folder)"),
])
def test_an_out_that_cannot_be_is_one_line(call, out, message):
    photographs("a.png", "file.png")
    code, _, err = call("a.png", "--out", out)
    assert code == 1 and err.startswith(f"colorize: {message}") and err.count("\n") == 1
    assert files() == ["a.png", "file.png"]


def test_several_pictures_need_a_folder(call):
    photographs("a.png", "photos/b.png")
    for inputs in (("a.png", "photos/b.png"), ("photos",), ("*.png",)):
        code, _, err = call(*inputs, "--out", "out.png")
        assert code == 1 and "names one file, but there may be several pictures; name a folder" in err


def test_weights_that_cannot_be_used_are_one_line(call, weights, monkeypatch):
    photographs("a.png")
    whole = Path(weights).read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    Path("text.safetensors").write_text("no weights")
    Path("wide.safetensors").write_bytes(whole.replace(b'"width":"0.03125"', b'"width":"0.06250"'))
    for name, message in (("missing.safetensors", "no such weights file"), ("cut.safetensors", "not a whole"),
                          ("text.safetensors", "not a whole"), ("wide.safetensors", "must be ")):
        code, _, err = call("a.png", "--out", "out.png", weights=name)
        assert code == 1 and err.startswith(f"colorize: {name}: ") and message in err and err.count("\n") == 1, err
    monkeypatch.setattr(options, "WEIGHTS", Path("default.safetensors"))
    code, _, err = call("a.png", "--out", "out.png", weights=None)
    assert code == 1 and "make demo" in err and "--weights RUN/weights.safetensors" in err and err.count("\n") == 1
    shutil.copy(weights, "default.safetensors")
    assert call("a.png", "--out", "out.png", weights=None)[0] == 0


def test_a_full_disk_ends_the_run_and_leaves_nothing_half(call, monkeypatch):
    photographs("photos/a.png", "photos/b.png", "photos/c.png")
    flushed = []

    def fsync(file):
        flushed.append(file)
        if len(flushed) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    code, out, err = call("photos", "--out", "out")
    assert code == 1 and files("out") == ["a.png"] and len(flushed) == 2
    assert err == "colorize: out/b.png: the disk is full; free some space and call again\n"


def test_a_folder_that_cannot_be_written_is_told(call, monkeypatch):
    photographs("a.png")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(images, "whole_file", refuse)
    assert call("a.png", "--out", "out/") == (1, "", "colorize: out/a.png: cannot be written (Permission denied)\n")


def test_an_interruption_is_one_line_and_exit_code_130(call, monkeypatch):
    photographs("photos/a.png", "photos/b.png")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    code, _, err = call("photos", "--out", "out")
    assert code == 130 and err.endswith("colorize: interrupted; what was written is whole\n") and files("out") == []


def test_the_program_as_a_user_calls_it(tmp_path, weights):
    Image.fromarray(grey(np.uint16)).save(tmp_path / "in.png")
    command = [sys.executable, "-m", "colorize", "--backend", "reference", tmp_path / "in.png"]
    command += ["--out", tmp_path / "out.png", "--weights"]
    good = subprocess.run([*command, weights], cwd=ROOT, capture_output=True, text=True)
    assert good.returncode == 0 and "in.png -> " in good.stdout and good.stderr == PATH_TAKEN
    bad = subprocess.run([*command, tmp_path / "none", "--force"], cwd=ROOT, capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"colorize: {tmp_path}/none: no such weights file\n"
