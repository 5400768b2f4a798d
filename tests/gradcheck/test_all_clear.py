"""Never a silent all-clear: sizes, constants, state, layouts, kinks, what was not checked, small beside large."""

import numpy as np
import pytest

from gradcheck import check_adjoint, check_gradients, strategies
from gradcheck.layout import LAYOUTS, lay_out, like
from kernels.compare import assert_close
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
                    {"z": normal(5), "b": np.array(0.3)})  # fmt: skip
    assert "db is wrong" in wrong
    passes(lambda x: np.maximum(x, 0), lambda dy, x: 0 * x, -np.abs(normal(4)))
    passes(lambda x: np.round(x, 1), lambda dy, x: 0 * x, normal(4))
    fails(lambda x: np.round(x, 1), lambda dy, x: dy, normal(4))


class Stateful:
    """A layer with faults of state, one by one."""

    def __init__(self, fault):
        self.fault, self.calls, self.sum, self.before, self.x = fault, 0, 0.0, None, None
        self.buffer = np.zeros(4)

    def forward(self, x):
        if self.fault != "cache of the first" or self.x is None:
            self.x = x.copy()
        return np.sin(x)

    def backward(self, dy, x):
        self.calls += 1
        dx = dy * np.cos(self.x)
        if self.fault == "adds":
            self.sum = dx = self.sum + dx
        if self.fault == "every second":
            dx = dx * (1.1 if self.calls % 2 == 0 else 1)
        if self.fault == "every third":
            dx = dx * (1.1 if self.calls % 3 == 0 else 1)
        if self.fault == "of the call before":
            dx, self.before = dx if self.before is None else self.before, dx
        if self.fault == "buffer adds":
            self.buffer += dx
            dx = self.buffer
        if self.fault == "ignores dy after the first":
            self.before = dx if self.before is None else self.before
            dx = self.before
        return dx


FAULTS = ("adds", "every second", "every third", "of the call before", "buffer adds", "ignores dy after the first",
          "cache of the first")  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_state(fault):
    layer = Stateful(fault)
    found = fails(layer.forward, layer.backward, normal(4))
    wanted = {
        "adds": "is 2 times the first; are gradients added", "buffer adds": "is 2 times the first",
        "every second": "not reentrant: called again with the same arguments, dx is 1.1 times the first",
        "cache of the first": "does it keep something of an earlier call?",
    }  # fmt: skip
    assert wanted.get(fault, "") in found


def test_a_layer_that_keeps_what_it_needs_passes():
    layer = Stateful("")
    assert passes(layer.forward, layer.backward, normal(4)).calls == {"forward": 16, "backward": 4}


def test_a_returned_buffer_may_be_used_again():
    layer, buffer, out = Stateful(""), np.zeros(4), np.zeros(4)

    def backward(dy, x):
        buffer[:] = layer.backward(dy, x)
        return buffer

    def forward(x):
        out[:] = layer.forward(x)
        return out

    passes(forward, backward, normal(4))
    fails(forward, lambda dy, x: 2 * backward(dy, x), normal(4))


def test_changed_arguments():
    def doubles(x):
        x *= 2
        return x

    def normalizes(x):
        x -= x.mean()
        return x / x.std()

    fails(doubles, lambda dy, x: 2 * dy, normal(4), "forward changed its argument x in place")
    fails(normalizes, lambda dy, x: dy, normal(4), "forward changed its argument x in place")
    fails(lambda x: x + 0, lambda dy, x: np.multiply(dy, 2, out=dy), normal(4), "backward changed its argument dy")

    def changes_y(dy, y):
        y -= 1
        return dy

    fails(lambda x: x + 0, changes_y, normal(4), "backward changed its argument y", takes="y")


def test_what_is_not_deterministic():
    rng = np.random.default_rng(0)
    fails(lambda x: np.sin(x) * (rng.random(4) > 0.5), sine, normal(4), "forward is not deterministic")
    fails(np.sin, lambda dy, x: sine(dy, x) * rng.random(4), normal(4), "backward is not reentrant")


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_forward_and_backward_get_the_layout_given(layout):
    """At every point: whoever reads memory in order, not by strides, is found."""
    x = lay_out(normal(3, 4), layout)
    seen = set()

    def flat(x):
        seen.add(x.strides)
        return np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[1] * 8, 8)) * 2 if min(x.strides) > 0 else x.T.T * 2

    def forward(x):
        seen.add(x.strides)
        return 2 * x

    passes(forward, lambda dy, x: 2 * dy, x)
    assert seen == {x.strides}
    if layout in ("strided", "inner"):
        with pytest.raises((AssertionError, ValueError)):
            passes(flat, lambda dy, x: 2 * dy, x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dy_lies_as_y_does(layout):
    y = lay_out(np.zeros((3, 4)), layout)
    seen = set()

    def forward(x):
        return like(np.sin(x), y, float)

    def backward(dy, x):
        seen.add(dy.strides)
        return sine(dy, x)

    passes(forward, backward, normal(3, 4))
    assert seen == {y.strides}
    seen.clear()
    passes(np.sin, backward, normal(3, 4), dy=lay_out(normal(3, 4, seed=1), layout))
    assert y.strides in seen


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_in_a_layout(layout):
    template = lay_out(normal(3, 4, 2), layout)
    copy = like(template, template, np.float32)
    np.testing.assert_array_equal(copy, template.astype(np.float32))
    assert [s * 2 for s in copy.strides] == list(template.strides)
    repeated = np.broadcast_to(normal(1, 4), (3, 4))
    np.testing.assert_array_equal(like(repeated, repeated, float), repeated)


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
             "half": normal(2).astype(ml_dtypes.bfloat16), "labels": np.array([1, 0])}  # fmt: skip

    def forward(list, dict, float, scalar, half, labels):
        return np.concatenate([np.sin(list[0]) * float, list[1] ** 2, dict["a"] * scalar, half[labels]])

    def backward(dy, list, dict, float, scalar, half, labels):
        a, b, c, d = dy[:2], dy[2:5], dy[5:7], dy[7:]
        return ([a * np.cos(list[0]) * float, 2 * b * list[1]], {"a": c * scalar}, (a * np.sin(list[0])).sum(),
                (c * dict["a"]).sum(), d[labels], None)  # fmt: skip

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
        *(1e6 * g for g in dense_backward(dy, x, w, 0 * b)[:2]), dy.sum(0)), inputs)  # fmt: skip
    assert list(small) == ["x", "w", "b"]
    wrong = failure(check_gradients, lambda x, w, b: 1e6 * dense(x, w, 0) + b, lambda dy, x, w, b: (
        *(1e6 * g for g in dense_backward(dy, x, w, 0 * b)[:2]), dy.mean(0)), inputs)  # fmt: skip
    assert "db is wrong" in wrong and "1/N" in wrong


def test_drawn_layouts_are_all_there():
    assert set(strategies.LAYOUTS) == {"contiguous", "transposed", "strided", "reversed", "inner"}
