"""`ltbc study`: the page holds the network's numbers, and works in a real browser without network or server."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbc.__main__ import main as ltbc_main
from ltbc.kernels import color
from ltbc.nn import Network
from ltbc.nn.__main__ import main
from ltbc.nn.study import explain
from ltbc.nn.study import page as study_page
from ltbc.nn.study.options import read_photo
from ltbc.nn.weights import RELEASED
from tests.tools.browser import CHROMIUM, DRIVER, NEEDS_BROWSER, browser

needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NEEDS_BROWSER)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{kind: (page, data)}, for a network with and one without global branch, and the folder."""
    folder, made = tmp_path_factory.mktemp("study"), {}
    rows, columns = np.mgrid[:80, :90]
    for name, blue in (("photo.png", 40), ("<script>.png", 200)):
        pixels = np.stack([3 * rows % 256, 2 * columns, blue + 0 * rows], -1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    other = str(folder / "<script>.png")
    for kind, side, more in (("global", 64, ["--style", other]), ("local", 0, [])):
        weights, page = folder / f"{kind}.safetensors", folder / f"{kind}.html"
        Network(width=1 / 16, classes=("coast", "<b>wood") if side else (), global_size=side, seed=3).save(weights)
        photo = str(folder / "photo.png") if side else other
        main(["study", photo, "--weights", str(weights), "--out", str(page), "--backend", "reference", *more])
        text = page.read_text()
        made[kind] = page, json.loads(re.search(r"const data = (.*);\n", text).group(1))
    return folder, made


def test_the_page_needs_nothing_else(pages):
    for page, _ in pages[1].values():
        text = page.read_text()
        assert not re.search(r"(src|href)=.?https?:|@import|url\(http|fetch\(|XMLHttpRequest", text)
        assert page.stat().st_size < 5e6


def test_the_numbers_are_the_networks(pages):
    folder, made = pages
    data = made["global"][1]
    net = Network.load(folder / "global.safetensors")
    assert sum(layer["parameters"] for layer in data["layers"]) == sum(w.size for w in net.parameters.views.values())
    luminance, _ = color.encode(read_photo(str(folder / "photo.png"), 64)[None])
    _, logits = net.forward(luminance)
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert [row[0] for row in data["classes"]] == [net.settings.classes[k] for k in np.argsort(-p)]
    assert np.allclose([row[1] for row in data["classes"]], sorted(p, reverse=True))
    assert len(data["outputs"]) == 5 and 0 < data["fusion"]["mean"] < 1
    assert all(layer["forward"] > 0 and layer["backward"] > 0 for layer in data["layers"])
    assert "fusion" not in made["local"][1] and len(made["local"][1]["outputs"]) == 3


@needs_browser
@pytest.mark.parametrize("width, height", [(1280, 900), (390, 844)])
@pytest.mark.parametrize("kind", ["global", "local"])
def test_in_a_browser(pages, kind, width, height):
    page, data = pages[1][kind]
    with browser(width, height) as chromium:
        chromium.open(page)
        assert float(chromium.run("return document.body.dataset.ready")) < 2000
        assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
        for layer in data["layers"]:
            shown = chromium.run(f"document.getElementById('layer-{layer['name']}').click();"
                                 "return document.getElementById('detail').innerText")
            assert shown.startswith(layer["name"]) and f"{layer['parameters']:,}" in shown
        links = chromium.run("return document.querySelectorAll('#links > path').length")
        assert links == (3 if kind == "global" else 0)
        x, y, side = chromium.run("output.scrollIntoView(); const b = output.getBoundingClientRect();"
                                  "return [b.left, b.top, b.width]")
        chromium.move(x + 0.3 * side, y + 0.7 * side)
        half = data["side"] // 2
        assert chromium.run("return at") == [int(0.7 * half), int(0.3 * half)]
        chromium.run("output.focus()")
        chromium.key("ArrowUp")
        chromium.key("ArrowRight")
        assert chromium.run("return at") == [int(0.7 * half) - 1, int(0.3 * half) + 1]
        assert f"Output pixel ({int(0.7 * half) - 1}, " in chromium.run("return document.body.innerText")
        assert chromium.run("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert chromium.errors() == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_dark_and_light(pages, dark):
    with browser(dark=dark) as chromium:
        chromium.open(pages[1]["global"][0])
        paper = chromium.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == dark


@needs_browser
def test_the_receptive_field_is_what_the_pixel_depends_on(pages):
    folder, made = pages
    page, data = made["local"]
    side, rng = data["side"], np.random.default_rng(0)
    net = Network.load(folder / "local.safetensors", dtype="float64")
    luminance = rng.uniform(-1, 1, (1, side, side, 1))
    usual, _ = net.forward(luminance)
    with browser() as chromium:
        chromium.open(page)
        for i, j in ((0, 0), (50, 61), (111, 40)):
            (top, bottom), (left, right), _ = chromium.run(f"return fields({i}, {j}).photo")
            outside = np.ones((side, side), bool)
            outside[top : bottom + 1, left : right + 1] = False
            changed, _ = net.forward(luminance + outside[None, :, :, None])
            assert np.array_equal(changed[0, i, j], usual[0, i, j])
            for row, column in ((slice(top, top + 9), slice(None)), (slice(None), slice(right - 8, right + 1))):
                moved = luminance.copy()
                moved[0, row, column] += 10
                assert not np.array_equal(net.forward(moved)[0][0, i, j], usual[0, i, j])


@needs_browser
@pytest.mark.parametrize("name, words", [
    ("old photo's $HOME.png", ["--weights", "net of 'mine'.safetensors", "--label", "<b>wood"]),
    ("-x.png", ["--weights", "net of 'mine'.safetensors"]),
    ("plain.png", ["--untrained"]),
])
def test_the_commands_that_the_page_shows_run_as_they_stand(pages, tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study_page, "RUNS", 1)
    monkeypatch.setattr(explain, "kinds", lambda: [("reference", "float32")])
    Path(name).write_bytes((pages[0] / "photo.png").read_bytes())
    Path("net of 'mine'.safetensors").write_bytes((pages[0] / "global.safetensors").read_bytes())
    main(["study", "--out", "page.html", "--backend", "reference", *words, "--", name])
    capsys.readouterr()
    with browser() as chromium:
        chromium.open(tmp_path / "page.html")
        text = chromium.run("return document.body.innerText")
        said = "An untrained network. Its weights were just drawn" in text
        assert said == ("--untrained" in words) and ("an untrained network's colors" in text) == said
        layers = ("low.1",) if said else ("color.3", "global_fc.1")
        commands = [chromium.run(f"document.getElementById('layer-{layer}').click();"
                                 "return document.querySelector('#detail code').innerText") for layer in layers]
    for command in commands:
        program, *arguments = shlex.split(command)  # as a shell reads it
        assert program == "ltbc" and name in command.replace("'\"'\"'", "'")
        with pytest.raises(SystemExit) as left:
            ltbc_main(arguments)
        shown = capsys.readouterr()
        assert left.value.code == 0 and "equal but for rounding" in shown.out, shown.err


def test_without_weights_the_released_ones_are_shown(pages, tmp_path):
    main(["study", str(pages[0] / "photo.png"), "--out", str(tmp_path / "page.html"), "--backend", "reference"])
    data = json.loads(re.search(r"const data = (.*);\n", (tmp_path / "page.html").read_text()).group(1))
    classes = Network.load(RELEASED).settings.classes
    assert data["trained"] and data["guessed"] and data["label"] == data["classes"][0][0] in classes
    assert "the network's colors" in data["outputs"] and data["words"] == f"--photo {pages[0] / 'photo.png'}"


def test_errors_are_one_line(pages, capsys):
    folder, _ = pages
    photo, weights = str(folder / "photo.png"), str(folder / "local.safetensors")
    out = str(folder / "out.html")
    for words, message in (
        ([photo, "--out", out, "--weights", weights, "--style", photo], "--style: this network has no global branch"),
        (["missing.png", "--out", out, "--weights", weights], "missing.png: No such file or directory"),
        ([photo, "--out", str(folder / "no" / "out.html"), "--weights", weights], "No such file or directory"),
        ([weights, "--out", out, "--weights", weights], "not a picture that can be read"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["study", *words, "--backend", "reference"])  # which tells of no compiling
        assert left.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (folder / "out.html").exists()
