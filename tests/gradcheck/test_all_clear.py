"""Never a silent all-clear: sizes, constants, state, layouts, kinks, what was not checked, small beside large."""

import numpy as np
import pytest

from gradcheck import check_adjoint, check_gradients, strategies
from ltbc.kernels.compare import assert_close
from tests.gradcheck.pairs import arguments, dense, dense_backward, fails, failure, normal, passes, sine


@pytest.mark.parametrize("wrong", [1e200, -1e308, 1e-300, np.nan, np.inf])
def test_one_element_of_any_size(wrong):
    fails(np.sin, lambda dy, x: np.where(np.arange(3) == 1, wrong, sine(dy, x)), normal(3), "at [1]")


@pytest.mark.parametrize("seed", range(50))
def test_one_element_of_random_bits(seed):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**64, dtype=np.uint64).view(np.float64)
    fails(np.sin, lambda dy, x: np.where(np.arange(5) == seed % 5, bits, sine(dy, x)), normal(5, seed=seed))


@pytest.mark.parametrize("size", [1e200, 1e154, 1.0, 1e-154, 1e-200, 1e-300])
def test_any_size_of_x_and_y(size):
    """Norms neither overflow nor vanish."""
    x = size * normal(4)
    linear = {"linear_in": "x"}
    check_adjoint(lambda x: 3 * x, lambda dy, x: 3 * dy, {"x": x}, **linear)
    passes(lambda x: 3 * x, lambda dy, x: 3 * dy, x)
    for factor in (0.0, 3.001, 1e200):
        failure(check_adjoint, lambda x: 3 * x, lambda dy, x, k=factor: k * dy, {"x": x}, **linear)
        fails(lambda x: 3 * x, lambda dy, x, k=factor: k * dy, x)


def test_a_slope_that_overflows():
    x = np.full(2, 1e200)
    fails(lambda x: x * 1.0, lambda dy, x: np.abs(dy) * 1e200 * np.sign(dy), x)
    fails(lambda x: x.sum(), lambda dy, x: np.full(2, 1e200), np.array([1e200, 1e-200]))
    fails(lambda x: x * 1.0, lambda dy, x: dy * 1e200, np.array(1e200))


def test_squares_of_uneven_size():
    """The steps of the large elements are far too large for the small ones."""
    passes(lambda x: x * x, lambda dy, x: 2 * dy * x, np.array([1e150, 1.0, -2.0, 0.5]))
    fails(lambda x: x * x, lambda dy, x: 2 * dy * x * [1, 1, 2, 1], np.array([1e150, 1.0, -2.0, 0.5]), "[2]")


def test_large_results():
    passes(lambda x: 1e154 * np.sin(x), lambda dy, x: 1e154 * sine(dy, x), normal(3))
    fails(lambda x: 1e154 * np.sin(x), lambda dy, x: 1.1e154 * sine(dy, x), normal(3))


def test_comparisons_of_what_overflows():
    with pytest.raises(AssertionError, match="y: relative error"):
        assert_close("y", 2e200 * np.ones(3), 1e200 * np.ones(3), 1e-6)
    with pytest.raises(AssertionError):
        assert_close("y", 2e-200 * np.ones(3), 1e-200 * np.ones(3), 1e-6)
    with pytest.raises((AssertionError, ValueError)):
        assert_close("y", np.ones(3), 2 * np.ones(3), np.nan)


@pytest.mark.parametrize("constant", [-1e12, -1e30, np.finfo(float).min, 1e300])
def test_masked_elements_hide_nothing(constant):
    free = np.arange(5) != 2

    def forward(x):
        return np.where(free, np.sin(x), constant)

    passes(forward, lambda dy, x: sine(dy, x) * free, normal(5))
    fails(forward, lambda dy, x: 0 * x, normal(5), "backward gives")
    fails(forward, lambda dy, x: 1.01 * sine(dy, x) * free, normal(5))


@pytest.mark.parametrize("constant", [1e6, 1e9, 1e12, -1e13, 1e15])
def test_a_constant_added_to_a_loss(constant):
    """Found as long as anything is left in the last bits; where nothing is, nothing is said to be right."""
    def forward(x):
        return constant + np.sin(x).sum()

    for factor in (0.0, -1.0, 2.0):
        fails(forward, lambda dy, x, k=factor: k * sine(dy, x), normal(5))
    if abs(constant) < 1e13:
        assert "rounding allows" in str(passes(forward, sine, normal(5)))


@pytest.mark.parametrize("share", [1e-6, 1e-9, 1e-11, 1e-13, 1e-15, 1e-20])
def test_a_small_share_of_y(share):
    inputs = {"x": normal(5), "b": normal(5, seed=1)}
    check_gradients(lambda x, b: x + share * b, lambda dy, x, b: (dy, share * dy), inputs)
    for factor in (0.0, 1.1, -1.0):
        def backward(dy, x, b, k=factor * share):
            return dy, k * dy

        wrong = failure(check_gradients, lambda x, b: x + share * b, backward, inputs)
        assert "db is wrong" in wrong


def sigmoids(x, layers=12):
    found = [x]
    for _ in range(layers):
        found.append(1 / (1 + np.exp(-found[-1])))
    return found


def sigmoids_backward(dy, x):
    for y in sigmoids(x)[:0:-1]:
        dy = dy * y * (1 - y)
    return dy


def test_a_gradient_that_vanishes():
    passes(lambda x: sigmoids(x)[-1], sigmoids_backward, normal(5))
    for factor in (0.0, 1.1):
        fails(lambda x: sigmoids(x)[-1], lambda dy, x, k=factor: k * sigmoids_backward(dy, x), normal(5))


def test_what_has_no_gradient_passes_and_is_said():
    def softmax(z):
        p = np.exp(z - z.max())
        return p / p.sum()

    def shift(dy, z, b):
        p = softmax(z + b)
        dz = p * (dy - (dy * p).sum())
        return dz, dz.sum()

    found = check_gradients(lambda z, b: softmax(z + b), shift, {"z": normal(5), "b": np.array(0.3)})
    assert found["b"] == 0.0 and "b: no change of y beyond rounding" in str(found)
    wrong = failure(check_gradients, lambda z, b: softmax(z + b), lambda *a: (shift(*a)[0], 1e-7),
                    {"z": normal(5), "b": np.array(0.3)})
    assert "db is wrong" in wrong
    passes(lambda x: np.maximum(x, 0), lambda dy, x: 0 * x, -np.abs(normal(4)))
    passes(lambda x: np.round(x, 1), lambda dy, x: 0 * x, normal(4))
    fails(lambda x: np.round(x, 1), lambda dy, x: dy, normal(4))


KINKED = np.array([0.0, 1.0, -2.0])


def seven(dy, x):
    return dy * np.where(x == 0, 7, np.sign(x))


def test_the_moved_point_is_said():
    """And a slope that no side of a kink has is wrong."""
    fails(np.abs, seven, KINKED, "at a kink: backward gives a slope of")
    right = passes(np.abs, lambda dy, x: dy * np.sign(x), KINKED)
    assert right.moved and "not smooth at the point given" in str(right) and "moved" in str(right)
    assert not passes(np.abs, seven, normal(3)).moved
    fails(lambda x: x.max(), lambda dy, x: dy * (x == x.max()), np.array([1.0, 1, 0]), "at a kink: backward gives")
    halves = passes(lambda x: x.max(), lambda dy, x: dy * (x == x.max()) / (x == x.max()).sum(), np.array([1.0, 1, 0]))
    assert halves.moved


def test_at_kinks():
    fails(np.abs, seven, KINKED, "the point given is not smooth", at_kinks="fail")
    skipped = passes(np.abs, seven, KINKED, at_kinks="skip")
    assert not skipped.moved and "left out 1 of 3 elements of y" in str(skipped)
    fails(np.abs, lambda dy, x: -seven(dy, x), KINKED, "sign", at_kinks="skip")
    fails(np.abs, seven, np.zeros(3), "every element of y has a kink", at_kinks="skip")


def test_every_leaf_is_checked_or_named():
    import ml_dtypes

    given = {"list": [normal(2), normal(3)], "dict": {"a": normal(2), "n": 3}, "float": 0.5, "scalar": np.float32(0.7),
             "half": normal(2).astype(ml_dtypes.bfloat16), "labels": np.array([1, 0])}

    def forward(list, dict, float, scalar, half, labels):
        return np.concatenate([np.sin(list[0]) * float, list[1] ** 2, dict["a"] * scalar, half[labels]])

    def backward(dy, list, dict, float, scalar, half, labels):
        a, b, c, d = dy[:2], dy[2:5], dy[5:7], dy[7:]
        return ([a * np.cos(list[0]) * float, 2 * b * list[1]], {"a": c * scalar}, (a * np.sin(list[0])).sum(),
                (c * dict["a"]).sum(), d[labels], None)

    found = check_gradients(forward, backward, given)
    assert list(found) == ["list[0]", "list[1]", "dict['a']", "float", "scalar", "half"] and not found.unchecked
    found = check_gradients(forward, lambda *a: backward(*a)[:1], given, wrt="list")
    assert list(found.unchecked) == ["dict['a']", "float", "scalar", "half"] and "not checked: half" in str(found)
    for k, name in enumerate(["list", "dict", "float", "scalar", "half"]):
        def wrong(*args, k=k):
            gradients = [*backward(*args)]
            twice = {list: lambda g: [2 * a for a in g], dict: lambda g: {"a": 2 * g["a"]}}
            gradients[k] = twice.get(type(gradients[k]), lambda g: 2 * g)(gradients[k])
            return tuple(gradients)

        assert f"d{name}" in failure(check_gradients, forward, wrong, given)


def test_checking_nothing_is_an_error():
    message = failure(check_gradients, lambda n: np.ones(3) * n, lambda dy, n: None, {"n": 3})
    assert "nothing was checked" in message
    message = failure(check_gradients, lambda p: np.ones(3) * p, lambda dy, p: None, {"p": 3.0})
    assert "nothing was checked (p)" in message


@pytest.mark.parametrize("share", [1e-3, 1e-6, 1e-8])
@pytest.mark.parametrize("factor", [0.0, 2.0, -1.0])
def test_small_beside_large(share, factor):
    """A row whose gradient is a millionth of the others', and wrong."""
    x = normal(4, 5)
    size = np.array([1.0, 1, share, 1])[:, None]
    passes(lambda x: size * np.sin(x), lambda dy, x: size * sine(dy, x), x)
    wrong = np.array([1.0, 1, factor, 1])[:, None]
    assert "at [2, " in fails(lambda x: size * np.sin(x), lambda dy, x: wrong * size * sine(dy, x), x)


def test_a_small_row_of_x():
    x = normal(4, 5) * np.array([1.0, 1, 1e-6, 1])[:, None]
    twice = np.array([1.0, 1, 2, 1])[:, None]
    passes(lambda x: x**2, lambda dy, x: 2 * dy * x, x)
    fails(lambda x: x**2, lambda dy, x: twice * 2 * dy * x, x, "at [2, ")


def test_each_of_several_arguments_is_called_alone():
    """An argument with a gradient a million times smaller than another's is seen."""
    inputs = {**arguments(), "b": normal(4)}
    small = check_gradients(lambda x, w, b: 1e6 * dense(x, w, 0) + b, lambda dy, x, w, b: (
        *(1e6 * g for g in dense_backward(dy, x, w, 0 * b)[:2]), dy.sum(0)), inputs)
    assert list(small) == ["x", "w", "b"]
    wrong = failure(check_gradients, lambda x, w, b: 1e6 * dense(x, w, 0) + b, lambda dy, x, w, b: (
        *(1e6 * g for g in dense_backward(dy, x, w, 0 * b)[:2]), dy.mean(0)), inputs)
    assert "db is wrong" in wrong and "1/N" in wrong


def test_drawn_layouts_are_all_there():
    assert set(strategies.LAYOUTS) == {"contiguous", "transposed", "strided", "reversed", "inner"}
