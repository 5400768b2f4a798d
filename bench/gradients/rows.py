"""Functions of rows: normalizations, softmax, losses, scans. What is forgotten is a sum, a path or a factor."""

import numpy as np

from bench.gradients import Pair, entry
from bench.gradients.elementwise import LARGE, SIZES


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(dy, y):
    return y * (dy - (dy * y).sum(-1, keepdims=True))


@entry(*LARGE)
def softmax_of_rows(rng, n):
    return Pair(softmax, softmax_backward, {"x": rng.normal(size=(max(2, n // 5), 5))}, takes="y", wrong={
        "divides by the batch size": lambda dy, y: softmax_backward(dy, y) / len(y),
        "the diagonal of the Jacobian alone": lambda dy, y: dy * y * (1 - y),
        "sums over the batch": lambda dy, y: y * (dy - (dy * y).sum(0)),
    })


@entry()
def log_softmax(rng, n):
    def forward(x):
        z = x - x.max(-1, keepdims=True)
        return z - np.log(np.exp(z).sum(-1, keepdims=True))

    return Pair(forward, lambda dy, x: dy - softmax(x) * dy.sum(-1, keepdims=True), {"x": rng.normal(size=(4, 5))},
                wrong={"dy not summed": lambda dy, x: dy - softmax(x) * dy,
                       "softmax's backward": lambda dy, x: softmax_backward(dy, softmax(x))})


@entry()
def logsumexp(rng, n):
    def forward(x):
        m = x.max(1)
        return m + np.log(np.exp(x - m[:, None]).sum(1))

    return Pair(forward, lambda dy, x: dy[:, None] * softmax(x), {"x": 10 * rng.normal(size=(4, 6))}, wrong={
        "argmax for softmax": lambda dy, x: dy[:, None] * (x == x.max(1, keepdims=True)),
        "not normalized": lambda dy, x: dy[:, None] * np.exp(x - x.max(1, keepdims=True)),
    })


def normalized(x, axis, eps=1e-5):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def normalized_backward(g, x, axis, eps=1e-5):
    z, mean = normalized(x, axis, eps), {"axis": axis, "keepdims": True}
    return (g - g.mean(**mean) - z * (g * z).mean(**mean)) / np.sqrt(x.var(**mean) + eps)


@entry()
def layer_norm(rng, n):
    def backward(dy, x, gamma, beta):
        return normalized_backward(dy * gamma, x, -1), (dy * normalized(x, -1)).sum(0), dy.sum(0)

    def variance_of_a_sample(dy, x, gamma, beta):
        dx, *others = backward(dy, x, gamma, beta)
        return dx * np.sqrt(x.var(-1, keepdims=True) / x.var(-1, ddof=1, keepdims=True)), *others

    arguments = {"x": rng.normal(size=(4, 6)), "gamma": rng.uniform(0.5, 2, 6), "beta": rng.normal(size=6)}
    return Pair(lambda x, gamma, beta: normalized(x, -1) * gamma + beta, backward, arguments, wrong={
        "gamma outside the sums": lambda dy, x, gamma, beta: (
            gamma * normalized_backward(dy, x, -1), *backward(dy, x, gamma, beta)[1:]),
        "variance with n - 1": variance_of_a_sample,
        "gamma's gradient from x": lambda dy, x, gamma, beta: (
            backward(dy, x, gamma, beta)[0], (dy * x).sum(0), dy.sum(0)),
        "beta's gradient is a mean": lambda dy, x, gamma, beta: (*backward(dy, x, gamma, beta)[:2], dy.mean(0)),
    })


@entry()
def batch_norm(rng, n):
    def no_mean(dy, x):
        z = normalized(x, 0)
        return (dy - z * (dy * z).mean(0)) / np.sqrt(x.var(0) + 1e-5)

    def no_variance(dy, x):
        return (dy - dy.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    return Pair(lambda x: normalized(x, 0), lambda dy, x: normalized_backward(dy, x, 0),
                {"x": 2 + 3 * rng.normal(size=(8, 3))}, wrong={
        "misses the mean's path": no_mean,
        "misses the variance's path": no_variance,
        "statistics taken for constants": lambda dy, x: dy / np.sqrt(x.var(0) + 1e-5),
        "eps of 1e-3": lambda dy, x: normalized_backward(dy, x, 0, 1e-3),
    })


@entry()
def rms_norm(rng, n):
    def backward(dy, x, gamma, eps=0.1):
        r = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)
        g = dy * gamma
        return r * g - r**3 * x * (g * x).mean(-1, keepdims=True), (dy * x * r).sum(0)

    return Pair(lambda x, gamma: gamma * x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1), backward,
                {"x": rng.normal(size=(5, 4)), "gamma": rng.uniform(0.5, 2, 4)}, wrong={
        "eps forgotten": lambda dy, x, gamma: (backward(dy, x, gamma, 0.0)[0], backward(dy, x, gamma)[1]),
        "r squared for r cubed": lambda dy, x, gamma: (
            dy * gamma / np.sqrt((x * x).mean(-1, keepdims=True) + 0.1)
            - x * (dy * gamma * x).mean(-1, keepdims=True) / ((x * x).mean(-1, keepdims=True) + 0.1),
            backward(dy, x, gamma)[1]),
    })


@entry()
def cosine_similarity(rng, n):
    def forward(a, b):
        return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))

    def backward(dy, a, b, y):
        na, nb = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
        dy, y = dy[:, None], y[:, None]
        return dy * (b / (na * nb) - y * a / na**2), dy * (a / (na * nb) - y * b / nb**2)

    def no_projection(dy, a, b, y):
        return dy[:, None] * b / np.linalg.norm(a, axis=-1, keepdims=True) / np.linalg.norm(
            b, axis=-1, keepdims=True), backward(dy, a, b, y)[1]

    def not_squared(dy, a, b, y):
        na, nb = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
        return dy[:, None] * (b / (na * nb) - y[:, None] * a / na), backward(dy, a, b, y)[1]

    return Pair(forward, backward, {"a": rng.normal(size=(3, 5)), "b": rng.normal(size=(3, 5))}, takes="aby",
                wrong={"norms taken for constants": no_projection, "a norm not squared": not_squared})


@entry(*SIZES)
def cross_entropy_of_logits(rng, n):
    x = rng.normal(size=(max(2, n // 5), 5))
    labels = rng.integers(0, 5, len(x))

    def forward(x, labels):
        z = x - x.max(-1, keepdims=True)
        return (np.log(np.exp(z).sum(-1)) - z[np.arange(len(x)), labels]).mean()

    def backward(dy, x, labels):
        return dy * (softmax(x) - np.eye(5)[labels]) / len(x)

    return Pair(forward, backward, {"x": x, "labels": labels}, wrong={
        "not divided by the batch size": lambda dy, x, labels: backward(dy, x, labels) * len(x),
        "one-hot not subtracted": lambda dy, x, labels: dy * softmax(x) / len(x),
    })


@entry(*SIZES)
def cross_entropy_of_probabilities(rng, n):
    """Probabilities down to 1e-6, whose logarithm is steep."""
    p = rng.uniform(0, 1, n) ** 6 * 0.999 + 1e-6
    return Pair(lambda p: -np.log(p).sum(), lambda dy, p: -dy / p, {"p": p}, wrong={
        "clipped at 1e-3": lambda dy, p: -dy / np.maximum(p, 1e-3) if p.min() < 1e-3 else -1.01 * dy / p,
    })


@entry()
def mean_squared_error(rng, n):
    def backward(dy, y, target):
        return 2 * dy * (y - target) / y.size, 2 * dy * (target - y) / y.size

    return Pair(lambda y, target: ((y - target) ** 2).mean(), backward,
                {"y": rng.normal(size=(4, 5)), "target": rng.normal(size=(4, 5))}, wrong={
        "divides by the batch, not by the elements": lambda dy, y, target: tuple(
            g * y.shape[1] for g in backward(dy, y, target)),
        "forgets the 2": lambda dy, y, target: tuple(g / 2 for g in backward(dy, y, target)),
    })


@entry(*SIZES)
def cumsum(rng, n):
    return Pair(np.cumsum, lambda dy, x: np.cumsum(dy[::-1])[::-1], {"x": rng.normal(size=n)}, wrong={
        "not reversed": lambda dy, x: np.cumsum(dy),
        "leaves itself out": lambda dy, x: np.cumsum(dy[::-1])[::-1] - dy,
    })


@entry()
def cumprod(rng, n):
    def backward(dy, x, y):
        return np.cumsum((dy * y)[::-1])[::-1] / x

    return Pair(np.cumprod, backward, {"x": rng.uniform(0.5, 2, 8)}, takes="xy", wrong={
        "not divided by x": lambda dy, x, y: backward(dy, x, y) * x})


@entry()
def sort(rng, n):
    def backward(dy, x):
        return dy[np.argsort(np.argsort(x))]

    return Pair(np.sort, backward, {"x": rng.permutation(12) + 0.1}, wrong={
        "the permutation for its inverse": lambda dy, x: dy[np.argsort(x)]})


@entry()
def variance(rng, n):
    def backward(dy, x):
        return 2 * dy[:, None] * (x - x.mean(1, keepdims=True)) / x.shape[1]

    return Pair(lambda x: x.var(1), backward, {"x": rng.normal(size=(3, 6))}, wrong={
        "n - 1": lambda dy, x: backward(dy, x) * 6 / 5, "not centered": lambda dy, x: 2 * dy[:, None] * x / 6,
    })
