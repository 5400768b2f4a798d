"""`make gpu`'s own program on a machine without a GPU: its checks under Triton's interpreter, on small inputs, and that
what it is there to find shows; its scheduling with programs that break."""

import json
import sys
import time

import numpy as np
import pytest

from tests.tools.interpreter import watched  # isort: skip (first: it sets TRITON_INTERPRET)
from ltbc.kernels.gpu import launch
from tests.on_gpu import __main__ as program
from tests.on_gpu import layers, network, operations, worker
from tests.on_gpu.device import guarded

TILE = {"BLOCK_P": 32, "BLOCK_O": 16, "BLOCK_C": 16, "BLOCK_G": 16, "BLOCK_N": 16, "BLOCK": 256}
LARGEST = {"conv3x3": 300, "upsample2x_conv3x3": 300, "linear": 5000}  # elements: what is interpreted in a second or so
QUICK = [k for k, u in enumerate(operations.units()) if (u.arithmetic, u.path) == ("bfloat16", "boxes")]


def lines(file):
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in found if line["state"] != "started"]


def test_units_are_every_operation_in_every_dtype_on_every_path():
    units = operations.units()
    assert len(units) == len(set(units))
    for op in operations.OPERATIONS:
        assert {u.arithmetic for u in units if u.op == op} >= {"bfloat16", "float16", "float32"}
        assert len(operations.LAYER_SIZES.get(op, operations.POINTWISE_SIZES.get(op))) >= 3
    assert {u.path for u in units if u.op == "conv3x3"} == set(operations.PATHS)


@pytest.mark.parametrize("number", QUICK, ids=lambda k: operations.units()[k].op)
def test_operations(number, tmp_path):
    op = operations.units()[number].op
    with watched(**TILE):
        assert worker.run(str(number), tmp_path / "found", largest=LARGEST.get(op, 1000)) == 0
    found = lines(tmp_path / "found")
    assert found and not [line for line in found if line["state"] != "passed"], found


def test_network(tmp_path, monkeypatch):
    quick = network.forward_replayed, network.launches_of_a_step
    monkeypatch.setattr(network, "CHECKS", [(check, network.SMALL) for check in quick])
    with watched(**TILE | {"BLOCK_P": 64}):
        worker.run("network", tmp_path / "found", tiny=True)
    assert [line["state"] for line in lines(tmp_path / "found")] == ["passed"] * len(quick), lines(tmp_path / "found")


@pytest.mark.slow
def test_the_other_checks_of_the_network(tmp_path):
    with watched(**TILE | {"BLOCK_P": 64}):
        worker.run("network", tmp_path / "found", tiny=True)
    assert not [line for line in lines(tmp_path / "found") if line["state"] != "passed"]


def test_layers_repeated(tmp_path):
    with watched():
        worker.run("layers", tmp_path / "found", tiny=True)
    found = lines(tmp_path / "found")
    assert len(found) == 3 and not [line for line in found if line["state"] != "passed"], found


def test_a_layer_that_differs_once_is_found(monkeypatch):
    real, calls = layers.run, []

    def once(case, y, backend):
        found = real(case, y, backend)
        calls.append(backend)
        if len(calls) == 2:
            found["dw"].reshape(-1)[5] += 1e-3
        return found

    monkeypatch.setattr(layers, "run", once)
    with watched(), pytest.raises(AssertionError, match="dw: run 2 differs from the first in [1-4] bytes"):
        next(check for what, check in layers.checks(layers.TINY) if what.startswith("low.0"))()


def test_the_largest_layer_comes_first():
    whats = [what for what, _ in layers.checks(layers.FULL)]
    assert whats[0] == "mid.0, batch 128, 50 times" and len(whats) == len(set(whats)) > 20


ALARM = "========= Invalid __shared__ ? of size 2048 bytes\n=========     at 0x2570 in forward_kernel\n"


@pytest.mark.parametrize("status, text, state", [
    (0, "========= ERROR SUMMARY: 0 errors", "passed"), (124, "", "not finished"), (9, ALARM, "passed"),
    (9, ALARM + "========= Invalid __global__ read of size 4 bytes\n========= ERROR SUMMARY: 2 errors", "failed"),
    (9, "========= ERROR SUMMARY: 1 error", "failed"), (1, "Traceback", "failed"),
    (9, "========= Error: Race reported between Write access at 0x1 and Read access\n", "failed"),
    (9, ALARM + "========= Error: Race reported between Write access at 0x1 and Read access\n", "failed"),
])
def test_what_sanitizers_say(status, text, state):
    assert program.verdict(status, text)[0] == state


def test_what_is_not_finished_has_not_failed(tmp_path):
    folder = program.Folder(tmp_path, time.perf_counter() + 60)
    line = {"unit": "u", "number": "1", "what": "w", "found": "f"}
    folder.line(line | {"check": 0, "state": "passed"})
    assert program.summary(folder)[1] == 0
    folder.line(line | {"check": 1, "state": "started"})
    text, status = program.summary(folder)
    assert status == 3 and "1 passed, 0 failed, 1 not finished" in text and "not finished: w" in text
    folder.line(line | {"check": 2, "state": "failed"})
    assert program.summary(folder)[1] == 1


def test_a_write_beside_an_array_is_found():
    with watched():
        with pytest.raises(AssertionError, match=r"beside an array of shape \[3\], bytes .* after: \[4\]"):
            with guarded() as guards:
                a = launch.empty((3,), np.float32)
                raw, _, end, _ = guards.made[-1]
                assert np.isnan(a).all()
                raw[end + 4] = 0


def test_a_wrong_result_is_reported_with_its_place_and_the_rest_goes_on(tmp_path, monkeypatch):
    number = str(next(k for k in QUICK if operations.units()[k].op == "chroma_loss"))
    from ltbc.kernels.chroma_loss import gpu

    right, calls = gpu.value_and_gradient, []

    def wrong(*args, **kwargs):
        loss, dy = right(*args, **kwargs)
        calls.append(dy)
        if len(calls) == 1:
            dy[0, 1, 2, 0] += 1
        return loss, dy

    monkeypatch.setattr(gpu, "value_and_gradient", wrong)
    with watched(**TILE):
        worker.run(number, tmp_path / "found", largest=1000)
    first, *others = lines(tmp_path / "found")
    assert first["state"] == "failed" and "dy" in first["found"] and "[0, 1, 2, 0]" in first["found"], first
    assert others and {line["state"] for line in others} == {"passed"}


BREAKS = """
import json, os, sys
name, file, skip = sys.argv[1], sys.argv[2], int(sys.argv[4])
for k in range(skip, 4):
    line = {"unit": "u", "number": name, "check": k, "what": f"check {k}"}
    print(json.dumps(line | {"state": "started"}), file=open(file, "a"))
    if k == 1: os.abort()
    if k == 2: sys.exit(3) if print(json.dumps(line | {"state": "error", "found": "illegal address"}),
                                    file=open(file, "a")) is None else 0
    print(json.dumps(line | {"state": "passed", "found": ""}), file=open(file, "a"))
"""


def test_a_process_that_breaks_costs_one_check(tmp_path, monkeypatch):
    (tmp_path / "breaks.py").write_text(BREAKS)
    folder = program.Folder(tmp_path / "out", time.perf_counter() + 60)
    run = folder.program
    monkeypatch.setattr(folder, "program", lambda *c, seconds: run(c[0], str(tmp_path / "breaks.py"), *c[3:],
                                                                   seconds=seconds))
    program.unit(folder, folder.end, "7")
    assert [line["state"] for line in folder.lines()] == ["passed", "error", "error", "passed"]
    text, status = program.summary(folder)
    assert status == 1 and "2 passed, 2 failed" in text and "error: check 2: illegal address" in text
    assert "the process ended with -6" in text


def test_a_program_that_hangs_is_ended_and_its_words_are_kept(tmp_path):
    folder = program.Folder(tmp_path, time.perf_counter() + 60)
    code = "import time; print('so far', flush=True); time.sleep(60)"
    status, text = folder.program(sys.executable, "-c", code, seconds=3.0)
    assert (status, text) == (124, "so far\n") and "[exit status 124" in (tmp_path / "log.txt").read_text()


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(program, "NEEDED", ("numpy",))
    monkeypatch.setattr(program, "smi", lambda field: "")
    assert program.main([]) == 2 and "nvidia-smi names no GPU here" in capsys.readouterr().err
    monkeypatch.setattr(program, "NEEDED", ("numpy", "no_such_package"))
    assert program.main([]) == 2 and "this Python lacks no_such_package" in capsys.readouterr().err
