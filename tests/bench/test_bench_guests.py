"""Kernels under `bench kernels --with` that cheat or fall: each is found, in one line with the file's line number."""

import re

import pytest

from bench import BenchError, CheckError
from bench.measure import guest
from bench.measure.cases import cases
from bench.measure.guest import Guest, Turn
from bench.measure.timing import Wall, race
from ltbc.nn import Settings

TINY = Settings(width=0.03, classes=("a", "b", "c"), global_size=16)
WORKS = {"linear": {"forward", "backward"}}
FORWARD, BACKWARD = "linear class.0 forward", "linear class.0 backward"
HONEST_Y, HONEST_DX = "    y = x @ w + b\n", "    return dz @ w.T, x.T @ dz, dz.sum(0)"
EXAMPLE = """import numpy as np

def forward(x, w, b, activation):
    y = x @ w + b
    return np.maximum(y, 0, out=y) if activation == "relu" else y

def backward(dy, x, w, y, activation):
    dz = dy * (y > 0) if activation == "relu" else dy
    return dz @ w.T, x.T @ dz, dz.sum(0)
"""
# what it is, what of the example is replaced by what, which call is blamed, at which text's line, what is said
CHEATS = [
    ("a result in float64", HONEST_Y, "    y = (x @ w + b).astype(float)\n", FORWARD, "def forward",
     r"y is float64\[8, \d+\], wanted float32\[8, \d+\]"),
    ("a result in float16", HONEST_Y, "    y = (x @ w + b).astype(np.float16)\n", FORWARD, "def forward",
     "y is float16"),
    ("products in float16", "x @ w + b", "(x.astype('e') @ w.astype('e') + b).astype('f')", FORWARD, "def forward",
     "y is wrong: relative error .* elements off, the first: .*got"),
    ("the other byte order", HONEST_Y, "    y = (x @ w + b).astype('>f4')\n", FORWARD, "def forward", "y is >f4"),
    ("a result of another shape", HONEST_Y, "    y = (x @ w + b)[None]\n", FORWARD, "def forward",
     r"y is float32\[1, 8"),
    ("a list", "    y = x @ w + b\n", "    return (x @ w + b).tolist()\n", FORWARD, "def forward", "returns 8 results"),
    ("no result", HONEST_Y, "    return None\n", FORWARD, "def forward", "returns 0 results, wanted 1"),
    ("NaN", HONEST_Y, "    y = x @ w + b\n    y[-1, -1] = np.nan\n", FORWARD, "def forward", "y is wrong"),
    ("two of three gradients", HONEST_DX, "    return dz @ w.T, x.T @ dz", BACKWARD, "def backward",
     "returns 2 results, wanted 3: dx float32"),
    ("four gradients", HONEST_DX, HONEST_DX + ", dz", BACKWARD, "def backward", "returns 4 results, wanted 3"),
    ("gradients in another order", HONEST_DX, "    return x.T @ dz, dz @ w.T, dz.sum(0)", BACKWARD, "def backward",
     "dx is float32.* in this order: dx float32"),
    ("one gradient wrong", "dz.sum(0)", "dz.mean(0)", BACKWARD, "def backward", "db is wrong"),
    ("inputs overwritten", HONEST_DX, "    g = dz @ w.T\n    dy[...] = 0\n    return g, x.T @ dz, dz.sum(0)", BACKWARD,
     "def backward", "overwrites its inputs: dy"),
    ("weights overwritten", HONEST_Y, "    y = x @ w + b\n    w *= 2\n", FORWARD, "def forward",
     "overwrites its inputs: w"),
    ("remembered by id", HONEST_Y, "    y = SEEN.setdefault(id(x), x @ w + b).copy()\n", FORWARD, "def forward",
     "y is wrong"),
    ("remembered by a few elements", HONEST_Y,
     "    y = SEEN.setdefault((x.shape, float(x[0, 0]) > 9), x @ w + b).copy()\n", FORWARD, "def forward",
     "y is wrong"),
    ("right at first, zeros later", HONEST_Y,
     "    SEEN[len(SEEN)] = 1\n    y = (x @ w + b) * np.float32(len(SEEN) < 4)\n", FORWARD, "def forward",
     "y is wrong"),
    ("right at first, later only now and then", HONEST_Y,
     "    SEEN[len(SEEN)] = 1\n    y = (x @ w + b) * np.float32(len(SEEN) % 16 == 1)\n", FORWARD, "def forward",
     "y is wrong"),
    ("written when it has long returned", HONEST_Y,
     "    y = np.zeros((len(x), w.shape[1]), 'f')\n    import threading\n"
     "    threading.Timer(0.05, lambda: np.copyto(y, np.maximum(x @ w + b, 0))).start()\n    return y\n", FORWARD,
     "def forward", "y is wrong"),
    ("a clock that stands still", HONEST_Y,
     "    import time, bench.measure.guest_process as process\n    time.sleep(0.05)\n    y = x @ w + b\n"
     "    time.perf_counter = lambda: 0.0\n    process.Host.time = lambda self, f: f() or 0.0\n", FORWARD, "", ""),
    ("sys.exit(0)", HONEST_Y, "    import sys\n    sys.exit(0)\n", FORWARD, "sys.exit", "SystemExit: 0"),
    ("os._exit(0)", HONEST_Y, "    import os\n    os._exit(0)\n", FORWARD, "def forward",
     r"ended the process \(exit status 0\)"),
    ("a segfault", HONEST_Y, "    import ctypes\n    ctypes.string_at(0)\n", FORWARD, "string_at", "killed by SIGSEGV"),
    ("an abort", HONEST_Y, "    import os\n    os.abort()\n", FORWARD, "os.abort", "killed by SIGABRT"),
    ("killed", HONEST_Y, "    import os, signal\n    os.kill(os.getpid(), 9)\n", FORWARD, "def forward",
     r"killed by SIGKILL \(out of memory\?\)"),
    ("an endless loop", HONEST_Y, "    while True:\n        pass\n", FORWARD, "(while True|pass)",
     "did not return within"),
    ("an error", HONEST_Y, "    y = x @ w.T @ undefined\n", FORWARD, "undefined", "ValueError: matmul|NameError"),
    ("Ctrl-C", HONEST_Y, "    raise KeyboardInterrupt\n", FORWARD, "raise Key", "KeyboardInterrupt"),
    ("other arguments", "def forward(x, w, b, activation)", "def forward(x, w, b, act)", FORWARD, "def forward",
     "TypeError: .*activation"),
    ("words on its output", HONEST_Y, "    print('noise')\n    y = x @ w + b\n", FORWARD, "", ""),
]


def blamed(text, path, case_name):
    """What a run of that file says of a case: the error, or nothing."""
    path.write_text("SEEN = {}\n" + text)
    (case,) = [c for c in cases(TINY, 16, 8) if c.name == case_name]
    one, clock = Guest(path), Wall(flushed=False)
    try:
        turn = Turn(one, case, "reference", "float32", clock)
        turn.check()
        found = race({"yours": turn}, 0.0, (5, 5), clock)
        turn.check()
    except CheckError as error:
        return str(error), None
    finally:
        one.stop()
    return "", found.times["yours"].seconds


@pytest.mark.parametrize(
    "old, new, case, line, said", [c[1:] for c in CHEATS], ids=[c[0].replace(" ", "_") for c in CHEATS])
def test_a_kernel_that_cheats_or_falls_is_named_in_one_line(old, new, case, line, said, tmp_path, monkeypatch):
    monkeypatch.setattr(guest, "PATIENCE", 3.0 if "while True" in new else 60.0)
    assert old in EXAMPLE
    text = EXAMPLE.replace(old, new, 1)
    path = tmp_path / "mine.py"
    error, seconds = blamed(text, path, case)
    if not said:  # honest after all, or of no use to it
        assert not error and (seconds > (0.02 if "sleep" in new else 0)).all()
        return
    assert "\n" not in error and (found := re.fullmatch(rf"{re.escape(str(path))}:(\d+): {case}: (.*)", error)), error
    assert re.search(said, found[2]), error
    assert re.search(line, path.read_text().splitlines()[int(found[1]) - 1]), error


FILES = [  # text, what is said
    ("def foward(x, w, b, activation): pass", ":1: foward is no function of linear; did you mean forward"),
    ("x = 1", ":1: has none of linear's functions: backward, forward"),
    ("import nothing_of_the_kind", ":1: ModuleNotFoundError"),
    ("x = 1\ndef forward(x:\n", ":2: SyntaxError"),
    ("\nraise SystemExit", ":2: SystemExit"),
    ("import os\n\nos._exit(3)", r"ended the process \(exit status 3\)"),
]


@pytest.mark.parametrize("text, said", FILES)
def test_a_file_that_gives_nothing_is_named(text, said, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(CheckError, match=said) as found:
        Guest(path).works("linear", WORKS)
    assert "\n" not in str(found.value) and str(found.value).startswith(f"{path}:")


def test_operations_and_near_misses_are_told(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("OP = 'lineal'\ndef forward(): pass\ndef backwards(): pass\n")
    one = Guest(path)
    with pytest.raises(CheckError, match="OP = 'lineal' is no operation; there are linear"):
        one.works(None, WORKS)
    name, works, odd = one.works("linear", WORKS)
    assert (name, works) == ("linear", {"forward"}) and re.search(":3: backwards is no function.*backward", str(odd[0]))
    one.stop()
    with pytest.raises(BenchError, match="no such Python file"):
        guest.check_file(tmp_path / "none.py")
