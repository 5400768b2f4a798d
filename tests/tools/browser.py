"""A headless Chromium, driven over chromedriver's HTTP interface (W3C WebDriver) with the standard library alone."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NEEDS_BROWSER = "pages in a browser need Chromium: apt-get install chromium chromium-driver"
TEXT = "return document.body.innerText"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


class Browser:
    """A session of chromedriver at `url`."""

    def __init__(self, url: str, width: int, height: int, dark: bool) -> None:
        options = {"binary": CHROMIUM, "args": [*OPTIONS, f"--window-size={width},{height}"]}
        if dark:
            options["args"].append("--blink-settings=preferredColorScheme=0")
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.base, self.width, self.height = url, width, height
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base = f"{url}/session/{session['sessionId']}"
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", metrics)

    def call(self, method: str, path: str, body: dict | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def command(self, name: str, parameters: dict) -> Any:
        """A command of Chromium's own protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, page: Path | str) -> None:
        """A file, or an address."""
        self.call("POST", "/url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """The value that the script returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def wait(self, script: str, seconds: float = 60) -> Any:
        """What the script returns as soon as that is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"{script} is still {value!r}; the page says: {self.run(TEXT)}")
            time.sleep(0.1)
        return value

    def upload(self, selector: str, *paths: Path) -> None:
        """These files into an input for files."""
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        text = "\n".join(str(path.resolve()) for path in paths)
        self.call("POST", f"/element/{next(iter(found.values()))}/value", {"text": text})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The pointer, pressed, from one place to another."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            self.command("Input.dispatchMouseEvent", event)
        # a widget may swallow clicks until its timer of 0 ms after a drag has run: no hand is that fast, a script is
        self.run("return new Promise(done => setTimeout(done, 50))")

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        entries = [json.loads(e["message"])["message"] for e in self.call("POST", "/se/log", {"type": "performance"})]
        return [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]

    def move(self, x: float, y: float) -> None:
        """The pointer, in pixels of the window."""
        self.command("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})

    def key(self, name: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", {"type": kind, "key": name, "code": name})

    def errors(self) -> list[str]:
        """What the page wrote to the console as an error or a warning."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        """The whole page."""
        shot = self.command("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Browser]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urlopen(f"http://127.0.0.1:{port}/status", timeout=5).close()
                break
            except URLError:
                time.sleep(0.1)
        page = Browser(f"http://127.0.0.1:{port}", width, height, dark)
        try:
            yield page
        finally:
            page.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(20)
