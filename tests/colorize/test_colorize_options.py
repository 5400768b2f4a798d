"""The options of the command line: what each does, what is told where they are wrong."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from ltbc.colorize import files, images, options
from ltbc.nn import Network
from tests.tools import colorize_call
from tests.tools.colorize_call import photographs
from tests.tools.drawn import draw
from tests.tools.picture_files import luminance

call, weights = colorize_call.call, colorize_call.weights  # fixtures


@pytest.mark.parametrize("arguments", [
    ("--saturation", "-1"), ("--saturation", "nan"), ("--saturation", "much"), ("--top", "0"), ("--render-size", "0"),
    ("--render-size", "big"), ("--max-memory", "2GB"), ("--max-memory", "0"), ("--blend", "1.5"),
    ("--suffix", ".gif"), ("--backend", "magic"),
])
def test_a_wrong_option_is_told_with_exit_code_2(call, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        call("a.png", "--out", "out.png", *arguments)
    assert caught.value.code == 2 and f"argument {arguments[0]}" in capsys.readouterr().err


def test_a_backend_that_cannot_run_is_one_line(call, monkeypatch):
    photographs("a.png")

    def fail(*_, **__):
        raise ModuleNotFoundError("No module named 'cupy'")

    monkeypatch.setattr(options, "Colorizer", fail)
    code, _, err = call("a.png", "--out", "out.png", "--backend", "gpu")
    wanted = "the backend gpu cannot run here (No module named 'cupy'); try --backend reference"
    assert (code, err) == (1, f"colorize: {wanted}\n")


def test_options(call, tmp_path):
    photographs("a.png", "style.jpg")
    assert call("a.png", "--out", "plain.png")[0] == 0
    assert call("a.png", "--out", "style.png", "--style", "style.jpg")[0] == 0
    assert call("a.png", "--out", "small.png", "--render-size", "8")[0] == 0
    assert call("a.png", "--out", "full.png", "--render-size", "full", "--backend", "reference")[0] == 0
    assert call("a.png", "--out", "grey.png", "--saturation", "0")[0] == 0
    plain, style, small, full, grey = (
        np.asarray(Image.open(f"{name}.png")).astype(int) for name in ("plain", "style", "small", "full", "grey")
    )
    assert np.array_equal(plain, full) and np.ptp(grey, -1).max() <= 1 < np.ptp(plain, -1).max()
    assert not np.array_equal(plain, style) and not np.array_equal(plain, small)
    code, out, _ = call("a.png", "--out", "top.png", "--top", "2")
    (seen,) = re.findall(r"  seen: (\w+) ([\d.]+)%, (\w+) ([\d.]+)%", out)
    assert {seen[0], seen[2]} < {"coast", "field", "town"} and float(seen[1]) >= float(seen[3])
    code, _, err = call("a.png", "--out", "x.png", "--style", "missing.png")
    assert code == 1 and err == "colorize: missing.png: No such file or directory\n"
    Network(width=1 / 32, classes=2, global_size=0).save("plain.safetensors")
    for option in (("--style", "style.jpg"), ("--top", "3")):
        code, _, err = call("a.png", "--out", "x.png", *option, weights="plain.safetensors")
        assert code == 1 and err == f"colorize: {option[0]}: these weights have no global branch, which it needs\n"


def test_a_limit_of_memory_that_is_too_low_is_one_line(call, monkeypatch):
    draw(0, 300, 200).save("a.png")
    full = ("a.png", "--out", "out.png", "--render-size", "full", "--max-memory", "1M")
    code, _, err = call(*full)
    assert code == 1 and re.fullmatch(
        r"colorize: a\.png: 300 x 200 pixels of 8 bits may take [\d.]+[MG] of memory, over the limit of 1M; raise "
        r"--max-memory, or make it smaller\n", err)
    monkeypatch.setattr(files, "check_memory", lambda *_: None)  # the picture would fit, but not the network's tiles
    code, _, err = call(*full)
    assert code == 1 and re.fullmatch(
        r"colorize: a\.png: not enough memory for 300 x 200 pixels \(the limit of 1M is too low, at least [\d.]+[MG] "
        r"are needed\); raise --max-memory, close other programs, or make it smaller\n", err)
    monkeypatch.undo()


def test_memory_that_a_picture_may_take_is_read_from_its_header(tmp_path):
    image = draw(0, 30, 20)
    image.save(tmp_path / "rgb.png")
    image.convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(np.zeros((20, 30), np.uint16)).save(tmp_path / "deep.png")
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((20, 30, 3), np.uint16), photometric="rgb")
    (tmp_path / "text.png").write_text("text")
    for name, want in (("rgb.png", 8), ("rgba.png", 24), ("deep.png", 16), ("deep.tif", 16), ("text.png", 0)):
        assert images.most_memory(tmp_path / name)[1] == 600 * want, name
    for name, target, want in (("rgb.png", "a.png", 7), ("rgb.png", "a.jpg", 14), ("rgb.png", "a.webp", 39),
                               ("rgba.png", "a.tif", 15), ("deep.tif", "a.tif", 10)):
        most = images.most_memory(tmp_path / name, tmp_path / target)[1]
        assert most == 600 * want + images.IN_THREADS, (name, target)


def test_preview_is_one_labelled_sheet(call):
    draw(0, 200, 100).save("a.png")
    code, out, err = call("a.png", "--out", "sheet.png", "--preview")
    assert (code, out, err) == (0, "a.png -> sheet.png: preview\n", "")
    pixels = np.asarray(Image.open("sheet.png"))
    assert pixels.shape == (3 * (100 + 24 + 8) + 8, 4 * 258 + 8, 3)
    tile = lambda row, column: pixels[32 + 132 * row :, 8 + 258 * column :][:100, :200].astype(int)  # noqa: E731
    spread = [np.ptp(tile(1, column), -1).mean() for column in range(4)]
    assert spread == sorted(spread) and spread[0] > 0
    assert not np.array_equal(tile(0, 1), tile(2, 1)), "render sizes differ"
    assert np.abs(luminance(tile(1, 1) / 255) - luminance(np.asarray(Image.open("a.png")) / 255)).max() * 255 < 0.65
    assert call("a.png", "--out", "own.png", "--render-size", "96", "--saturation", "1.4")[0] == 0
    assert np.array_equal(np.asarray(Image.open("own.png")), tile(1, 2)), "the label tells the options"
