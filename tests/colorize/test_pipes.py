"""Names that no terminal can show, names that look like patterns, the longest ones, standard input and output."""

import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from ltbc.colorize import Colorizer
from ltbc.colorize.picture import from_array
from ltbc.colorize.quiet import decoders_silent
from ltbc.nn import WeightsError
from ltbc.program import printable
from tests import ROOT
from tests.tools import colorize_call
from tests.tools.colorize_call import files
from tests.tools.drawn import draw
from tests.tools.picture_files import grey, network

call, weights = colorize_call.call, colorize_call.weights  # fixtures
ODD = (b"bad\xff.png", b"new\nline.png", b"tab\t.png", b"esc\x1b[31m.png", "é\u2028.png".encode())


def program(*arguments, **environment):
    command = [sys.executable, "-m", "ltbc", "colorize", *arguments, "--backend", "reference"]
    return subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment)


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_names_are_one_printable_line(tmp_path, weights, locale):
    (tmp_path / "in").mkdir()
    for name in ODD:
        draw(0, 20, 16).save(tmp_path / "in" / os.fsdecode(name))
    (tmp_path / "in" / os.fsdecode(b"no\xfe\npicture.png")).write_bytes(b"text")
    done = program(tmp_path / "in", "--out", tmp_path / "out", "--weights", weights, LC_ALL=locale, PYTHONUTF8="0",
                   PYTHONCOERCECLOCALE="0")
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert set(os.listdir(os.fsencode(tmp_path / "out"))) == set(ODD)
    *lines, last = done.stdout.decode("utf-8" if "UTF" in locale else "ascii").splitlines()
    assert last == "5 colored, 0 skipped, 1 failed" and len(lines) == 5
    assert all(line.isprintable() and " -> " in line for line in lines)
    (failed,) = [line for line in done.stderr.decode().splitlines() if line.startswith("colorize: ")]
    assert failed.isprintable() and "no\\udcfe\\npicture.png: not a picture" in failed


def test_what_is_printable_stays():
    assert printable("Zoë 東京 a\\b") == "Zoë 東京 a\\b" and printable("a\nb\r\x1b\x7f\x9b") == r"a\nb\r\x1b\x7f\x9b"
    assert printable(os.fsdecode(b"\xff")) == r"\udcff"

    class Ascii:
        encoding = "ascii"

    assert printable("é", Ascii) == r"\xe9"


def test_files_that_look_like_patterns_are_files(call):
    for name in ("photo[1].png", "star*.png", "what?.png", "photo1.png"):
        draw(0, 20, 16).save(name)
    assert call("photo[1].png", "--out", "one.png")[0] == 0
    assert call("photo[1].png", "star*.png", "what?.png", "--out", "out")[0] == 0
    assert files("out") == ["photo[1].png", "star*.png", "what?.png"]
    assert call("photo[12].png", "--out", "two/")[0] == 0 and files("two") == ["photo1.png"]


@pytest.mark.parametrize("length", [244, 250, 255])
def test_the_longest_names(call, length):
    for name in ("x" * (length - 4) + ".png", ("é" * 200).encode()[: 2 * (length // 2 - 4)].decode() + ".png"):
        draw(0, 20, 16).save(name)
        for suffix in (".png", ".tif"):
            code, _, err = call(name, "--out", "out/", "--suffix", suffix)
            assert (code, err) == (0, "") and name[:-4] + suffix in files("out")


def test_standard_input_and_output(tmp_path, weights):
    image = BytesIO()
    draw(0, 40, 30).save(image, "PNG")
    command = [sys.executable, "-m", "ltbc", "colorize", "--weights", weights, "--backend", "reference", "-", "--out"]

    def run(*words, data=None):
        return subprocess.run([*command, *words], input=data or image.getvalue(), capture_output=True, cwd=tmp_path,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})

    done = run("-")
    assert done.returncode == 0 and b"standard input -> standard output.png: 40 x 30" in done.stderr
    want = np.asarray(Colorizer(weights, "reference")(draw(0, 40, 30)))
    assert np.array_equal(np.asarray(Image.open(BytesIO(done.stdout))), want)
    assert Image.open(BytesIO(run("-", "--suffix", ".tif").stdout)).format == "TIFF"
    done = run("file.png")
    assert done.stdout.startswith(b"standard input -> file.png: 40 x 30") and (tmp_path / "file.png").exists()
    done = run("-", data=b"text")
    assert (done.returncode, done.stdout) == (1, b"") and b"colorize: standard input: not a picture" in done.stderr
    done = program(tmp_path / "file.png", "other.png", "--out", "-", "--weights", weights)
    assert done.returncode == 1 and b"one photograph goes to standard output, not several" in done.stderr


def test_decoders_do_not_write_on_the_terminal(tmp_path, weights):
    """libtiff says of such a file that it lacks the compression."""
    tifffile.imwrite(tmp_path / "in.tif", np.dstack([grey()] * 3), photometric="rgb", compression="webp")
    done = program(tmp_path / "in.tif", "--out", tmp_path / "out.tif", "--weights", weights)
    assert done.returncode == 0 and done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"reference: ")


def test_silence_ends(capfd):
    with decoders_silent(), decoders_silent():
        os.write(2, b"hidden")
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


# the Python interface


@pytest.mark.parametrize("options, error, message", [
    ({"max_memory": "1G"}, TypeError, "max_memory must be a number of bytes, as 1 << 30, got '1G'"),
    ({"max_memory": -1}, ValueError, "max_memory must be a number of bytes"),
    ({"render_size": "100"}, TypeError, "render_size must be a whole number of pixels, at least 1, or 'full'"),
    ({"render_size": 1.5}, ValueError, "render_size must be a whole number"),
    ({"render_size": True}, TypeError, "render_size must be a whole number"),
    ({"weights": 3}, TypeError, "weights must be a path or a Network, got int"),
])
def test_parameters_that_cannot_be(options, error, message):
    with pytest.raises(error, match=f"^colorize: {message}"):
        Colorizer(**({"weights": network()} | options))


@pytest.mark.parametrize("options, error", [
    ({"saturation": float("inf")}, ValueError), ({"saturation": "1"}, TypeError), ({"saturation": None}, TypeError),
    ({"blend": 1.5}, ValueError), ({"blend": "x"}, TypeError), ({"blend": float("nan")}, ValueError),
])
def test_options_that_cannot_be(options, error):
    with pytest.raises(error, match=f"^colorize: {[*options][0]} must be "):
        Colorizer(network())(grey(), **options)


def test_arrays_of_any_byte_order_and_no_truth_values():
    codes = grey(np.uint16)
    assert np.array_equal(from_array(codes.astype(">u2")).luminance, from_array(codes).luminance)
    with pytest.raises(TypeError, match="an array must be uint8, uint16 or float, got bool"):
        Colorizer(network())(grey() > 9)
    with pytest.raises(ValueError, match="an image must have pixels, got 0 x 5"):
        Colorizer(network())(Image.new("L", (0, 5)))


def test_a_backend_that_lacks_its_package_says_so(monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ValueError, match="the backend gpu cannot run here .*: pip install 'let-there-be-color.gpu.'"):
        Colorizer(weights, "gpu")


def test_weights_that_may_not_be_read_say_so(monkeypatch, weights):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(WeightsError, match="tiny.safetensors: cannot be read .Permission denied."):
        Colorizer(weights, "reference")
