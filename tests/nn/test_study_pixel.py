"""`ltbc study`: a pixel of any map is written out in the page, from numbers that are the network's; fingers scroll."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from ltbc.nn import Network
from ltbc.nn.__main__ import main
from ltbc.nn.study import page_values
from ltbc.nn.study.answers import explain
from ltbc.nn.study.contributions import contributions, size
from ltbc.nn.study.options import read_photo
from ltbc.nn.study.page import signed
from ltbc.nn.study.recording import RecordingNetwork
from tests.tools.browser import CHROMIUM, DRIVER, NEEDS_BROWSER, browser

needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NEEDS_BROWSER)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """{kind: page}, and the folder with photo.png and the weights."""
    folder = tmp_path_factory.mktemp("pixel")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((80, 80), Image.Resampling.BICUBIC).save(folder / "photo.png")
    for kind, side in (("global", 32), ("local", 0)):
        net = Network(width=1 / 16, classes=2 if side else (), global_size=side, seed=4, init="he-whole")
        net.save(folder / f"{kind}.safetensors")
        study(folder, kind)
    return folder


def study(folder, kind):
    main(["study", str(folder / "photo.png"), "--weights", str(folder / f"{kind}.safetensors"), "--backend",
          "reference", "--out", str(folder / f"{kind}.html")])


def data_of(folder, kind):
    return json.loads(re.search(r"const data = (.*);\n", (folder / f"{kind}.html").read_text()).group(1))


def recorded(folder, kind):
    net = RecordingNetwork.load(folder / f"{kind}.safetensors")
    net.record(read_photo(str(folder / "photo.png"), net.settings.global_size or 224), 0, gradient=False)
    return net


@needs_browser
@pytest.mark.parametrize("kind", ["global", "local"])
def test_the_sums_are_those_of_explain(made, kind):
    data, net, rng = data_of(made, kind), recorded(made, kind), np.random.default_rng(1)
    assert data["left_out"] == [] and (made / f"{kind}.html").stat().st_size < 5e6
    seen = 0
    with browser() as chromium:
        chromium.open(made / f"{kind}.html")
        for layer in data["layers"]:
            for _ in range(4 if layer["channels"] else 0):
                i, j, k = (int(rng.integers(n)) for n in (*layer["shape"][:2], len(layer["channels"])))
                answer = explain(net, layer["name"], (i, j, layer["channels"][k][0]))
                z, groups, y = chromium.run(
                    f"const l = byName['{layer['name']}'], found = contributions(l, {k}, {i}, {j});"
                    f"const z = found.reduce((s, g) => s + g.sum, data.values[l.name].b[{k}]);"
                    f"return [z, found.length, stored(l.name, {i}, {j}, l.channels[{k}][0])]")
                products = np.concatenate([t.a * t.b for t in answer.terms])
                size = np.sqrt((products**2).sum()) + abs(answer.bias)
                assert z == pytest.approx(products.sum() + answer.bias, abs=4e-3 * size + 1e-6), layer["name"]
                assert groups == sum(t.a.size and len(set(map(t.element, range(t.a.size)))) for t in answer.terms)
                assert y == pytest.approx(answer.stored, rel=2e-3, abs=1e-6)
                seen += products.any()
    assert seen > 20


@needs_browser
def test_a_pixel_is_chosen_by_pointer_and_keys_and_leads_on(made):
    with browser() as chromium:
        chromium.open(made / "global.html")
        x, y, side = chromium.run("document.getElementById('layer-color.0').click();"
                                  "const m = document.querySelector('#detail .map'); m.scrollIntoView();"
                                  "const b = m.getBoundingClientRect(); return [b.left, b.top, b.width]")
        chromium.move(x + 0.6 * side, y + 0.3 * side)
        assert chromium.run("return document.getElementById('hover').innerText").startswith("color.0[1, 2, ")
        chromium.drag((x + 0.6 * side, y + 0.3 * side), (x + 0.6 * side, y + 0.3 * side))
        title = "return document.querySelector('#pixel h3').innerText"
        assert "row 1, column 2" in chromium.run(title)
        chromium.run("document.querySelector('#detail .map').focus()")
        chromium.key("ArrowDown")
        assert "row 2, column 2" in chromium.run(title)
        assert "Why: kernels/conv3x3/README.md, equation (1)" in chromium.run("return document.body.innerText")
        chromium.run("document.getElementById('layer-color.1').click(); choose(byName['color.1'], 0, 3, 5);"
                     "document.querySelector('#pixel button.go').click()")
        assert re.match(r"color\.0, channel \d+, row [12], column [23]", chromium.run(title))
        chromium.run("document.getElementById('follow').click()")
        assert chromium.run(title).startswith("color.4, channel 0, row 8, column 8")
        assert chromium.errors() == []


def test_gradients_stand_beside_maps_and_where_they_meet(made):
    data = data_of(made, "global")
    for layer in data["layers"]:
        if layer["channels"]:
            sizes = [Image.open(io.BytesIO(base64.b64decode(layer[kind].partition(",")[2]))).size
                     for kind in ("maps", "gradients")]
            assert sizes[0] == sizes[1]
    net = Network.load(made / "global.safetensors")
    pixels, label = read_photo(str(made / "photo.png"), 32), net.settings.classes.index(data["label"])
    found = contributions(net, pixels, label)
    assert data["forks"].keys() == found.chroma.forks.keys() and len(data["forks"]) == 4
    for name, (of_color, of_scene) in data["forks"].items():
        assert (of_color, of_scene) == pytest.approx((size(found.chroma.forks[name]), size(found.classes.forks[name])))
    assert "forks" not in data_of(made, "local")


def test_signed_maps_are_grey_at_0_and_orange_above():
    colors = signed(np.array([[0.0, 2.0, -2.0, 1.0]]))[0]
    assert np.ptp(colors[0]) == 0 and colors[1, 0] > colors[1, 2] and colors[2, 2] > colors[2, 0]
    assert np.allclose(colors[3], (colors[0] + colors[1]) / 2)


@needs_browser
def test_a_finger_on_the_output_scrolls_the_page(made):
    with browser(390, 844) as chromium:
        chromium.open(made / "global.html")
        chromium.command("Emulation.setTouchEmulationEnabled", {"enabled": True})
        x, y = chromium.run("output.scrollIntoView({block: 'center'}); const b = output.getBoundingClientRect();"
                            "return [b.left + b.width / 2, b.top + b.height / 2]")
        before = chromium.run("return scrollY")
        for kind, moved in (("touchStart", 0), *(("touchMove", d) for d in range(10, 210, 10)), ("touchEnd", None)):
            points = [] if moved is None else [{"x": x, "y": y - moved}]
            chromium.command("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        chromium.wait(f"return scrollY > {before + 100}", 10)


@needs_browser
@pytest.mark.parametrize("kind, stops, width", [("global", 10, 390), ("local", 7, 1280)])
def test_the_walk_goes_through_the_network_and_ends(made, kind, stops, width):
    with browser(width, 844) as chromium:
        chromium.open(made / f"{kind}.html")
        chromium.run("document.getElementById('walk').click()")
        seen = []
        for k in range(stops):
            seen.append(chromium.run("return document.getElementById('stop-title').innerText"))
            top, bottom, card = chromium.run(
                "const b = document.querySelector('.here').getBoundingClientRect();"
                "return [b.top, b.bottom, document.getElementById('stop').getBoundingClientRect().top]")
            assert -20 < top < card and bottom > 0, seen  # what is spoken of can be seen above the card
            assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
            chromium.key("ArrowRight") if k % 2 else chromium.run("document.getElementById('after').click()")
        assert seen[0] == f"1 of {stops}: A grey picture" and seen[-1] == f"{stops} of {stops}: Colors"
        assert len(set(seen)) == stops and chromium.run("return document.getElementById('stop').hidden")
        assert chromium.errors() == []


@needs_browser
def test_what_was_left_out_is_said(made, monkeypatch):
    monkeypatch.setattr(page_values, "ROOM", (made / "global.html").stat().st_size - 60_000)
    study(made, "global")
    left_out = data_of(made, "global")["left_out"]
    assert 0 < len(left_out) < 16
    with browser() as chromium:
        chromium.open(made / "global.html")
        text = chromium.run(f"open(byName['{left_out[0]}']); choose(byName['{left_out[0]}'], 0, 0, 0);"
                            "return document.body.innerText")
        assert "Left out, to keep this page below 5 MB" in text and "The filters of this layer were left out" in text
        assert chromium.errors() == []
    monkeypatch.undo()
    study(made, "global")
