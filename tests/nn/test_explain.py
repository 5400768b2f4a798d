"""`ltbc explain`: the sums it writes out are the network's numbers, for every layer and backend."""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbc.nn import Network
from ltbc.nn.__main__ import main
from ltbc.nn.study.explain import explain, explain_gradient, kinds, read_photo
from ltbc.nn.study.recording import RecordingNetwork
from tests import ROOT

SETTINGS = {
    "global": dict(width=1 / 16, classes=3, global_size=64),
    "relu": dict(width=1 / 16, classes=2, global_size=64, fusion="relu", class_loss="sigmoid", color_space="rgb"),
    "no global": dict(width=1 / 16, classes=0, global_size=0),
}


def photo(side=64):
    rows, columns = np.mgrid[:side, :side]
    return np.stack([3 * rows, 200 - columns, (rows * columns) % 90], -1).astype(np.uint8)


@pytest.fixture
def files(tmp_path):
    Image.fromarray(photo(70)).save(tmp_path / "photo.png")
    Network(**SETTINGS["global"], seed=4).save(tmp_path / "weights.safetensors")
    return str(tmp_path / "photo.png"), str(tmp_path / "weights.safetensors")


def answers(net, seed=0, places=3):
    """(layer, place, answer) at random places of every layer, outputs and then gradients."""
    side = net.settings.global_size or 64
    records, rng = net.record(photo(side), 1, gradient=True), np.random.default_rng(seed)
    for name, record in records.items():
        for _ in range(places):
            place = tuple(int(rng.integers(n)) for n in record.y.shape)
            yield name, place, explain(net, name, place)
            yield name, place, explain_gradient(net, name, place, 1)


@pytest.mark.parametrize("settings", SETTINGS)
def test_in_float64_the_sums_are_exact(settings):
    net = RecordingNetwork(**SETTINGS[settings], dtype="float64")
    seen = {"value": 0, "gradient": 0}
    for k, (name, place, answer) in enumerate(answers(net)):
        assert answer.value == pytest.approx(answer.stored, rel=1e-9, abs=1e-15), (name, place)
        seen["gradient" if k % 2 else "value"] += answer.value != 0
    assert min(seen.values()) > 10


@pytest.mark.parametrize("backend, dtype", list(kinds()))
def test_every_backend_stored_the_sum(backend, dtype):
    net = RecordingNetwork(**SETTINGS["global"], backend=backend, dtype=dtype)
    for name, place, answer in answers(net, places=5):
        assert abs(answer.value - answer.stored) <= answer.allowed, (name, place)


def test_rounding_explains_no_wrong_tap():
    """What is allowed is far below a term that matters."""
    net = RecordingNetwork(**SETTINGS["global"])
    found = [answer for _, _, answer in answers(net) if answer.value and answer.terms[0].a.any()]
    shares = [answer.allowed / np.abs(answer.terms[0].a * answer.terms[0].b).max() for answer in found]
    assert len(shares) > 40 and np.median(shares) < 1e-4


@pytest.mark.parametrize("layer, equation", [
    ("mid.1 1 2 3", r"x\[i\*stride\+r-1, j\*stride\+s-1, c\] w\[r,s,c,o\]"), ("color.1 3 4 1", r"v_\d\d\[\d,\d,\d,1\]"),
    ("fusion 0 0 2", r"all that comes from global vector ="), ("global_fc.0 0 0 1", r"global.3\[\d,\d,\d+\]"),
])
def test_the_program_writes_it_out(files, capsys, layer, equation):
    image, weights = files
    with pytest.raises(SystemExit) as left:
        main(["explain", *layer.split(), "--photo", image, "--weights", weights, "--terms", "3"])
    shown = capsys.readouterr().out
    assert left.value.code == 0 and re.search(equation, shown) and "bias b[" in shown
    assert shown.count("equal but for rounding") == len(list(kinds()))


def test_a_gradient_at_a_fork_names_both_branches(files, capsys):
    image, weights = files
    with pytest.raises(SystemExit) as left:
        main(["explain", "low.5", "1", "2", "3", "--photo", image, "--weights", weights, "--gradient"])
    shown = capsys.readouterr().out
    assert left.value.code == 0 and "(all that comes from global.0" in shown and "(all that comes from mid.0" in shown


def test_a_backend_that_differs_is_told(files, capsys, monkeypatch):
    from ltbc.kernels.linear import reference

    forward, (image, weights) = reference.forward, files

    def wrong(*args, out=None, **named):
        y = forward(*args, out=out, **named)
        y += 1e-4
        return y

    monkeypatch.setattr(reference, "forward", wrong)
    with pytest.raises(SystemExit) as left:
        main(["explain", "class.1", "0", "0", "1", "--photo", image, "--weights", weights])
    assert left.value.code == 1 and "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    ("mid.7 0 0 0 --photo {photo}", "layer must be one of low.0, low.1"),
    ("mid.1 9 0 0 --photo {photo}", "row must lie in 0..7 for mid.1 of 8x8x16, got 9"),
    ("class.1 1 0 0 --photo {photo}", "row must lie in 0..0"),
    ("mid.1 0 0 0 --photo {weights}", "not a picture that can be read"),
    ("mid.1 0 0 0 --photo missing.png", "missing.png: No such file or directory"),
    ("mid.1 0 0 0 --photo {cut}", "damaged or cut off"),
    ("mid.1 0 0 0 --photo {bomb}", "more than 179 megapixels; make it smaller first"),
    ("mid.1 0 0 0 --photo {photo} --label 3", "--label must lie in 0..2, got 3"),
    ("mid.1 0 0 0 --photo {photo} --terms 0", "--terms must be at least 1, got 0"),
    ("mid.1 0 0 0 --photo {photo} --weights {photo}", "not a whole safetensors file"),
])
def test_errors_are_one_line(files, capsys, arguments, message):
    damaged = damaged_pictures(Path(files[0]))
    words = arguments.format(photo=files[0], weights=files[1], **damaged).split()
    words += [] if "--weights" in words else ["--weights", files[1]]
    with pytest.raises(SystemExit) as left:
        main(["explain", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and message in line


def damaged_pictures(photo):
    """Files beside the photo: one cut off, and one whose header asks for 60,000 x 60,000 pixels."""
    cut, bomb, data = photo.with_name("cut.png"), photo.with_name("bomb.png"), photo.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    bomb.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    return {"cut": cut, "bomb": bomb}


def test_the_middle_square_is_read_upright(tmp_path):
    turned = Image.fromarray(np.repeat(np.array([[0], [255]], np.uint8), 3, 1).repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "turned.png", exif=exif)
    pixels = read_photo(str(tmp_path / "turned.png"), 8)
    assert pixels.shape == (8, 8, 3) and pixels[0].min() == 255 and pixels[-1].max() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "nn"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "nn: standard output: No space left on device\n"
