"""Code as people write it: (y, cache), layers, containers, several results, keywords, scalars, other dtypes."""

import ml_dtypes
import numpy as np

from bench.gradients import Pair, entry
from bench.gradients.rows import softmax


def arguments(rng):
    return {"x": rng.normal(size=(5, 4)), "w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}


@entry()
def tanh_layer_with_cache(rng, n):
    def forward(x, w, b):
        y = np.tanh(x @ w + b)
        return y, (x, w, y)

    def backward(dy, cache):
        x, w, y = cache
        dz = dy * (1 - y * y)
        return dz @ w.T, x.T @ dz, dz.sum(0)

    return Pair(forward, backward, arguments(rng), style="cache", wrong={
        "tanh's derivative forgotten": lambda dy, cache: (dy @ cache[1].T, cache[0].T @ dy, dy.sum(0)),
        "bias divided by the batch size": lambda dy, cache: (*backward(dy, cache)[:2], backward(dy, cache)[2] / 5),
    })


@entry()
def cache_of_the_same_shape(rng, n):
    """(y, cache) where the cache is an array of y's shape, which looks like a second result."""
    return Pair(lambda x: (np.exp(x), x), lambda dy, cache: dy * np.exp(cache), {"x": rng.normal(size=(3, 4))},
                style="cache", wrong={"forgets dy": lambda dy, cache: np.exp(cache)})


@entry()
def gradients_in_a_dict(rng, n):
    def forward(x, params):
        return np.tanh(x @ params["w"] + params["b"]), (x, params)

    def backward(dy, cache):
        x, params = cache
        dz = dy * (1 - np.tanh(x @ params["w"] + params["b"]) ** 2)
        return dz @ params["w"].T, {"w": x.T @ dz, "b": dz.sum(0)}

    a = arguments(rng)
    return Pair(forward, backward, {"x": a["x"], "params": {"w": a["w"], "b": a["b"]}}, style="cache", wrong={
        "b's is 2 times too large": lambda dy, cache: (
            backward(dy, cache)[0], backward(dy, cache)[1] | {"b": 2 * backward(dy, cache)[1]["b"]})})


@entry()
def list_of_weights(rng, n):
    def states(x, weights):
        h = [x]
        for w in weights:
            h.append(np.tanh(h[-1] @ w))
        return h

    def backward(dy, x, weights):
        h = states(x, weights)
        found: list[np.ndarray] = []
        for i in reversed(range(len(weights))):
            dz = dy * (1 - h[i + 1] ** 2)
            found.insert(0, h[i].T @ dz)
            dy = dz @ weights[i].T
        return dy, found

    return Pair(lambda x, weights: states(x, weights)[-1], backward,
                {"x": rng.normal(size=(2, 3)), "weights": [rng.normal(size=(3, 3)) for _ in range(4)]}, wrong={
        "in the order of the backward pass": lambda dy, x, weights: (
            backward(dy, x, weights)[0], backward(dy, x, weights)[1][::-1]),
        "one of them is zeros": lambda dy, x, weights: (
            backward(dy, x, weights)[0], [g * (i != 2) for i, g in enumerate(backward(dy, x, weights)[1])]),
    })


@entry()
def two_results(rng, n):
    return Pair(lambda x: (np.sin(x), np.cos(x)), lambda dy, x: dy[0] * np.cos(x) - dy[1] * np.sin(x),
                {"x": rng.normal(size=(3, 2))}, wrong={
        "ignores the second": lambda dy, x: dy[0] * np.cos(x),
        "a sign": lambda dy, x: dy[0] * np.cos(x) + dy[1] * np.sin(x)})


@entry()
def results_of_different_shape(rng, n):
    """Mean and variance of rows, and the centered rows, as a dict."""

    def forward(x):
        return {"mean": x.mean(1), "centered": x - x.mean(1, keepdims=True)}

    def backward(dy, x):
        d = dy["centered"]
        return d - d.mean(1, keepdims=True) + dy["mean"][:, None] / x.shape[1]

    return Pair(forward, backward, {"x": rng.normal(size=(3, 4))}, wrong={
        "the mean's is not divided": lambda dy, x: backward(dy, x) + dy["mean"][:, None] * 0.75})


class Dense:
    """tanh(x w + b), with params and grads by name."""

    def __init__(self, rng):
        self.params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
        self.grads: dict = {}

    def forward(self, x):
        self.x, self.y = x, np.tanh(x @ self.params["w"] + self.params["b"])
        return self.y

    def backward(self, dy):
        dz = dy * (1 - self.y**2)
        self.grads = {"w": self.x.T @ dz, "b": dz.sum(0)}
        return dz @ self.params["w"].T


class NoDerivative(Dense):
    def backward(self, dy):
        self.grads = {"w": self.x.T @ dy, "b": dy.sum(0)}
        return dy @ self.params["w"].T


class HalfBias(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"] = self.grads["b"] / 2
        return dx


@entry()
def layer(rng, n):
    return Pair(Dense(rng), None, {"x": rng.normal(size=(5, 4))}, style="layer", wrong={
        "tanh's derivative forgotten": NoDerivative(rng), "the bias's gradient is half": HalfBias(rng)})


@entry()
def keyword_arguments(rng, n):
    return Pair(lambda x, *, scale, power=2: scale * x**power, lambda dy, x, *, scale, power: (
        dy * scale * power * x ** (power - 1), (dy * x**power).sum()),
        {"x": rng.normal(size=5), "scale": np.array(1.5), "power": 3}, wrong={
        "scale's gradient is a mean": lambda dy, x, *, scale, power: (
            dy * scale * power * x ** (power - 1), (dy * x**power).mean())})


@entry()
def labels_with_a_gradient_of_none(rng, n):
    x, labels = rng.normal(size=(4, 3)), np.array([0, 2, 1, 2])

    def forward(x, labels):
        return -np.log(softmax(x)[np.arange(4), labels]).mean()

    return Pair(forward, lambda dy, x, labels: (dy * (softmax(x) - np.eye(3)[labels]) / 4, None),
                {"x": x, "labels": labels}, wrong={
        "1 taken off every class": lambda dy, x, labels: (dy * (softmax(x) - 1) / 4, None)})


@entry()
def arguments_in_another_order(rng, n):
    return Pair(lambda x, w, b: np.tanh(x @ w + b), lambda dy, x, w, b, y: (
        (dy * (1 - y * y)).sum(0), x.T @ (dy * (1 - y * y))), arguments(rng), takes=("x", "w", "b", "y"),
        wrt=("b", "w"), wrong={"w's is zeros": lambda dy, x, w, b, y: ((dy * (1 - y * y)).sum(0), 0 * w)})


@entry()
def arguments_named_dy_and_y(rng, n):
    return Pair(lambda y, dy: y * np.sin(dy), lambda g, y, dy: (g * np.sin(dy), g * y * np.cos(dy)),
                {"y": rng.normal(size=4), "dy": rng.normal(size=4)}, wrong={
        "of the other one": lambda g, y, dy: (g * np.sin(dy), g * dy * np.cos(dy))})


@entry()
def missing_values_as_nan(rng, n):
    """NaN in an argument that is not differentiated."""
    target = np.array([0.3, np.nan, -1.0, np.nan, 2.0])

    def backward(dy, x, target):
        return dy * np.where(np.isnan(target), 0, 2 * (x - target))

    return Pair(lambda x, target: np.where(np.isnan(target), 0, (x - target) ** 2).sum(), backward,
                {"x": rng.normal(size=5), "target": target}, wrt=("x",), wrong={
        "NaN for what is missing": lambda dy, x, target: 2 * dy * (x - target),
        "of what is missing": lambda dy, x, target: backward(dy, x, target) + np.isnan(target)})


@entry()
def number_as_an_argument(rng, n):
    return Pair(lambda x, a, b: a * x + b * x**2, lambda dy, x, a, b: (
        dy * (a + 2 * b * x), (dy * x).sum(), (dy * x**2).sum()),
        {"x": rng.normal(size=5), "a": 0.7, "b": np.float64(-1.2)}, wrong={
        "a Python float's gradient": lambda dy, x, a, b: (dy * (a + 2 * b * x), dy.sum(), (dy * x**2).sum()),
        "a NumPy scalar's gradient": lambda dy, x, a, b: (dy * (a + 2 * b * x), (dy * x).sum(), (dy * x).sum()),
    })


@entry()
def float32_alone(rng, n):
    """Code that computes in float32, whatever it is given."""

    def forward(x, w):
        return np.tanh(x.astype(np.float32) @ w.astype(np.float32))

    def backward(dy, x, w, y):
        dz = (dy * (1 - y * y)).astype(np.float32)
        return dz @ w.astype(np.float32).T, x.astype(np.float32).T @ dz

    a = {"x": rng.normal(size=(6, 5)).astype(np.float32), "w": rng.normal(size=(5, 4)).astype(np.float32)}
    return Pair(forward, backward, a, takes="xwy", double=False, wrong={
        "1.1 times too large": lambda dy, x, w, y: tuple(np.float32(1.1) * g for g in backward(dy, x, w, y)),
        "dw from the first half of the batch": lambda dy, x, w, y: (
            backward(dy, x, w, y)[0], backward(dy[:3], x[:3], w, y[:3])[1])})


@entry()
def bfloat16_weights(rng, n):
    """An argument in bfloat16, results in float32."""
    w = rng.normal(size=(4, 3)).astype(ml_dtypes.bfloat16)

    def backward(dy, x, w):
        return dy @ w.astype(np.float32).T, (x.T @ dy).astype(w.dtype)

    return Pair(lambda x, w: x @ w.astype(np.float32), backward, {"x": rng.normal(size=(5, 4)).astype(np.float32),
                                                                  "w": w}, double=False, wrong={
        "the weights' gradient is 2 times too large": lambda dy, x, w: (
            backward(dy, x, w)[0], (2 * x.T @ dy).astype(w.dtype))})
