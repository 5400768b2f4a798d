"""The memory contract: measured in a process of its own, with a limit that is kept and one that cannot be."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ltbc.colorize import Colorizer, memory
from ltbc.nn import Network
from tests import ROOT
from tests.tools.picture_files import grey

PROGRAM = r"""
import re, sys
from pathlib import Path
import numpy as np
from ltbc.colorize import Colorizer, colorizer, memory
from ltbc.nn import Network

room, colorizer.LARGEST_TILE = int(sys.argv[1]), int(sys.argv[2])
photograph = np.random.default_rng(0).integers(0, 256, (2048, 2048), np.uint8)
tiny = Colorizer(Network(1 / 4, global_size=32), render_size="full")
tiny(photograph[:200, :200])
before = memory.resident()
tiny.max_memory = before + room
tiny(photograph)
peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])  # getrusage counts the parent's
print((peak << 10) - before)
"""


def taken(room, largest_tile):
    """Bytes beyond what the process held before it colored a picture of 4.2 megapixels at full size."""
    program = [sys.executable, "-c", PROGRAM, str(room), str(largest_tile)]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux counts it")
def test_the_peak_stays_under_the_limit():
    room = 150 << 20
    assert taken(room, 1536) < room
    assert taken(1 << 40, 4096) > 1.3 * room, "with more room it takes more: the limit is what kept it small"


FILES = r"""
import re, sys
from pathlib import Path
from PIL import Image
from ltbc.colorize import Colorizer, files, images, memory
from ltbc.colorize.paths import Job
from ltbc.nn import Network

source, target = map(Path, sys.argv[1:])
tiny = Colorizer(Network(1 / 32, global_size=32), "reference")
tiny(Image.new("L", (99, 99)))
before = memory.resident()
files.color_file(Job(source, target), tiny, files.Wishes())
peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
print((peak << 10) - before, images.most_memory(source, target)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux counts it")
@pytest.mark.parametrize("mode, source, target", [
    ("RGB", "in.jpg", "out.png"), ("L", "in.jpg", "out.tif"), ("RGB", "in.png", "out.jpg"),
    ("RGBA", "in.png", "out.png"), ("I;16", "in.png", "out.png"),
])
def test_what_a_file_may_take_is_estimated_well(tmp_path, mode, source, target):
    """12 megapixels, in a process of its own: no more than estimated, nor much less."""
    codes = np.random.default_rng(0).normal(grey(np.uint8, 3000, 4000), 3).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(codes.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(codes).convert(mode)
    image.save(tmp_path / source)
    run = subprocess.run([sys.executable, "-c", FILES, tmp_path / source, tmp_path / target], cwd=ROOT,
                         capture_output=True, text=True, check=True)
    taken, estimated = map(int, run.stdout.split())
    assert 0.55 * estimated < taken < 1.05 * estimated


def test_too_low_a_limit_is_told():
    tiny = Colorizer(Network(width=1 / 32, global_size=32), render_size="full", max_memory=1 << 20)
    with pytest.raises(MemoryError, match="^the limit of 1M is too low, at least [0-9.]+[MG] are needed$"):
        tiny(grey(height=300, width=300))


@pytest.mark.parametrize("text, size", [("2G", 2 << 30), ("1.5g", 3 << 29), ("800M", 800 << 20), ("4096", 4096)])
def test_sizes(text, size):
    assert memory.parse(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "nan", "2GB", "much"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError):
        memory.parse(text)


def test_what_the_machine_has(monkeypatch, tmp_path):
    assert 0 < memory.resident() < memory.limit_of_machine()
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.limit_of_machine() - memory.resident() <= 1_600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.container() is None
    assert memory.told(3 << 29) == "1.5G" and memory.told(5 << 20) == "5M" and memory.told(1) == "1M"
