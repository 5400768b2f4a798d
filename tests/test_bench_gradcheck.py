"""Gradient checkers held against each other: the corpus, what a verdict is, and what a table makes of verdicts."""

import importlib.util

import numpy as np
import pytest

from bench import BenchError
from bench.__main__ import main
from bench.gradients import cases, measure, tools
from bench.gradients.functions import Calls, Function
from bench.gradients.measure import measured, row, verdict
from bench.gradients.table import tables

CASES = list(cases())
SMALL = [case for case in CASES if case.size <= 1000]


def named(name):
    return next(case for case in CASES if case.name == name)


def test_the_corpus():
    """Every pair can be called; a right one's gradients have their arguments' form."""
    distinct = {(case.entry, case.fault) for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(not fault for _, fault in distinct) >= 100 and sum(bool(fault) for _, fault in distinct) >= 200
    assert {case.size for case in CASES} == {0, 10, 1000, 10**5, 10**6, 10**7}
    for case in SMALL:
        function = Function(case.pair(), Calls())
        y, back = function.run(*function.leaves)
        assert function.calls.n == 1 and all(np.isfinite(a).all() for a in y), case.name
        if not case.fault:
            dy = [np.ones_like(a) for a in y]
            assert [g.shape for g in back(dy)] == [x.shape for x in function.leaves], case.name


def test_pairs_are_made_anew():
    """No verdict depends on the one before it: a pair that was used leaves the next one as it was."""

    def gradients(case, times):
        function = Function(case.pair(), Calls())
        for _ in range(times):
            y, back = function.run(*function.leaves)
            found = [np.array(g) for g in back([np.ones_like(a) for a in y])]
        return found

    for case in (case for case in SMALL if case.entry.endswith("state")):
        first = gradients(case, 1)
        gradients(case, 3)
        assert all(np.array_equal(a, b) for a, b in zip(first, gradients(case, 1))), case.name


def of(tool, name):
    found = verdict(tool, named(name), 20)
    return found["mark"], found["rounds"]


@pytest.mark.parametrize("tool, calls", [
    ("chainer's method", 3), ("scipy", 11), ("scipy random", 2), ("torch fast", None), ("torch slow", None),
])
def test_checkers_tell_right_from_wrong(tool, calls):
    mark, n = of(tool, "tanh, 10")
    assert mark == "passed" and (n > 2 if calls is None else n in (calls, calls + 1))
    for name in ("tanh: takes x for y, 10", "layer: tanh's derivative forgotten", "two results: ignores the second",
                 "tanh layer with cache: tanh's derivative forgotten", "list of weights: one of them is zeros"):
        assert of(tool, name)[0] == "alarm", name
    for name in ("layer", "list of weights", "tanh layer with cache", "two results", "keyword arguments"):
        assert of(tool, name)[0] == "passed", name
    assert of(tool, "cholesky along symmetric matrices")[0] == "cannot"


def test_conventions_of_complex_numbers_are_translated():
    for name in ("complex product", "complex product as in jax"):
        assert of("torch slow", name)[0] == "passed"
    assert of("torch slow", "complex product: not conjugated")[0] == "alarm"
    assert of("scipy", "complex product") == ("cannot", 0)


def planted(monkeypatch, check):
    monkeypatch.setitem(tools.TOOLS, "chainer's method", tools.Tool(check, "numpy"))
    monkeypatch.setitem(tools.TOOLS, "ours", tools.Tool(check, "numpy"))


def test_verdicts(monkeypatch):
    def says(error):
        def check(pair, calls):
            calls.n = 7
            raise error

        planted(monkeypatch, check)
        return [verdict(tool, CASES[0], 5) for tool in ("ours", "chainer's method")]

    class GradientError(AssertionError):
        pass

    assert [found["mark"] for found in says(GradientError("dx is\n wrong"))] == ["alarm", "alarm"]
    assert [found["mark"] for found in says(TypeError("no"))] == ["crashed", "alarm"]
    assert [found["mark"] for found in says(MemoryError())] == ["late", "late"]
    ours, _ = says(GradientError("dx is\n wrong"))
    assert ours["note"] == "GradientError: dx is wrong" and ours["rounds"] == 7 and ours["size"] == 20_000

    def endless(pair, calls):
        while True:
            try:
                calls.n += 1
            except Exception:
                pass

    planted(monkeypatch, endless)
    assert verdict("ours", CASES[0], 0.2)["mark"] == "late"


def test_a_process_that_ends_is_late_and_the_next_goes_on(monkeypatch, tmp_path):
    program = tmp_path / "killed"
    program.write_text('#!/bin/sh\necho \'{"mark": "passed"}\'\nkill -9 $$\n')
    program.chmod(0o755)
    monkeypatch.setattr(measure.sys, "executable", str(program))
    found = list(measured("ours", 10, 1, "gelu"))
    assert [row["mark"] for row in found] == ["passed", "late", "passed", "late", "passed"]
    assert found[1]["op"] == "gelu" and found[1]["work"] == "derivative of the GELU with erf"
    program.write_text("#!/bin/sh\necho 'ImportError: no such thing' >&2\nexit 1\n")
    with pytest.raises(BenchError, match="ours: ImportError: no such thing"):
        list(measured("ours", 10, 1, "gelu"))


def test_the_command(capsys, monkeypatch, tmp_path):
    table = tmp_path / "gradcheck.csv"
    options = ["--largest", "10", "--csv", str(table)]
    assert main(["gradcheck", "--tools", "chainer's method", "--only", "gelu", *options]) == 0
    out = capsys.readouterr().out
    assert "| chainer's method | 3 of 3 | 3 | 0 of 2 | 0 | 0 |" in out and "| up to 99 | chainer's method |" in out
    assert main(["report", str(tmp_path)]) == 0
    assert "| chainer's method | 3 of 3 | 3 | 0 of 2 | 0 | 0 |" in (tmp_path / "gradcheck.md").read_text()
    assert main(["gradcheck", "--tools", "scipy", "--only", "no such pair"]) == 2
    assert "no pair has 'no such pair' in its name" in capsys.readouterr().err
    monkeypatch.setattr(tools, "find_spec", lambda name: None if name == "jax" else importlib.util.find_spec(name))
    assert main(["gradcheck", "--tools", "jax"]) == 2
    assert "jax: left out, is not installed; pip install jax" in capsys.readouterr().out


def verdicts(tool, marks, size=10, seconds=1.0):
    """Rows of an entry, right first, from "passed", "alarm" ...; calls are 3, 4, 5, ..."""
    entry = named("tanh, 10")
    return [row(tool, entry._replace(fault=f"fault {i}" if i else "", size=size)) | {
        "mark": mark, "rounds": 3 + i, "p50": seconds} for i, mark in enumerate(marks)]


def test_the_table():
    rows = verdicts("ours", ["passed", "alarm", "passed", "crashed"])
    rows += verdicts("ours", ["alarm", "alarm", "late", "cannot"], 10**7, 2.5)
    rows += verdicts("other", ["alarm", "alarm", "alarm", "passed"], seconds=0.004)
    assert tables(rows) == [
        "| checker | wrong ones found | told from the right one | right ones accused | cannot | not in time |",
        "| --- | --- | --- | --- | --- | --- |",
        "| ours | 2 of 4 | 1 | 1 of 2 | 1 | 1 |",
        "| other | 2 of 3 | 0 | 1 of 1 | 0 | 0 |",
        "",
        "| elements | checker | found | accused | calls: right, wrong | CPU seconds: right, wrong |",
        "| --- | --- | --- | --- | --- | --- |",
        "| up to 99 | ours | 1 of 3 | 0 of 1 | 3, 5 | 1.00 s, 1.00 s |",
        "| up to 99 | other | 2 of 3 | 1 of 1 | 3, 5 | 4.00 ms, 4.00 ms |",
        "| 10 million | ours | 1 of 1 | 1 of 1 | 3, 4 | 2.50 s, 2.50 s |",
        "",
        "Found by another checker and not by ours: tanh: fault 2 (10).",
        "Accused by ours: tanh (10000000).",
    ]
    assert tables(verdicts("ours", ["passed"]))[-2:] == [
        "Found by another checker and not by ours: none.", "Accused by ours: none."]
