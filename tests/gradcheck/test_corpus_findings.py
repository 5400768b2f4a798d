"""What the corpus of bench/gradients/ taught the checker: impossible slopes at kinks, hidden rounding, far steps."""

import ml_dtypes
import numpy as np
import pytest

from gradcheck import GradientError, check_gradients

ZEROS = np.array([0.0, 1.5, 0.0, -2.0, 0.3, 0.0])


def relu(x):
    return np.maximum(x, 0)


def largest(x):
    return x.max(1)


def tied(x):
    return x == x.max(1, keepdims=True)


TIES = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0], [5.0, 1.0, 2.0], [4.0, 4.0, 4.0]])


@pytest.mark.parametrize("f, backward, x", [
    (np.abs, lambda dy, x: dy * np.where(x == 0, 7, np.sign(x)), ZEROS),
    (np.abs, lambda dy, x: dy * np.where(x == 0, -1.1, np.sign(x)), ZEROS),
    (relu, lambda dy, x: dy * np.where(x == 0, 2, x > 0), ZEROS),
    (relu, lambda dy, x: dy * np.where(x == 0, -0.5, x > 0), ZEROS),
    (largest, lambda dy, x: dy[:, None] * tied(x), TIES),
    (lambda x: np.clip(x, 0, 1), lambda dy, x: dy * np.where(x == 0, 3, (x > 0) & (x < 1)), ZEROS),
])
def test_impossible_slopes_at_a_kink_are_wrong(f, backward, x):
    with pytest.raises(GradientError, match="op: dx is wrong at a kink: backward gives a slope of .* one-sided slopes"):
        check_gradients(f, backward, {"x": x}, operation="op")


@pytest.mark.parametrize("f, backward, x", [
    (np.abs, lambda dy, x: dy * np.where(x == 0, 0.9, np.sign(x)), ZEROS),
    (np.abs, lambda dy, x: dy * np.where(x == 0, -1, np.sign(x)), ZEROS),
    (relu, lambda dy, x: dy * (x >= 0), ZEROS),
    (relu, lambda dy, x: dy * np.where(x == 0, 0.5, x > 0), ZEROS),
    (largest, lambda dy, x: dy[:, None] * tied(x) / tied(x).sum(1, keepdims=True), TIES),
    (largest, lambda dy, x: dy[:, None] * (np.arange(3) == x.argmax(1)[:, None]), TIES),
    (lambda x: np.clip(x, 0, 1), lambda dy, x: dy * ((x >= 0) & (x < 1)), ZEROS),
])
@pytest.mark.parametrize("seed", range(5))
def test_every_convention_at_a_kink_passes(f, backward, x, seed):
    assert "checked beside it" in str(check_gradients(f, backward, {"x": x}, seed=seed))


@pytest.mark.parametrize("seed", range(5))
def test_ties_are_seen_among_many(seed):
    """Other elements of y do not make up for them: some are tried alone."""
    x = np.round(np.random.default_rng(seed).normal(size=(40, 3)))
    with pytest.raises(GradientError, match="at a kink"):
        check_gradients(largest, lambda dy, x: dy[:, None] * tied(x), {"x": x}, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_step_between_two_kinks_is_not_accused(seed):
    """Its slope of 1 lies outside of what both sides show from afar, and inside nearby; abs keeps all steps from being
    smooth."""

    def forward(x):
        narrow = np.where(abs(x) < 1e-5, x, 1e-5 * np.sign(x) + 0.1 * (x - 1e-5 * np.sign(x)))
        return np.where(np.arange(4) == 3, abs(x), narrow)

    def backward(dy, x):
        return dy * np.where(np.arange(4) == 3, np.sign(x), np.where(abs(x) < 1e-5, 1, 0.1))

    check_gradients(forward, backward, {"x": np.array([0.0, 1.0, -2.0, 0.0])}, seed=seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_what_rounds_in_secret_is_checked_in_the_dtypes_given(dtype):
    """w is rounded to float32 inside, x is not: in float64 nothing is smooth."""
    rng = np.random.default_rng(0)
    arguments = {"x": rng.normal(size=(5, 4)).astype(np.float32), "w": rng.normal(size=(4, 3)).astype(dtype)}

    def backward(dy, x, w, factor=1):
        return dy @ w.astype(np.float32).T, (factor * x.T @ dy).astype(w.dtype)

    def forward(x, w):
        return x @ w.astype(np.float32)

    assert check_gradients(forward, backward, arguments).dtype == np.dtype(dtype).name
    with pytest.raises(GradientError, match="dw is wrong at .*times too large everywhere"):
        check_gradients(forward, lambda dy, x, w: backward(dy, x, w, 3), arguments)


def test_small_elements_beside_huge_ones_are_not_judged_from_afar():
    x = np.array([1e150, 3.0, -1e-150, 0.5])
    check_gradients(np.square, lambda dy, x: 2 * dy * x, {"x": x})
    with pytest.raises(GradientError, match=r"dx is wrong at \[1\]"):
        check_gradients(np.square, lambda dy, x: dy * x * [2, 1, 2, 2], {"x": x})
