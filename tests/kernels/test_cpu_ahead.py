"""Compiling ahead: what a rehearsal notes, processes that help and those that do not, what a user sees of it."""

import os
import pty
import re
import select
import subprocess
import sys
import termios

import numpy as np
import pytest

from ltbc.kernels import adadelta
from ltbc.kernels.cpu.threads import rehearsal, rehearsing
from ltbc.nn import Adadelta, Network
from tests import ROOT
from tests.tools import helpers

PROGRAM = """
import numpy as np
from numba.core import event
from ltbc.kernels import adadelta, color, dispatch
from ltbc.kernels.cpu import ahead as module

def passes():
    p = np.ones((4, 99), np.float32)
    adadelta.step(*p, backend="cpu")
    rgb = color.decode(np.zeros((1, 2, 2, 1), np.float32), np.ones((1, 2, 2, 2), np.float32), "yuv", backend="cpu")
    total = np.ones((1, 2, 2, 3), np.float32)
    dispatch.add(total, total.copy(), "cpu")
    return p[0, 0], rgb.sum(), total.sum()

module.cores = lambda: {cores}
{change}
with event.install_recorder("numba:compile") as first:
    dispatch.compile_ahead(passes, "cpu")
with event.install_recorder("numba:compile") as second:
    result = passes()
kernels = [[e.data["dispatcher"].py_func.__name__ for _, e in r.buffer if e.is_start] for r in (first, second)]
print(*result, *(sum(name in ("update", "decode_rows", "add_rows") for name in names) for names in kernels))
"""


def run(cache, cores=2, change="", **how):
    program = PROGRAM.format(cores=cores, change=change)
    environment = os.environ | {"LTBC_CACHE": str(cache), "LTBC_THREADS": "1"}
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, text=True, **how)


def results(found):
    """(what the passes gave, kernels compiled here ahead, kernels compiled here when they were called)"""
    assert found.returncode == 0, found.stderr
    *given, ahead, late = found.stdout.split()
    return given, int(ahead), int(late)


def test_other_processes_compile_too(tmp_path):
    """All three kernels are there before they are called; a second program finds them, with the same results."""
    found = run(tmp_path)
    given, ahead, late = results(found)
    assert ahead <= 3 and late == 0 and len(list(tmp_path.iterdir())) == 3
    assert re.fullmatch(r"cpu: compiling 3 kernels for \w+, once: about \d+ seconds\n", found.stderr)
    again = run(tmp_path)
    assert results(again) == (given, 0, 0) and again.stderr == ""


@pytest.mark.parametrize("change", [
    "module.START = 'raise SystemExit'",
    "module.START = 'import os; os.read(0, 1); os.kill(os.getpid(), 9)'",
])
def test_helpers_that_fail_cost_time_only(tmp_path, change):
    given, ahead, late = results(run(tmp_path, cores=3, change=change))
    assert 1 <= ahead and ahead + late == 3 and len(list(tmp_path.iterdir())) == 3
    assert results(run(tmp_path)) == (given, 0, 0)


def test_one_core_or_no_folder(tmp_path):
    """Then this process compiles all of it."""
    (tmp_path / "file").touch()
    for folder, cores in ((tmp_path / "cache", 1), (tmp_path / "file", 4)):
        assert results(run(folder, cores))[1:] == (3, 0)


def test_a_terminal_sees_one_line_that_goes_away(tmp_path):
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 100))
    found = run(tmp_path, stderr=there)
    shown = ""
    while select.select([here], [], [], 1)[0]:  # what was written comes in a moment
        shown += os.read(here, 1 << 16).decode()
    for end in (here, there):
        os.close(end)
    assert found.returncode == 0 and "\n" not in shown
    assert re.search(r"cpu: compiling kernels for \w+, once: \|.*\| \d of 3, .* left", shown)
    assert shown.split("\r")[-1] == "" and not shown.split("\r")[-2].strip()


def test_stderr_may_be_closed(tmp_path):
    """By Python or by whoever started it; or its reader is gone."""
    for i, end in enumerate(("sys.stderr = None", "sys.stderr.close()", "os.close(2)")):
        assert results(run(tmp_path / str(i), cores=1, change=f"import os, sys; {end}"))[2] == 0


def learn(net, rehearse):
    """Bits of what a network gives and becomes over two steps and two sizes."""
    if not rehearse:
        net.compiled.update(("forward", "features", "local", "training"))
    rng, given = np.random.default_rng(0), []
    optimizer = Adadelta(net)
    for size in (32, 32, 40):
        luminance, chroma = rng.random((3, size, size, 1), np.float32), rng.random((3, size // 2, size // 2, 2))
        given += [a.tobytes() for a in net.forward(luminance)]
        losses = net.loss_and_gradients(luminance, chroma.astype(np.float32), np.array([0, 1, 1]))
        given += [net.gradients.flat.tobytes(), *(float(x) for x in losses.values())]
        optimizer.step()
        given += [net.colorize_local(luminance, net.global_features(luminance[:, :32, :32])[0]).tobytes()]
    return given


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rehearsal_changes_nothing(dtype):
    nets = [Network(0.25, 2, 32, backend="cpu", dtype=dtype, micro_batch=1) for _ in range(2)]
    assert learn(nets[0], rehearse=True) == learn(nets[1], rehearse=False)


def test_a_rehearsal_runs_nothing():
    p = np.ones((4, 99), np.float32)
    with rehearsal() as noted:
        adadelta.step(*p, backend="cpu")
    assert (p == 1).all() and [kernel.py_func.__name__ for kernel, _ in noted] == ["update"]
    adadelta.step(*p, backend="cpu")
    assert not (p == 1).all() and noted[0][1] in noted[0][0].overloads


def test_errors_of_a_rehearsal_are_those_of_the_work():
    net = Network(0.125, 2, 32, backend="cpu")
    x, chroma = np.zeros((1, 32, 32, 1), np.float32), np.zeros((1, 16, 16, 2), np.float32)
    for _ in range(2):
        helpers.rejects("network: labels are needed where there is a global branch", ValueError,
                        net.loss_and_gradients, x, chroma)
    assert not rehearsing()
    assert np.isfinite(net.loss_and_gradients(x, chroma, np.zeros(1, np.int64))["total"])
