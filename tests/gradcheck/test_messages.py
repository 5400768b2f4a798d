"""What messages say: argument, index, values, how many, and a cause where one fits; nonsense gets a line."""

import numpy as np
import pytest

from gradcheck import GradientError, check_gradients
from tests.gradcheck.pairs import arguments, dense, dense_backward, fails, failure, normal, passes, sine


def wrong(change, n=4, c=4, o=4):
    def backward(dy, x, w, b):
        return change(dict(zip("xwb", dense_backward(dy, x, w, b))), dy)

    return failure(check_gradients, dense, backward, arguments(n, c, o), operation="dense")


@pytest.mark.parametrize("change, cause", [
    (lambda g, dy: (g["w"], g["w"], g["b"]), "it fits the gradient of w"),
    (lambda g, dy: (2 * g["x"], g["w"], g["b"]), "it is 2 times too large everywhere"),
    (lambda g, dy: (-g["x"], g["w"], g["b"]), "its sign is wrong everywhere"),
    (lambda g, dy: (g["x"] / 2, g["w"], g["b"]), "it is 2 times too small everywhere"),
    (lambda g, dy: (g["x"], g["w"], g["b"] / 4), "it is 1/N of what it should be (N = 4"),
    (lambda g, dy: (g["x"], g["w"].T, g["b"]), "it is transposed"),
    (lambda g, dy: (0 * g["x"], g["w"], g["b"]), "it is 0 everywhere"),
    (lambda g, dy: (g["x"][::-1], g["w"], g["b"]), "it is flipped along axis 0"),
    (lambda g, dy: (np.roll(g["x"], 1, 1), g["w"], g["b"]), "it is shifted along axis 1"),
])
def test_causes(change, cause):
    assert cause in wrong(change) or cause == "it fits the gradient of w" and "fits the gradient" in wrong(
        lambda g, dy: (g["w"], g["x"], g["b"]))


def test_more_causes():
    def ignores(dy, x, w, b):
        return dense_backward(np.ones_like(dy), x, w, b)

    assert "it does not depend on dy" in failure(check_gradients, dense, ignores, arguments())
    affine = {"x": normal(5, 3), "b": normal(3)}
    message = failure(check_gradients, lambda x, b: x + b, lambda dy, x, b: (dy, dy[0]), affine)
    assert "misses the sum over axis 0" in message
    message = failure(check_gradients, lambda x, b: x + b, lambda dy, x, b: (dy, dy), affine)
    assert message == "operation: db has shape [5, 3], but b has [3]; it misses the sum over axis 0"


def test_values_and_counts():
    def backward(dy, x):
        dx = sine(dy, x)
        dx[7] += 0.25
        return dx

    message = fails(np.sin, backward, normal(36), "dx is wrong at [7]: backward gives ")
    assert "difference 0.25" in message and "1 of 36 elements are off" in message and "0 of" not in message
    many = fails(np.sin, lambda dy, x: sine(dy, x) * (1 + (np.arange(x.size) % 2)), normal(1000))
    assert "elements tried are off, 1000 in all" in many


@pytest.mark.parametrize("options, message", [
    ({"tolerance": np.nan}, "tolerance must be a positive number, got nan"),
    ({"tolerance": 0}, "tolerance must be a positive number, got 0"),
    ({"tolerance": np.inf}, "tolerance must be a positive number, got inf"),
    ({"tolerance": 1.0}, "tolerance must be below 1"),
    ({"tolerance": "1e-6"}, "tolerance must be a positive number, got '1e-6'"),
    ({"directions": 0}, "directions must be a whole number of at least 1, got 0"),
    ({"directions": 1.5}, "directions must be a whole number of at least 1, got 1.5"),
    ({"step": -1e-4}, "step must be a positive number, got -0.0001"),
    ({"at_kinks": "ignore"}, "at_kinks must be one of move, fail, skip, got 'ignore'"),
    ({"complex": "torch"}, "complex must be conjugate or plain, got 'torch'"),
    ({"wrt": ["x", "x"]}, "wrt names an argument twice: x, x"),
    ({"wrt": ["z"]}, "'z' must be one of x$"),
    ({"takes": ["z"]}, "'z' must be one of x, y, result, cache"),
])
def test_nonsense_options(options, message):
    with pytest.raises(ValueError, match=f"^operation: {message}"):
        passes(np.sin, sine, normal(3), **options)


@pytest.mark.parametrize("returned, message", [
    (None, "forward returned None, wanted"), ({}, "forward returned a dict without arrays of floats"),
    ({"y": 1}, "forward returned a dict without"), ("y", "forward returned str"), (np.ones(3, int), "of int64"),
])
def test_nonsense_results(returned, message):
    with pytest.raises(ValueError, match=f"^operation: .*{message}"):
        passes(lambda x: returned, sine, normal(3))


@pytest.mark.parametrize("returned, message", [
    (None, "dx is None"), ("dx", "dx is str, but x is float64"), (np.ones(3, int), "dx is int64, but x is float64"),
    (np.ones(3, bool), "dx is bool"), (np.ones(4), "dx has shape [4], but x has [3]"), ({}, "gradients of nothing"),
    ([np.ones(3), np.ones(3)], "backward returned 2 gradients, wanted dx"),
])
def test_nonsense_gradients(returned, message):
    fails(np.sin, lambda dy, x: returned, normal(3), message)


def test_dtype_of_gradients():
    fails(np.sin, lambda dy, x: sine(dy, x).astype(np.float32), normal(3), "dx is float32, but x is float64")
    with pytest.raises(GradientError, match="forward returned NaN or infinity"):
        passes(lambda x: x / 0, sine, normal(3))
    with pytest.raises(ZeroDivisionError):
        passes(lambda x: 1 / 0, sine, normal(3))


def test_the_result_prints_as_a_table():
    found = check_gradients(dense, dense_backward, arguments(), operation="dense", wrt=["x", "b"])
    lines = str(found).splitlines()
    assert lines[0] == f"dense: right in float64; calls: {found.calls['forward']} forward, 4 backward"
    assert lines[1].split() == ["argument", "error", "tolerance", "directions", "step", "point"]
    assert lines[2].split()[0] == "x" and lines[2].split()[3:] == ["4", "1e-04", "given"]
    assert lines[-1] == "not checked: w (not in wrt)"
    assert dict(found) == {"x": found["x"], "b": found["b"]} and max(found.values()) < 1e-8
