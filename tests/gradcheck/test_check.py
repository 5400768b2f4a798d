"""The gradient checker: what is right passes, what is wrong is found and named, what is not smooth is said to be so."""

import re
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck import GradientError, check_adjoint, check_gradients, check_loss, strategies
from gradcheck.strategies import arrays, lay_out, layouts, sizes
from tests import ROOT


def dense(x, w, b):
    return np.tanh(x @ w + b)


def dense_backward(dy, x, w, y):
    dz = dy * (1 - y * y)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def arguments(n=3, c=5, o=4, seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((n, c)), "w": rng.standard_normal((c, o)), "b": rng.standard_normal(o)}


def check(backward=dense_backward, inputs=None, forward=dense, **options):
    inputs = inputs or arguments()
    return check_gradients(forward, backward, inputs, takes=("x", "w", "y"), operation="dense", **options)


def failure(call, *args, **kwargs):
    with pytest.raises(GradientError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(sizes(n=4, c=6, o=5), st.integers(0, 99))
def test_right_gradients_pass(s, seed):
    assert list(check(inputs=arguments(**s, seed=seed))) == ["x", "w", "b"]


def wrong_at(name, index, factor=0.5):
    """`dense_backward` with one element of one gradient multiplied."""

    def backward(dy, x, w, y):
        gradients = dict(zip("xwb", dense_backward(dy, x, w, y)))
        gradients[name][index] *= factor
        return tuple(gradients.values())

    return backward


def test_the_message_names_operation_argument_index_and_both_values():
    message = failure(check, wrong_at("w", (3, 1)))
    number = r"(-?[0-9.]+(?:e-[0-9]+)?)"
    found = re.fullmatch(
        rf"dense: dw is wrong at \[3, 1\]: backward gives {number}, finite differences give {number}, "
        rf"difference {number} \(relative error {number} along random directions, tolerance 1e-06; "
        r"1 of 20 elements are off\)", message
    )
    assert found, message
    assert float(found[1]) == pytest.approx(float(found[2]) / 2, rel=1e-5) and float(found[4]) > 1e-3


@given(st.data(), st.sampled_from("xwb"))
def test_every_single_wrong_element_is_found(data, name):
    inputs = arguments()
    index = tuple(data.draw(st.integers(0, n - 1)) for n in inputs[name].shape)
    assert f"d{name} is wrong at {list(index)}:" in failure(check, wrong_at(name, index, 1.01), inputs)


def test_a_wrong_element_is_found_among_many():
    """By halving the direction, not by trying 40,000 elements."""
    calls = 0

    def forward(x, w, b):
        nonlocal calls
        calls += 1
        return dense(x, w, b)

    message = failure(check, wrong_at("w", (123, 45), 3.0), arguments(2, 200, 200), forward)
    assert "dw is wrong at [123, 45]:" in message and calls < 1000


def test_a_factor_forgotten_everywhere_is_counted():
    message = failure(check, lambda dy, x, w, y: tuple(2 * g for g in dense_backward(dy, x, w, y)))
    assert "dx is wrong at" in message and "15 of 15 elements are off" in message


def test_errors_do_not_cancel():
    def backward(dy, x, w, y):
        dx, dw, db = dense_backward(dy, x, w, y)
        return dx, dw, db + np.array([1, -1, 1, -1])

    assert "db is wrong at" in failure(check, backward)


@pytest.mark.parametrize("f, slope", [
    (lambda x: np.maximum(x, 0), lambda x: x > 0),
    (lambda x: np.abs(x), lambda x: np.sign(x)),
    (lambda x: x.max(), lambda x: np.arange(x.size).reshape(x.shape) == x.argmax()),
])
def test_kinks_are_avoided(f, slope):
    """Thousands of kinks within reach of the first step; and a point that lies on kinks itself."""
    x = np.random.default_rng(0).standard_normal(5000)
    for point in (x, np.round(x), np.zeros(3)):
        check_gradients(f, lambda dy, x: dy * slope(x), {"x": point})
        failure(check_gradients, f, lambda dy, x: dy * slope(x) * 1.001, {"x": point})


@pytest.mark.parametrize("name, f, slope, x", [
    ("jumps everywhere", lambda x: np.floor(x * 1e6) / 1e6, lambda x: 1, [0.3, -1.7, 2.1]),
    ("rounded", lambda x: x.astype(np.float32).astype(np.float64), lambda x: 1, [0.3, -1.7, 2.1]),
    ("noise", lambda x: x + 1e-6 * np.random.default_rng(abs(int(x[0] * 1e15))).random(x.shape), lambda x: 1, [1.0]),
])
def test_what_is_not_smooth_does_not_pass(name, f, slope, x):
    message = failure(check_gradients, f, lambda dy, x: dy * slope(x), {"x": np.array(x)}, operation="step")
    assert message == (
        "step: no smooth point found, so nothing is proved: only 0 of 16 directions of x are smooth "
        "(kinks, jumps or noise); move the arguments away from kinks"
    )


@pytest.mark.parametrize("returned, message", [
    (lambda dx, dw, db: (dx, dw), "dense: backward returned 2 gradients, wanted dx, dw, db"),
    (lambda dx, dw, db: (dx, None, db), "dense: dw is None; leave w out of wrt if it has no gradient"),
    (lambda dx, dw, db: (dx, dw.T, db), "dense: dw has shape [4, 5], but w has [5, 4]; it is transposed"),
    (lambda dx, dw, db: (dx, dw, db[None]), "dense: db has shape [1, 4], but b has [4]"),
    (lambda dx, dw, db: (dx.astype(np.float32), dw, db), "dense: dx is float32, but x is float64"),
    (lambda dx, dw, db: (dx, dw, db * [1, np.nan, 1, 1]), "dense: db is nan at [1]"),
])
def test_gradients_of_a_wrong_form(returned, message):
    assert failure(check, lambda *args: returned(*dense_backward(*args))) == message


def test_backward_must_leave_its_arguments_alone():
    def backward(dy, x, w, y):
        dy *= 1 - y * y
        return dy @ w.T, x.T @ dy, dy.sum(0)

    assert failure(check, backward) == "dense: backward changed its argument dy in place"


def test_wrong_calls():
    assert failure(check, forward=lambda x, w, b: dense(x, w, b) + np.inf) == "dense: forward returned NaN or infinity"
    with pytest.raises(ValueError, match="dense: 'v' must be one of x, w, b$"):
        check(wrt=["v"])
    with pytest.raises(ValueError, match="operation: 'z' must be one of x, y, result, cache$"):
        check_gradients(np.sin, lambda dy, x: dy * np.cos(x), {"x": np.ones(2)}, takes=["z"])


def test_wrt_and_arguments_that_are_no_float_arrays():
    def forward(table, index, power):
        return table[index] ** power

    def backward(dy, table, index, power):
        gradient = np.zeros_like(table)
        np.add.at(gradient, index, dy * power * table[index] ** (power - 1))
        return gradient

    inputs = {"table": np.arange(1, 5, dtype=np.float32), "index": np.array([0, 2, 2]), "power": 3}
    assert check_gradients(forward, backward, inputs)["table"] < 1e-8  # one gradient needs no tuple; float32 is raised
    inputs = arguments()
    assert list(check(lambda *args: (None, *dense_backward(*args)[1:]), wrt=["w", "b"])) == ["w", "b"]
    assert list(check(lambda *args: dense_backward(*args)[:1], wrt="x")) == ["x"]
    constant = check_gradients(lambda x: np.ones(3), lambda dy, x: 0 * x, {"x": np.ones(2)})
    assert constant == {"x": 0.0} == check_gradients(lambda x: x, lambda dy, x: dy, {"x": np.ones((0, 2))})


def affine(x, w, b):
    return x @ w + b


def affine_backward(dy, x, w, b):
    return dy @ w.T, x.T @ dy, dy.sum(0)


def test_adjoint():
    errors = check_adjoint(affine, affine_backward, arguments(), linear_in=["x", "w", "b"], operation="affine")
    assert max(errors.values()) < 1e-14

    def planted(dy, x, w, b):
        dx, dw, db = affine_backward(dy, x, w, b)
        dx[2, 0] += 1e-6
        return dx, dw, db

    message = failure(check_adjoint, affine, planted, arguments(), linear_in=["w", "x"], operation="affine")
    assert message.startswith("affine: dx is wrong at [2, 0]: backward gives ")
    assert ", the adjoint identity gives " in message
    with pytest.raises(ValueError, match="dense: forward is not linear in w"):
        check_adjoint(dense, dense_backward, arguments(), linear_in=["w"], takes=["x", "w", "y"], operation="dense")
    with pytest.raises(ValueError, match="operation: forward is not linear in x"):
        check_adjoint(lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), {"x": np.ones(3)}, linear_in=["x"])


def test_loss():
    def squares(y, target):
        return np.mean((y - target) ** 2), 2 * (y - target) / y.size

    inputs = {"y": arguments()["x"], "target": arguments(seed=1)["x"]}
    assert check_loss(squares, inputs, wrt=["y"])["y"] < 1e-8
    sums = {"value_and_gradient": lambda *a: (squares(*a)[0], 2 * (a[0] - a[1])), "arguments": inputs}
    message = failure(check_loss, **sums, wrt=["y"], operation="squares")
    assert message.startswith("squares: dy is wrong at [") and "15 of 15 elements are off" in message


def test_the_checker_does_not_need_hypothesis():
    code = "import sys; sys.modules['hypothesis'] = None; import gradcheck"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@given(sizes(N=3, C=2))
def test_sizes_start_at_one(s):
    assert list(s) == ["N", "C"] and 1 <= s["N"] <= 3 and 1 <= s["C"] <= 2


@given(st.data(), sizes(N=4, H=5, C=3), st.sampled_from([np.float64, np.float32]))
def test_arrays_keep_off_kinks_in_every_layout(data, s, dtype):
    x = data.draw(arrays(tuple(s.values()), dtype=dtype, away_from=0, margin=0.2, scale=3, layout=layouts()))
    assert x.shape == tuple(s.values()) and x.dtype == dtype and np.abs(x).min() >= 0.6


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.int64])
def test_layouts_hold_the_same_values(layout, dtype):
    x = np.arange(60).reshape(3, 4, 5).astype(dtype)
    view = lay_out(x, layout)
    np.testing.assert_array_equal(view, x)
    assert view.dtype == x.dtype and view.flags.c_contiguous == (layout == "contiguous")
    with pytest.raises(ValueError, match="layout must be one of contiguous, .*, got 'fortran'"):
        lay_out(x, "fortran")
