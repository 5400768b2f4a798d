"""Code as people write it: calls, results, containers, layers, libraries, dtypes."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

from gradcheck import (
    check_double_backward,
    check_gradients,
    check_jvp,
    check_layer,
    check_loss,
)
from tests.gradcheck.pairs import arguments, dense, dense_backward, fails, failure, normal, passes, sine

ALL = {"x", "w", "b"}


def cached(x, w, b):
    y = dense(x, w, b)
    return y, (x, w, y)


def cached_backward(dout, cache):
    x, w, y = cache
    dz = dout * (1 - y * y)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def test_y_and_cache():
    assert set(check_gradients(cached, cached_backward, arguments())) == ALL
    assert set(check_gradients(cached, cached_backward, list(arguments().values()))) == ALL
    assert set(check_gradients(cached, cached_backward, arguments(), takes="cache")) == ALL
    for one in (lambda x: (np.sin(x), x), lambda x: (np.sin(x), {"x": x}), lambda x: [np.sin(x), (x, 3)]):
        take = one(np.ones(1))[1]
        key = {dict: "x", tuple: 0}.get(type(take), ...)

        def at(cache, key=key):
            return cache[key]

        passes(one, lambda dy, cache, at=at: dy * np.cos(at(cache)), normal(4))
        fails(one, lambda dy, cache, at=at: 2 * dy * np.cos(at(cache)), normal(4), "2 times too large")
    message = failure(check_gradients, cached, lambda d, c: [2 * g for g in cached_backward(d, c)], arguments())
    assert "dx is wrong" in message


def test_several_outputs():
    def forward(x):
        return np.sin(x), np.cos(x)

    passes(forward, lambda dys, x: dys[0] * np.cos(x) - dys[1] * np.sin(x), normal(4))
    passes(forward, lambda ds, dc, x: ds * np.cos(x) - dc * np.sin(x), normal(4))
    fails(forward, lambda ds, dc, x: ds * np.cos(x) + dc * np.sin(x), normal(4))
    passes(lambda x: {"s": np.sin(x), "n": 3}, lambda dy, x: dy["s"] * np.cos(x), normal(4))
    three = check_gradients(lambda x: (np.sin(x), np.cos(x), x), lambda dy, c: dy[0] * np.cos(c) - dy[1] * np.sin(c),
                            {"x": normal(4)}, takes="cache")
    assert set(three) == {"x"}


@dataclass
class Weights:
    w: np.ndarray
    b: np.ndarray


Pair = namedtuple("Pair", "w b")


@pytest.mark.parametrize("make", [
    lambda w, b: {"w": w, "b": b}, lambda w, b: [w, b], Weights, Pair, lambda w, b: (w, b),
    lambda w, b: {"deep": [{"w": w}, (b, 3)]},
])
def test_containers(make):
    inputs = arguments()
    given = {"p": make(inputs["w"], inputs["b"]), "x": inputs["x"]}

    def parts(p):
        if isinstance(p, dict) and "deep" in p:
            return p["deep"][0]["w"], p["deep"][1][0]
        if isinstance(p, dict):
            return p["w"], p["b"]
        return (p.w, p.b) if hasattr(p, "w") else tuple(p)

    def backward(dy, p, x, wrong=1):
        dx, dw, db = dense_backward(dy, x, *parts(p))
        return make(dw, wrong * db), dx

    assert len(check_gradients(lambda p, x: dense(x, *parts(p)), backward, given)) == 3
    message = failure(check_gradients, lambda p, x: dense(x, *parts(p)), lambda *a: backward(*a, wrong=7), given)
    assert message.startswith("operation: dp") and "7 times too large" in message


def test_gradients_by_name():
    def backward(dy, x, w, b):
        return dict(zip(("dx", "w", "grad_b"), dense_backward(dy, x, w, b)))

    assert set(check_gradients(dense, backward, arguments())) == ALL
    assert "wanted w" in failure(check_gradients, dense, lambda *a: {"dx": backward(*a)["dx"]}, arguments())


def test_keyword_only_arguments_and_names():
    def forward(x, *, y, dy):
        return x * y + dy**2

    def backward(g, x, *, y, dy):
        return g * y, g * x, 2 * g * dy

    inputs = {"x": normal(3), "y": normal(3, seed=1), "dy": normal(3, seed=2)}
    assert list(check_gradients(forward, backward, inputs)) == ["x", "y", "dy"]
    assert "ddy is wrong" in failure(check_gradients, forward, lambda g, x, *, y, dy: (g * y, g * x, g * dy), inputs)
    turned = dict(reversed(inputs.items()))
    assert list(check_gradients(forward, backward, turned, wrt=["x", "y", "dy"])) == list(inputs)
    with_result = check_gradients(lambda y: np.tanh(y), lambda dy, result: dy * (1 - result**2), {"y": normal(3)},
                                  takes="result")
    assert list(with_result) == ["y"]


def test_wrt_in_any_order():
    for order in (["w", "x", "b"], ["b", "w", "x"]):
        in_order = [["x", "w", "b"].index(k) for k in order]
        check_gradients(dense, lambda *a, o=in_order: [dense_backward(*a)[i] for i in o], arguments(3, 3, 3), wrt=order)
        check_gradients(dense, dense_backward, arguments(3, 3, 3), wrt=order)
        failure(check_gradients, dense, lambda *a: [2 * g for g in dense_backward(*a)], arguments(3, 3, 3), wrt=order)


def test_labels_and_nan_where_nothing_is_differentiated():
    def forward(z, labels, weights):
        return np.where(np.isnan(weights), 0, z[np.arange(len(labels)), labels])

    def backward(dy, z, labels, weights):
        dz = np.zeros_like(z)
        dz[np.arange(len(labels)), labels] = np.where(np.isnan(weights), 0, dy)
        return dz, None, None

    inputs = {"z": normal(3, 4), "labels": np.array([0, 3, 1]), "weights": np.array([1.0, np.nan, 1])}
    assert check_gradients(forward, backward, inputs, wrt="z").unchecked == {"weights": "not in wrt"}


def test_losses():
    def squares(y, target, *, scale=1.0):
        return scale * np.mean((y - target) ** 2), 2 * scale * (y - target) / y.size

    inputs = {"y": normal(3, 5), "target": normal(3, 5, seed=1)}
    check_loss(squares, inputs, wrt="y")
    check_loss(lambda y, target: (squares(y, target)[0], {"dy": squares(y, target)[1]}), inputs, wrt="y")
    check_loss(lambda y, target: (squares(y, target)[0], (squares(y, target)[1], -squares(y, target)[1])), inputs)
    assert "N times too large everywhere (N = 15" in failure(
        check_loss, lambda y, target: (squares(y, target)[0], 2 * (y - target)), inputs, wrt="y"
    )
    with pytest.raises(ValueError, match=r"loss: the loss must be one number, got shape \[3, 5\]"):
        check_loss(lambda y, target: (y, y), inputs, wrt="y")
    with pytest.raises(ValueError, match="loss: wanted .loss, gradients., got float"):
        check_loss(lambda y, target: 1.0, inputs, wrt="y")


class Dense:
    def __init__(self, adds=False):
        self.params, self.grads = {"w": normal(5, 4), "b": normal(4)}, {"dw": 0.0, "db": 0.0}
        self.adds = adds

    def forward(self, x):
        self.x = x
        return dense(x, **self.params)

    def backward(self, dy):
        dx, dw, db = dense_backward(dy, self.x, **self.params)
        before = self.grads if self.adds else {"dw": 0, "db": 0}
        self.grads = {"dw": before["dw"] + dw, "db": before["db"] + db}
        return dx


class Attributes:
    def __init__(self):
        self.W, self.dW = normal(5, 4), None

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


def test_layers():
    layer = Dense()
    before = layer.params["w"].copy()
    assert set(check_layer(layer, normal(3, 5))) == ALL
    np.testing.assert_array_equal(layer.params["w"], before)
    assert "dw is 2 times the first; are gradients added" in failure(check_layer, Dense(adds=True), normal(3, 5))

    class Zeroes(Dense):
        def zero_grad(self):
            self.grads = {"dw": 0.0, "db": 0.0}

    check_layer(Zeroes(adds=True), normal(3, 5))
    assert set(check_layer(Attributes(), normal(3, 5))) == {"x", "W"}
    listed = Dense()
    found = check_layer(listed, normal(3, 5), params=lambda s: list(s.params.values()),
                        grads=lambda s: list(s.grads.values()))
    assert len(found) == 3
    wrong = Dense()
    wrong.backward = lambda dy: 2 * Dense.backward(wrong, dy)
    assert "Dense: dx is wrong" in failure(check_layer, wrong, normal(3, 5))


def test_forward_mode():
    def jvp(x, w, tx, tw):
        return (1 - np.tanh(x @ w) ** 2) * (tx @ w + x @ tw)

    inputs = {"x": normal(3, 5), "w": normal(5, 4)}
    assert set(check_jvp(lambda x, w: np.tanh(x @ w), jvp, inputs)) == {"x", "w"}
    check_jvp(lambda x, w: np.tanh(x @ w), lambda primals, tangents: (np.tanh(primals[0] @ primals[1]),
                                                                     jvp(*primals, *tangents)), inputs)

    def one_wrong(*args):
        t = jvp(*args)
        t[2, 1] *= 1.01
        return t

    message = failure(check_jvp, lambda x, w: np.tanh(x @ w), one_wrong, inputs)
    assert "the tangent along x is wrong at [2, 1] of y: jvp gives" in message and "1 of 12 elements" in message
    assert "jvp returned 3 numbers, y has 12" in failure(check_jvp, lambda x, w: np.tanh(x @ w), lambda *a: np.ones(3),
                                                         inputs)


def test_double_backward():
    def double(dd, dy, x, sign=-1):
        return dd * np.cos(x), sign * dd * dy * np.sin(x)

    assert set(check_double_backward(sine, double, {"x": normal(4)}, dy=normal(4, seed=1))) == {"dy", "x"}
    inputs = {"arguments": {"x": normal(4)}, "dy": normal(4, seed=1)}
    message = failure(check_double_backward, sine, lambda *a: double(*a, sign=1), **inputs)
    assert "dx is wrong" in message and "sign" in message
