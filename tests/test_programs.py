"""Every program ends without a traceback at Ctrl-C and at an output that is closed or full: `ltbc.program`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.tools.runs import TINY, load, seven_pictures

FULL = Path("/dev/full")
GUARD = 'if __name__ == "__main__":'
FIRST = rf'^(#!.*\n)?"""(.*?)"""\n(.{{0,99}}\n){{0,6}}from ltbc import program\n\n{GUARD}\n    program\.begin\('
BEGIN = re.compile(FIRST.replace("(.*?)", "((?:.|\n)*?)"))
INTERRUPTED = """
import os, pathlib, signal, time
pathlib.Path(os.environ["MARK"]).touch()
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    raise ImportError("as a module in C would") from None
"""


def find_programs() -> dict[str, list[str]]:
    """The command of every file that is one; of the tests, `make gpu`."""
    found = {}
    for path in sorted((*ROOT.glob("*.py"), *ROOT.glob("[!.]*/**/*.py"))):
        name = path.relative_to(ROOT)
        if len(name.parts) == 2 and name.parts[0] == "lessons" and path.stem[0].isdigit():
            found[path.stem] = [str(path)]
        elif f"\n{GUARD}\n" in path.read_text() and (name.parts[0] != "tests" or name.parts[1] == "on_gpu"):
            module = ".".join(name.with_suffix("").parts).removesuffix(".__main__")
            is_module = path.parent == ROOT or (path.parent / "__init__.py").exists()
            found[module] = [*(["-m", module] if is_module else [str(path)]), "--help"]
    return found | {"ltbc": ["-m", "ltbc", "study", "--help"]}


PROGRAMS = find_programs()
NO_NUMPY = ("lessons", "bench", "bench.measure.memory", "tests.on_gpu", "train.photographs.make_photographs")  # --help
INNER = ("bench.gradients.measure",)  # started by `bench gradients`; its package imports NumPy before it begins
LESSONS = [name for name in PROGRAMS if name[0].isdigit()]


@pytest.fixture(autouse=True)
def interruptible():
    """Also where the tests run in the background of a shell, whose processes begin with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(command, stdout, **environment) -> tuple[int, str]:
    """(status, what it says on stderr)"""
    variables = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "80"} | environment
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=variables, stdout=stdout, stderr=subprocess.PIPE, text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def run_into_closed_pipe(command, **environment) -> tuple[int, str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run(command, writer, **environment)
    finally:
        os.close(writer)


def test_all_programs_are_found():
    assert {"nn", "train", "train.pack", "train.experiments", "colorize", "demo", "bench", "tests.on_gpu",
            "train.photographs.make_photographs"} <= PROGRAMS.keys() and len(LESSONS) == 7


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in (*LESSONS, "ltbc")])  # it imports later
def test_begins_before_the_imports_that_take_long(name):
    path = Path(*name.split("."))
    path = next(p for p in (ROOT / path.with_suffix(".py"), ROOT / path / "__main__.py") if p.exists())
    assert BEGIN.search(path.read_text())


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_output_that_is_closed_ends_it_quietly(name):
    at_once = "1" if name in LESSONS else ""  # not after the lesson
    assert run_into_closed_pipe(PROGRAMS[name], PYTHONUNBUFFERED=at_once) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("name", ["nn", "colorize", "1_convolution", "demo"])
def test_an_output_that_is_full_is_told(name):
    with FULL.open("w") as full:
        status, said = run(PROGRAMS[name], full, PYTHONUNBUFFERED="")
    assert status == 1 and re.fullmatch(r"[\w.]+: standard output: No space left on device\n", said)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_nowhere_and_no_file_takes_their_place(closed):
    """What the program opens next must not get the number 1 or 2, into which libraries write."""
    source = "from ltbc import program; program.begin(); import os; print(1); os.sys.exit(os.open(os.devnull, 0))"
    command = [sys.executable, "-c", source]
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode >= 3 and done.stderr == ""
    assert done.stdout == ("" if ">&-" in closed.split() else "1\n")


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in (*LESSONS, *INNER)])
def test_ctrl_c_while_it_imports_ends_it_quietly(name, tmp_path):
    (tmp_path / "numpy.py").write_text(INTERRUPTED)
    mark = tmp_path / "mark"
    status, said = run(PROGRAMS[name], subprocess.DEVNULL, PYTHONPATH=str(tmp_path), MARK=str(mark))
    assert (status, said) == (-signal.SIGINT if mark.exists() else 0, "")
    assert mark.exists() or name in NO_NUMPY


def test_ctrl_c_while_a_command_imports_is_no_missing_package(tmp_path):
    (tmp_path / "numpy.py").write_text(INTERRUPTED)
    environment = {"PYTHONPATH": str(tmp_path), "MARK": str(tmp_path / "mark")}
    assert run(["-m", "bench", "diff"], subprocess.DEVNULL, **environment) == (-signal.SIGINT, "")


@pytest.mark.parametrize("work", [
    "pool.submit(time.sleep, 10); time.sleep(0.3); os.killpg(0, signal.SIGINT); time.sleep(10)",
    "ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGINT))(); raise RuntimeError('as Numba would')",
])
def test_ctrl_c_is_quiet_in_a_pool_and_in_a_callback(work):
    source = ("from ltbc import program; program.begin(); import concurrent.futures, ctypes, os, signal, time\n"
              f"pool = concurrent.futures.ProcessPoolExecutor(2); {work}")
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, stderr=subprocess.PIPE, text=True,
                          start_new_session=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("streams", [">&-", "2>&-", "| true", "2>&1 | true"])
def test_training_goes_on_without_an_output_that_breaks(streams, tmp_path):
    photos, out = seven_pictures(tmp_path / "photos"), tmp_path / "run"
    command = [sys.executable, "-m", "train", photos, "--out", out, "--steps", "3", *TINY]
    script = f'{{ sleep 0.3; "$@"; echo $? > {tmp_path}/status; }} {streams}'
    done = subprocess.run(["sh", "-c", script, "sh", *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert (tmp_path / "status").read_text() == "0\n" and load(out).progress.step == 3
    wanted = "train: standard output: Broken pipe; goes on without it\n" if streams == "| true" else ""
    assert wanted in done.stderr and "Traceback" not in done.stderr
