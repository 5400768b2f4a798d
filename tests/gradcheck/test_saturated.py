"""Saturated functions: a slope that rounding buries is no fault of backward, and faults that can be seen still are."""

import numpy as np
import pytest

from gradcheck import GradientError, array, check_gradients
from gradcheck.errors import Unproved


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(dy, z):
    y = softmax(z)
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def sigmoid(z):
    return np.where(z < 0, np.exp(np.minimum(z, 0)), 1) / (1 + np.exp(-np.abs(z)))


def sigmoid_backward(dy, z):
    return dy * sigmoid(z) * (1 - sigmoid(z))


def tanh_backward(dy, z):
    return dy * (1 - np.tanh(z) ** 2)


PAIRS = {
    "softmax": (softmax, softmax_backward), "sigmoid": (sigmoid, sigmoid_backward), "tanh": (np.tanh, tanh_backward),
}
KINDS = [("large", "normal"), ("normal", "large"), ("large", "large"), ("uneven", "large")]


def pair(name, factor=1.0):
    f, b = PAIRS[name]
    return lambda x, w: f(x @ w), lambda dy, x, w: (factor * b(dy, x @ w) @ w.T, x.T @ b(dy, x @ w))


def drawn(seed, kinds):
    n, c, d = (int(size) for size in np.random.default_rng(seed).integers(1, 5, 3))
    return {"x": array((n, c), seed=seed, values=kinds[0]), "w": array((c, d), seed=seed + 1, values=kinds[1])}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kinds", KINDS, ids="-".join)
def test_nobody_is_accused_for_rounding(name, kinds):
    for seed in range(25):
        try:
            check_gradients(*pair(name), drawn(seed, kinds))
        except Unproved:
            continue


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("factor", [-1.0, 1.001])
def test_faults_are_found_where_it_is_not_saturated(name, factor):
    for seed in range(25):
        given = drawn(seed, ("normal", "normal"))
        if name == "softmax" and given["w"].shape[1] == 1:
            continue  # 1 whatever x is
        with pytest.raises(GradientError, match="dx is wrong"):
            check_gradients(*pair(name, factor), given)


@pytest.mark.parametrize("size", [4.0, 6.0, 8.0])
def test_faults_are_found_where_it_nearly_is(size):
    """1 - tanh(8)**2 is 5e-7: a part in a thousand of it stands far above the rounding of 1."""
    x = np.array([size, -size, size + 0.3])
    with pytest.raises(GradientError, match="dx is wrong"):
        check_gradients(np.tanh, lambda dy, x: 1.001 * tanh_backward(dy, x), {"x": x})


def test_what_is_not_saturated_is_not_excused():
    """Steep elsewhere, or with the same small slope everywhere."""
    x = np.array([3.0, 7.0, 40.0])
    for forward, right in ((np.reciprocal, lambda x: -1 / x**2), (np.log, np.reciprocal), (np.exp, np.exp)):
        with pytest.raises(GradientError, match="dx is wrong"):
            check_gradients(forward, lambda dy, x, right=right: 1.0001 * dy * right(x), {"x": x})
    given = {"x": np.array([0.3, 2.0]), "b": np.array([0.7, -1.2])}
    with pytest.raises(GradientError, match="db is wrong"):
        check_gradients(lambda x, b: x + 1e-9 * b, lambda dy, x, b: (dy, 1.001e-9 * dy), given)


def test_what_rounding_hides_is_said():
    found = check_gradients(*pair("softmax"), drawn(0, ("large", "normal")))
    assert "x: saturated: a slope within rounding of the others" in str(found) and found["x"] < 1e-4


def test_complex_arguments():
    x = np.array([1 + 2j, -0.5 + 0.25j])
    check_gradients(np.square, lambda dy, x: 2 * dy * np.conj(x), {"x": x})
    with pytest.raises(GradientError, match="dx is wrong"):
        check_gradients(np.square, lambda dy, x: 2 * dy * x, {"x": x})
