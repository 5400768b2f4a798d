"""`ltbc serve` in a real browser: what a user does there, and that nothing is sent anywhere or kept."""

import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import ltbc.colorize.__main__ as program
from ltbc.colorize import serve
from tests import ROOT
from tests.tools import axe
from tests.tools.browser import CHROMIUM, DRIVER, NEEDS_BROWSER, browser
from tests.tools.drawn import draw
from tests.tools.picture_files import grey, network, rich_exif

SERVER = """
import sys
def watch(event, arguments):
    host = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0] if event == "socket.connect" else None
    if host and host not in ("127.0.0.1", "localhost", b"127.0.0.1", b"localhost"):
        print("LEFT THE MACHINE", event, arguments, file=sys.stderr, flush=True)
sys.addaudithook(watch)
from ltbc.colorize.__main__ import main
sys.exit(main(["serve", *sys.argv[1:]]))
"""
NEEDS_GRADIO = "the page of `colorize serve` needs Gradio: pip install 'let-there-be-color[serve]'"
needs_page = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and find_spec("gradio")), reason=NEEDS_BROWSER if find_spec("gradio") else NEEDS_GRADIO
)
BOTH_SHOWN = """const images = [...document.querySelectorAll("#slider img")];
return images.length == 2 && images.every(i => i.complete && i.naturalWidth > 0) && images.map(i => i.src)"""
SPREAD = """const i = document.querySelectorAll("#slider img")[1], c = document.createElement("canvas");
if (!i || !i.complete || !i.naturalWidth) return null;
c.width = i.naturalWidth; c.height = i.naturalHeight; const g = c.getContext("2d"); g.drawImage(i, 0, 0);
const p = g.getImageData(0, 0, c.width, c.height).data; let most = 0;
for (let k = 0; k < p.length; k += 4)
  most = Math.max(most, Math.max(p[k], p[k+1], p[k+2]) - Math.min(p[k], p[k+1], p[k+2]));
return [i.src, most]"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, its folder of temporary files, weights)"""
    folder = tmp_path_factory.mktemp("server")
    weights = folder / "tiny.safetensors"
    network().save(weights)
    (folder / "tmp").mkdir()
    command = [sys.executable, "-c", SERVER, "--weights", weights, "--backend", "reference", "--max-upload", "200K",
               "--max-megapixels", "1"]
    with open(folder / "log", "w") as log:
        started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
                                   env=os.environ | {"TMPDIR": str(folder / "tmp")})
    try:
        line = started.stdout.readline()
        assert "(nothing leaves this machine; Ctrl-C ends it)" in line, (folder / "log").read_text()
        yield line.split()[0], folder / "tmp", weights
    finally:
        started.send_signal(signal.SIGTERM)
        assert started.wait(30) == 0
    assert not list((folder / "tmp").glob("colorize-*")), "all files are gone"
    log = (folder / "log").read_text()
    assert "LEFT THE MACHINE" not in log and "Traceback" not in log, log


@pytest.fixture
def photographs(tmp_path):
    """Paths of a JPEG with EXIF, a PNG of 16 bits and a TIFF."""
    draw(0, 60, 40).save(tmp_path / "harbor.jpg", exif=rich_exif())
    Image.fromarray(grey(np.uint16, 30, 50)).save(tmp_path / "deep.png")
    draw(2, 40, 40).save(tmp_path / "field.tif")
    return [tmp_path / name for name in ("harbor.jpg", "deep.png", "field.tif")]


@contextmanager
def page(address, downloads=None, **size):
    with browser(**size) as chromium:
        if downloads:
            chromium.command("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        chromium.open(address)
        chromium.wait("return !!document.querySelector('#drop input[type=file]')")
        yield chromium
        foreign = [url for url in chromium.requests() if not url.startswith((address, "data:", "blob:", "chrome:"))]
        assert not foreign, "the page asks nobody else"


def downloaded(path, seconds=30):
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    return path.read_bytes()


def pages_of(folder):
    return list(folder.glob("colorize-*/page-*"))


def gone(folder, seconds=30):
    """Whether what closed pages held is deleted in time."""
    end = time.monotonic() + seconds
    while pages_of(folder) and time.monotonic() < end:
        time.sleep(0.1)
    kept = [path for path in folder.glob("colorize-*/*/*") if path.is_file() and path.parent.name != "examples"]
    return not pages_of(folder) and not kept


@needs_page
@pytest.mark.parametrize("width, height", [(1280, 900), (390, 844)])
def test_upload_compare_and_download(server, photographs, tmp_path, width, height):
    address, folder, weights = server
    with page(address, tmp_path / "down", width=width, height=height) as chromium:
        chromium.upload("#drop input[type=file]", *photographs)
        chromium.wait(BOTH_SHOWN)
        assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
        chromium.wait("return document.querySelectorAll('#photos img').length == 3")
        seen = chromium.wait("return document.querySelector('#scenes')?.innerText")
        assert all(name in seen for name in ("coast", "field", "town")) and "%" in seen
        # the slider between grey and color
        place = "const r = document.querySelector('#slider .inner').getBoundingClientRect();return r.left + r.width / 2"
        chromium.run("document.querySelector('#slider').scrollIntoView({block: 'center'})")
        x, y = chromium.run("const r = document.querySelector('#slider .inner').getBoundingClientRect();"
                            "return [r.left + r.width / 2, r.top + r.height / 2]")
        chromium.drag((x, y), (x - 60, y))
        assert abs(chromium.run(place) - (x - 60)) < 20
        # what is downloaded is what the command line makes
        for i, (photo, kind, end) in enumerate(zip(photographs, ("PNG", "TIFF", "JPEG"), (".png", ".tif", ".jpg"))):
            chromium.run(f"document.querySelectorAll('#photos button.thumbnail-item')[{i}].click()")
            chromium.run(f"document.querySelector('#kind input[value={kind}]').click()")
            chromium.wait(f"return document.querySelector('#one').innerText == 'Download {kind}'")
            chromium.wait(f"return document.querySelector('#caption').innerText.includes('{photo.name}')")
            chromium.run("document.querySelector('#one').click()")
            ours = tmp_path / f"want{end}"
            words = [photo, "--out", ours, "--weights", weights, "--backend", "reference", "--force"]
            assert program.main([*map(str, words)]) == 0
            assert downloaded(tmp_path / "down" / f"{photo.stem}-color{end}") == ours.read_bytes()
        chromium.run("document.querySelector('#all').click()")
        downloaded(tmp_path / "down" / "colored.zip")
        archive = zipfile.ZipFile(tmp_path / "down" / "colored.zip")
        assert archive.namelist() == ["harbor-color.jpg", "deep-color.jpg", "field-color.jpg", "notes.csv"]
        notes = archive.read("notes.csv").decode("utf-8-sig")
        assert "deep.png,deep-color.jpg" in notes and "JPEG holds 8 bits a channel, fewer than the input had" in notes
        assert "JPEG holds 8 bits" in chromium.wait("return document.querySelector('#notes table')?.innerText")
    assert gone(folder)


@needs_page
def test_settings_and_style_change_the_picture(server, photographs):
    address, folder, _ = server
    with page(address) as chromium:
        chromium.wait("return document.querySelectorAll('#examples button.thumbnail-item').length > 3")
        chromium.run("document.querySelectorAll('#examples button.thumbnail-item')[3].click()")
        chromium.wait(BOTH_SHOWN)
        before = chromium.wait(SPREAD)
        assert before[1] > 20, "there is color"
        changed = lambda: chromium.wait(f"const now = (() => {{ {SPREAD} }})();"  # noqa: E731
                                        f"return now && now[0] != '{before[0]}' && now")
        chromium.run("document.querySelectorAll('#render input')[0].click()")
        before = changed()
        chromium.run("document.querySelector('#style-part button').click()")
        chromium.wait("return !!document.querySelector('#style input[type=file]')")
        chromium.upload("#style input[type=file]", photographs[0])
        before = changed()
        place = "const r = document.querySelector('#saturation input[type=range]');r.scrollIntoView({block: 'center'});"
        left, middle, y = chromium.run(place + "const b = r.getBoundingClientRect();"
                                       "return [b.left, b.left + b.width / 2, b.top + b.height / 2]")
        chromium.drag((middle, y), (left - 5, y))
        assert changed()[1] <= 12, "saturation 0 is grey, up to what the shown file's compression does"
    assert gone(folder)


@needs_page
def test_what_cannot_be_taken_is_told_on_the_page(server, photographs, tmp_path):
    address, folder, _ = server
    whole = photographs[0].read_bytes()
    (tmp_path / "broken<b>.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (2000, 1000)).save(tmp_path / "large.png")
    (tmp_path / "heavy.jpg").write_bytes(bytes(300_000))
    with page(address) as chromium:
        chromium.upload("#drop input[type=file]", tmp_path / "broken<b>.jpg", tmp_path / "large.png", photographs[2])
        chromium.wait("return !!document.querySelector('#problems')")
        told = chromium.run("return document.querySelector('#problems').innerText").splitlines()
        assert told[0].startswith("broken") and "jpg: damaged or cut off (" in told[0] and len(told) == 2
        assert told[1] == ("large.png: 2000 x 1000 pixels, more than the 1 megapixels that this page takes "
                           "(--max-megapixels)")
        chromium.wait(BOTH_SHOWN)  # the good one among them
        chromium.upload("#drop input[type=file]", tmp_path / "heavy.jpg", photographs[0])
        chromium.wait("return document.querySelectorAll('#photos img').length == 2")
        assert chromium.run("return document.querySelector('#problems').innerText") == (
            "heavy.jpg: exceeds the size of 0.195 MiB that this page takes (--max-upload)")
        assert not list(folder.rglob("heavy.jpg"))
    assert gone(folder)


@needs_page
def test_one_photograph_twice_and_by_two_people(server, photographs, tmp_path):
    address, folder, _ = server
    (tmp_path / "again").mkdir()
    twin = tmp_path / "again" / "harbor.jpg"
    twin.write_bytes(photographs[0].read_bytes())
    with page(address, tmp_path / "down") as one:
        with page(address) as other:
            one.upload("#drop input[type=file]", photographs[0], twin)
            other.upload("#drop input[type=file]", twin)
            other.wait(BOTH_SHOWN)
        one.wait(BOTH_SHOWN)
        one.wait("return document.querySelectorAll('#photos img').length == 2")
        one.upload("#drop input[type=file]", twin)
        one.wait("return document.querySelectorAll('#photos img').length == 3")
        assert not one.run("return document.querySelector('#problems')?.innerText"), "no problem is told"
        one.run("document.querySelector('#one').click()")
        assert downloaded(tmp_path / "down" / "harbor-color.png"), "though the other one has left"
    assert gone(folder)


@needs_page
@pytest.mark.parametrize("dark", [False, True])
def test_by_keyboard_with_names_and_colors_of_one_s_own(server, photographs, dark):
    address, folder, _ = server
    with page(address, dark=dark, width=390 if dark else 1280) as chromium:
        leave = """const e = new Event("beforeunload", {cancelable: true}); dispatchEvent(e);
            return e.defaultPrevented"""
        chromium.upload("#drop input[type=file]", *photographs)
        before = chromium.wait(BOTH_SHOWN)
        assert chromium.run(leave), "who leaves with photographs is asked"
        chromium.wait("return document.querySelectorAll('#photos img').length == 3")
        names = chromium.run("return [...document.querySelectorAll('#photos button, #slider img')]"
                             ".map(e => e.ariaLabel || e.alt)")
        assert names[:4] == ["field.tif, grey", "field.tif, in color", "Show harbor.jpg", "Remove harbor.jpg"]
        # the line between grey and color
        place = "return parseFloat(document.querySelector('#slider .compare').style.getPropertyValue('--at'))"
        chromium.run("document.querySelector('#slider input[type=range]').focus()")
        assert chromium.run(place) == 50
        chromium.key("ArrowLeft")
        assert chromium.run(place) == 49
        # a color of one's own, by the keyboard
        chromium.run("document.querySelector('#slider .swatch').click()")
        chromium.key("ArrowRight")
        chromium.key("ArrowDown")
        chromium.run("document.activeElement.click()")
        changed = f"const now = (() => {{ {BOTH_SHOWN} }})(); return now && now[1] != '%s' && now"
        hinted = chromium.wait(changed % before[1])
        name = chromium.wait("return document.querySelector('.mark')?.ariaLabel")
        assert name == "Remove the color #c68863, 51 percent from the left, 51 percent from the top"
        if axe.SCRIPT.is_file():
            chromium.run("document.querySelector('#style-part button').click()")
            chromium.run("document.querySelector('#kind input[value=JPEG]').click()")
            chromium.wait("return !!document.querySelector('#quality input') && "
                          "!!document.querySelector('#style input[type=file]')")
            assert axe.findings(chromium) == []
        chromium.run("document.querySelector('#slider .undo').click()")
        chromium.wait(changed % hinted[1])
        chromium.wait("return document.querySelectorAll('.mark').length == 0")
        # photographs that are not wanted
        chromium.run("document.querySelector('#photos button.remove').click()")
        chromium.wait("return document.querySelectorAll('#photos img').length == 2")
        for left in ("deep.png", None):
            chromium.run("document.querySelector('#slider .remove').click()")
            chromium.wait(f"return document.querySelector('#caption').innerText.includes('{left}')" if left else
                          "return document.querySelector('#slider .result').hidden")
        assert not chromium.run(leave), "without photographs nobody is"
    assert gone(folder)
    if not axe.SCRIPT.is_file():
        pytest.skip(axe.NEEDS_AXE)


@needs_page
def test_before_and_after_in_one_file(server, photographs, tmp_path):
    address, folder, _ = server
    with page(address, tmp_path / "down") as chromium:
        chromium.upload("#drop input[type=file]", photographs[0])
        chromium.wait(BOTH_SHOWN)
        for button in ("side", "page"):
            chromium.run(f"document.querySelector('#{button}').click()")
            downloaded(tmp_path / "down" / f"harbor-before-after.{'png' if button == 'side' else 'html'}")
    assert gone(folder)
    with Image.open(tmp_path / "down" / "harbor-before-after.png") as image:
        assert image.size == (60 + 1 + 60, 40) and image.getexif()[0x13B], "with the photograph's author"
        left, right = (np.asarray(image).astype(int)[:, part] for part in (slice(60), slice(61, None)))
    assert np.ptp(left, axis=-1).max() == 0 and np.ptp(right, axis=-1).max() > 20
    with browser() as chromium:
        chromium.open(tmp_path / "down" / "harbor-before-after.html")
        chromium.wait("return [...document.images].every(i => i.complete && i.naturalWidth == 60)")
        chromium.run("document.querySelector('input').focus()")
        chromium.key("ArrowRight")
        assert chromium.run("return document.querySelector('.compare').style.getPropertyValue('--at')") == "51%"
        assert all(url.startswith(("file:", "data:", "chrome:")) for url in chromium.requests())
        assert "Colors estimated by a neural network" in chromium.run("return document.body.innerText")
        if axe.SCRIPT.is_file():
            assert axe.findings(chromium) == []


@needs_page
def test_two_users_at_once(server, photographs):
    address, folder, _ = server
    with page(address) as one, page(address, width=390, height=844) as other:
        one.upload("#drop input[type=file]", photographs[0])
        other.upload("#drop input[type=file]", photographs[2])
        shown = [chromium.wait(BOTH_SHOWN) for chromium in (one, other)]
        assert not set(shown[0]) & set(shown[1]) and len(pages_of(folder)) == 2
        for chromium, name in ((one, "harbor.jpg"), (other, "field.tif")):
            assert name in chromium.wait("return document.querySelector('#caption')?.innerText")
            assert chromium.run("return document.querySelectorAll('#photos img').length") == 0, "one has no strip"
    assert gone(folder)


@pytest.mark.skipif(not find_spec("gradio"), reason=NEEDS_GRADIO)
def test_a_port_that_is_taken_is_told(tmp_path):
    network().save(tmp_path / "tiny.safetensors")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = subprocess.run([sys.executable, "-m", "colorize", "serve", "--weights", tmp_path / "tiny.safetensors",
                                "--port", str(port)], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.endswith(f"\ncolorize: the page cannot be opened (is port {port} free? Without --port, a free "
                                 "one is found)\n")


def test_without_gradio_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(serve, "find_spec", lambda _: None)
    assert program.main(["serve"]) == 1
    wanted = "colorize: the page needs the package gradio: pip install 'let-there-be-color[serve]'\n"
    assert capsys.readouterr().err == wanted


@pytest.mark.parametrize("option", [("--port", "0"), ("--port", "70000"), ("--max-upload", "x"),
                                    ("--max-megapixels", "0")])
def test_a_wrong_option_is_told(option, capsys):
    with pytest.raises(SystemExit) as left:
        program.main(["serve", *option])
    assert left.value.code == 2 and f"argument {option[0]}" in capsys.readouterr().err


def test_the_rest_does_not_import_gradio():
    code = "import sys, ltbc.colorize.__main__; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
