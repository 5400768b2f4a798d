"""The pytest plugin, and tests over drawn arguments: short reports, seeds, tolerances, a call that can be pasted."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradcheck
from gradcheck import array
from gradcheck.strategies import given_gradients
from tests.gradcheck.pairs import normal, passes, sine

HEAD = """
import numpy as np, pytest
from gradcheck import check_gradients
from gradcheck.strategies import given_gradients
def forward(x, w):
    return np.tanh(x @ w)
def backward(dy, x, w):
    dz = dy * (1 - forward(x, w) ** 2)
    return dz @ w.T, FACTOR * x.T @ dz
"""


def report(tmp_path, source, *options):
    """What pytest prints for a test file of its own."""
    (tmp_path / "test_own.py").write_text(HEAD.replace("FACTOR", "1.001") + source)
    code = [sys.executable, "-m", "pytest", "-q", "-p", "gradcheck.pytest_plugin", "-p", "no:cacheprovider", *options]
    root = str(Path(gradcheck.__file__).parents[1])
    settings = {"cwd": tmp_path, "capture_output": True, "text": True, "env": {"PYTHONPATH": root}}
    done = subprocess.run([*code, "test_own.py"], **settings)
    return done.stdout + done.stderr


ARGUMENTS = '{"x": np.ones((2, 3)), "w": np.arange(12.0).reshape(3, 4) / 9}'


def test_the_report_is_short_and_ends_at_the_users_line(tmp_path):
    said = report(tmp_path, f"\ndef test_own():\n    check_gradients(forward, backward, {ARGUMENTS})\n")
    lines = said[said.index("test_own.py:") :].splitlines()
    assert re.match(r".*test_own.py:\d+: check_gradients\(forward, backward, ", lines[0])
    assert lines[1].startswith("E   GradientError: operation: dw is wrong at") and "1.001 times too large" in lines[1]
    assert len(said.splitlines()) < 10 and "check.py" not in said


def test_other_runners_see_hidden_frames(tmp_path):
    said = report(tmp_path, f"\ndef test_own():\n    check_gradients(forward, backward, {ARGUMENTS})\n",
                  "-p", "no:gradcheck.pytest_plugin")
    assert "gradcheck/check.py" not in said and "GradientError: operation: dw is wrong" in said


def test_marker_seed_and_fixture(tmp_path):
    call = f"check_gradients(forward, backward, {ARGUMENTS})"
    source = f"""
@pytest.mark.gradcheck(tolerance=1e-2)
def test_marked(): {call}
def test_fixture(gradcheck_defaults):
    with gradcheck_defaults(tolerance=1e-2): {call}
def test_wrong(): {call}
def test_seed():
    from gradcheck.defaults import current
    assert current["seed"] == 7
"""
    assert "1 failed, 3 passed" in report(tmp_path, source, "--strict-markers", "--gradcheck-seed", "7")


def test_a_failure_of_drawn_arguments_is_small_and_can_be_pasted(tmp_path):
    drawn = '@given_gradients(x="N C", w="C D", _values=["normal"])'
    source = f"\n{drawn}\ndef test_own(check):\n    check(forward, backward)\n"
    said = report(tmp_path, source)
    call = re.search(r"check_gradients\(forward, backward, (\{.*?\})\)", said)
    assert call, said
    assert "Traceback" not in said and len(said.splitlines()) < 10
    given = eval(call[1], {"array": array})
    assert given["x"].shape == (1, 1) and given["w"].shape == (1, 1)
    names: dict = {"array": array}
    exec(HEAD.replace("FACTOR", "1.001"), names)
    with pytest.raises(gradcheck.GradientError, match="dw is wrong"):
        exec(call[0], names)


def test_drawn_arguments_that_prove_nothing_are_drawn_again_and_a_test_of_nothing_else_fails(tmp_path):
    source = """
from hypothesis import settings
few = settings(max_examples=5, deadline=None)
def rough(x):
    return np.sin(1e17 * x)
@given_gradients(x="N", _values=["large", "normal"], _dtypes=["float64"], _settings=few)
def test_somewhere_rough(check):
    check(lambda x: np.where(np.abs(x) > 5, rough(x), x), lambda dy, x: dy)
@given_gradients(x="N", _smallest=1, _dtypes=["float64"], _settings=few)
def test_rough(check):
    check(rough, lambda dy, x: dy, directions=1)
"""
    said = report(tmp_path, source)
    assert "1 failed, 1 passed" in said and "test_rough" in said.split("short test summary")[1], said


seen: set = set()


@given_gradients(x="N C", w="C 2*D", b="2*D", _largest=3)
def test_drawn_arguments(check):
    x = check.arguments["x"]
    seen.update([x.dtype.name, ("empty", x.size == 0), *(m["layout"] for m in check.made.values())])
    seen.update(m["values"] for m in check.made.values())
    assert check.arguments["w"].shape[1] == 2 * check.sizes["D"]
    check(lambda x, w, b: x @ w + b, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, dy.sum(0)))


def test_drawn_arguments_are_of_all_kinds():
    test_drawn_arguments()
    assert {"float64", "float32", "bfloat16", ("empty", True), "reversed", "ties", "zeros"} <= seen


@given_gradients(x="N", _bounds={"x": (0.1, 1)}, _dtypes=["float64"])
def test_bounded(check):
    assert ((check.arguments["x"] > 0.1) & (check.arguments["x"] < 1)).all()
    check(np.log, lambda dy, x: dy / x)


@given_gradients(x="N C", w="C D", _values=["normal"], _smallest=1)
def test_adjoint(check):
    check.adjoint(lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy), linear_in=["x", "w"])


def test_a_test_needs_check():
    with pytest.raises(TypeError, match="takes an argument `check`"):
        given_gradients(x="N")(lambda x: None)


def test_defaults():
    with gradcheck.defaults(tolerance=1e-2):
        passes(np.sin, lambda dy, x: 1.001 * sine(dy, x), normal(4))
    with pytest.raises(ValueError, match="no default for steps; there are seed, tolerance"):
        gradcheck.defaults(steps=1).__enter__()


def test_made_arrays():
    assert array((2, 3), seed=1).tolist() == array((2, 3), seed=1).tolist()
    assert np.abs(array((50,), values="uneven")).min() < 1e-4 and (array((50,), values="zeros") == 0).any()
    assert array((3,), dtype="bfloat16", layout="reversed").dtype.name == "bfloat16"
    with pytest.raises(ValueError, match="values must be one of normal, ties"):
        array((3,), values="big")
