"""Functions of each element: the derivative of another function, of the other side, of another place."""

import math

import numpy as np

from bench.gradients import Pair, entry

SIZES = 10, 1000, 100_000
LARGE = *SIZES, 10_000_000


@entry(*LARGE)
def tanh(rng, n):
    def one_element(dy, x, y):
        dx = dy * (1 - y * y)
        dx[n // 3] *= 2
        return dx

    return Pair(
        lambda x: np.tanh(x), lambda dy, x, y: dy * (1 - y * y), {"x": rng.normal(size=n)}, takes="xy",
        wrong={"one element is 2 times too large": one_element, "takes x for y": lambda dy, x, y: dy * (1 - x * x)},
    )


@entry()
def tanh_of_20000(rng, n):
    def one_element(dy, x, y):
        dx = dy * (1 - y * y)
        dx[12_345] *= 1.01
        return dx

    return Pair(lambda x: np.tanh(x), lambda dy, x, y: dy * (1 - y * y), {"x": rng.normal(size=20_000)}, takes="xy",
                wrong={"one element is 1 % too large": one_element})


@entry(10**6)
def sine(rng, n):
    def one_element(dy, x):
        dx = dy * np.cos(x)
        dx[-2] = -dx[-2]
        return dx

    return Pair(np.sin, lambda dy, x: dy * np.cos(x), {"x": rng.normal(size=n)}, wrong={"one sign": one_element})


@entry()
def sigmoid(rng, n):
    def forward(x):
        return 1 / (1 + np.exp(-x))

    return Pair(forward, lambda dy, x, y: dy * y * (1 - y), {"x": rng.normal(size=(3, 5))}, takes="xy", wrong={
        "ignores dy": lambda dy, x, y: y * (1 - y),
        "takes x for y": lambda dy, x, y: dy * x * (1 - x),
        "returns a constant": lambda dy, x, y: np.full_like(x, 0.25),
    })


def erf(x):
    return np.vectorize(math.erf, otypes=[float])(x)


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_tanh_backward(dy, x):
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return dy * 0.5 * (1 + t + x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2))


def gelu_erf_backward(dy, x):
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return dy * (0.5 * (1 + erf(x / math.sqrt(2))) + x * density)


@entry()
def gelu(rng, n):
    return Pair(gelu_tanh, gelu_tanh_backward, {"x": rng.normal(size=(4, 6))}, wrong={
        "derivative of the GELU with erf": gelu_erf_backward,
        "misses the inner derivative": lambda dy, x: dy * gelu_tanh(x) / x,
    })


@entry()
def gelu_with_erf(rng, n):
    return Pair(
        lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), gelu_erf_backward, {"x": rng.normal(size=(4, 6))},
        wrong={"derivative of the GELU with tanh": gelu_tanh_backward},
    )


@entry()
def swish(rng, n):
    def forward(x, beta):
        return x / (1 + np.exp(-beta * x))

    def backward(dy, x, beta):
        s = 1 / (1 + np.exp(-beta * x))
        return dy * (s + beta * x * s * (1 - s)), (dy * x * x * s * (1 - s)).sum()

    def product_rule(dy, x, beta):
        return dy / (1 + np.exp(-beta * x)), backward(dy, x, beta)[1]

    return Pair(forward, backward, {"x": rng.normal(size=(3, 7)), "beta": np.array(1.3)}, wrong={
        "misses a term of the product rule": product_rule,
        "forgets that beta is 1.3": lambda dy, x, beta: (backward(dy, x, 1.0)[0], backward(dy, x, beta)[1]),
    })


@entry(*SIZES)
def relu_with_zeros(rng, n):
    """Half of the elements lie on the kink; its right derivative is 0 there as is customary."""
    x = np.maximum(np.round(rng.normal(size=n), 1), 0)
    x[0] = 0.7
    return Pair(lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), {"x": x},
                wrong={"is 0.1 % too large": lambda dy, x: dy * (x > 0) * 1.001})


@entry()
def leaky_relu(rng, n):
    return Pair(
        lambda x: np.where(x > 0, x, 0.1 * x), lambda dy, x: np.where(x > 0, dy, 0.1 * dy),
        {"x": rng.normal(size=(4, 5))}, wrong={
            "0 on the left": lambda dy, x: dy * (x > 0), "sides changed": lambda dy, x: np.where(x < 0, dy, 0.1 * dy),
            "0.01 for 0.1": lambda dy, x: np.where(x > 0, dy, 0.01 * dy),
        },
    )


@entry()
def prelu(rng, n):
    def backward(dy, x, slope):
        return np.where(x > 0, dy, slope * dy), (dy * np.minimum(x, 0)).sum(0)

    return Pair(
        lambda x, slope: np.where(x > 0, x, slope * x), backward,
        {"x": rng.normal(size=(6, 3)), "slope": rng.uniform(0.1, 0.4, 3)}, wrong={
            "mean for sum": lambda dy, x, slope: (backward(dy, x, slope)[0], (dy * np.minimum(x, 0)).mean(0)),
            "slope's gradient from the right": lambda dy, x, slope: (
                backward(dy, x, slope)[0], (dy * np.maximum(x, 0)).sum(0)),
        },
    )


@entry()
def elu(rng, n):
    return Pair(
        lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0))),
        lambda dy, x, y: dy * np.where(x > 0, 1, y + 1.5), {"x": rng.normal(size=(5, 4))}, takes="xy",
        wrong={"alpha taken for 1": lambda dy, x, y: dy * np.where(x > 0, 1, y + 1)},
    )


@entry()
def clip(rng, n):
    return Pair(
        lambda x: np.clip(x, -1, 1), lambda dy, x: dy * (abs(x) < 1), {"x": 1.5 * rng.normal(size=(5, 5))}, wrong={
            "passes what was clipped": lambda dy, x: dy,
            "passes one side": lambda dy, x: dy * (x < 1),
            "clips dy": lambda dy, x: np.clip(dy, -1, 1) * (abs(x) < 1),
        },
    )


@entry()
def huber(rng, n):
    def backward(dy, x, target):
        d = dy * np.clip(x - target, -1, 1)
        return d, -d

    return Pair(
        lambda x, target: np.where(abs(x - target) < 1, 0.5 * (x - target) ** 2, abs(x - target) - 0.5), backward,
        {"x": 2 * rng.normal(size=(4, 6)), "target": rng.normal(size=(4, 6))}, wrong={
            "1 on the other side": lambda dy, x, target: (
                dy * np.where(abs(x - target) < 1, x - target, 1), backward(dy, x, target)[1]),
            "target's sign": lambda dy, x, target: (backward(dy, x, target)[0],) * 2,
        },
    )


@entry()
def softplus(rng, n):
    x = np.concatenate([rng.normal(size=8), [-60, 800]])
    return Pair(lambda x: np.logaddexp(0, x), lambda dy, x: dy / (1 + np.exp(-x)), {"x": x}, wrong={
        "NaN where exp(x) overflows": lambda dy, x: dy * np.exp(x) / (1 + np.exp(x)),
    })


@entry()
def power(rng, n):
    def backward(dy, x, p):
        return dy * p * x ** (p - 1), dy * x**p * np.log(x)

    return Pair(
        lambda x, p: x**p, backward, {"x": rng.uniform(0.5, 2, 6), "p": rng.uniform(1, 3, 6)}, wrong={
            "exponent not lowered": lambda dy, x, p: (dy * p * x**p, backward(dy, x, p)[1]),
            "log10 for log": lambda dy, x, p: (backward(dy, x, p)[0], dy * x**p * np.log10(x)),
        },
    )


@entry()
def arctan2(rng, n):
    def backward(dy, y, x):
        return dy * x / (x * x + y * y), -dy * y / (x * x + y * y)

    return Pair(np.arctan2, backward, {"y": rng.normal(size=7), "x": rng.normal(size=7)}, wrong={
        "arguments changed": lambda dy, y, x: backward(dy, y, x)[::-1],
        "signs lost": lambda dy, y, x: tuple(abs(g) for g in backward(dy, y, x)),
    })
