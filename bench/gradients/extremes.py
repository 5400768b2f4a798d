"""Very large and very small numbers, constants beside what matters, what is not finite."""

import numpy as np

from bench.gradients import Pair, entry


@entry()
def sine_of_normal_size(rng, n):
    return Pair(np.sin, lambda dy, x: dy * np.cos(x), {"x": rng.normal(size=4)}, wrong={
        "one element is 1e200": lambda dy, x: np.where(np.arange(4) == 1, 1e200, dy * np.cos(x)),
        "one element is NaN": lambda dy, x: np.where(np.arange(4) == 2, np.nan, dy * np.cos(x)),
        "one element is infinite": lambda dy, x: np.where(np.arange(4) == 0, -np.inf, dy * np.cos(x)),
        "one element is of random bits": lambda dy, x: np.where(
            np.arange(4) == 3, np.uint64(0x6B8F_12D4_77A0_93C5).view(np.float64), dy * np.cos(x)),
        "1e200 times too large": lambda dy, x: 1e200 * dy * np.cos(x),
        "1e-200 times as large": lambda dy, x: 1e-200 * dy * np.cos(x),
    })


def scaled(scale):
    """tanh(x / scale): the same function, of very large or very small numbers."""

    def make(rng, n):
        def backward(dy, x, y):
            return dy * (1 - y * y) / scale

        return Pair(lambda x: np.tanh(x / scale), backward, {"x": scale * rng.normal(size=6)}, takes="xy", wrong={
            "is 2 times too large": lambda dy, x, y: 2 * backward(dy, x, y),
            "zeros": lambda dy, x, y: 0 * x,
        })

    return make


for exponent in (-200, -30, -8, 8, 30, 150):
    make = scaled(10.0**exponent)
    make.__name__ = f"tanh_of_numbers_near_1e{exponent}"
    entry()(make)


@entry()
def results_near_1e154(rng, n):
    return Pair(lambda x: 1e154 * np.sin(x), lambda dy, x: 1e154 * dy * np.cos(x), {"x": rng.normal(size=5)},
                wrong={"half": lambda dy, x: 5e153 * dy * np.cos(x)})


@entry()
def squares_of_1e150_and_1(rng, n):
    """Elements that differ by 300 powers of ten."""
    x = np.array([1e150, 3.0, -1e-150, 0.5])
    return Pair(lambda x: x * x, lambda dy, x: 2 * dy * x, {"x": x}, wrong={
        "one of the small ones": lambda dy, x: dy * x * [2, 1, 2, 2]})


def shifted(constant):
    def make(rng, n):
        return Pair(lambda x: constant + (x * x).sum(), lambda dy, x: 2 * dy * x, {"x": rng.normal(size=6)}, wrong={
            "zeros": lambda dy, x: 0 * x, "half": lambda dy, x: dy * x})

    return make


for exponent in (4, 8):
    make = shifted(10.0**exponent)
    make.__name__ = f"loss_above_1e{exponent}"
    entry()(make)


def masked(constant):
    """What is masked has a large constant, elsewhere a function as usual: the constant must not set the scale."""

    def make(rng, n):
        keep = rng.uniform(size=(4, 5)) < 0.7
        return Pair(lambda x: np.where(keep, np.tanh(x), constant), lambda dy, x: np.where(
            keep, dy * (1 - np.tanh(x) ** 2), 0), {"x": rng.normal(size=(4, 5))}, wrong={
            "zeros": lambda dy, x: 0 * x, "one row is doubled": lambda dy, x: np.where(
                keep, dy * (1 - np.tanh(x) ** 2), 0) * np.array([1, 2, 1, 1])[:, None]})

    return make


for name, constant in {"1e12": -1e12, "1e30": -1e30, "finfo_min": np.finfo(float).min}.items():
    make = masked(constant)
    make.__name__ = f"mask_of_-{name}" if name[0] == "1" else f"mask_of_{name}"
    entry()(make)


@entry()
def twelve_sigmoids(rng, n):
    """Twelve layers with a bias: the first argument's gradient is 1e-8 of the result."""
    w = [rng.normal(size=(4, 4)) for _ in range(12)]

    def layers(x):
        h = [x]
        for m in w:
            h.append(1 / (1 + np.exp(-h[-1] @ m)))
        return h

    def backward(dy, x, first=0):
        h = layers(x)
        for i in reversed(range(first, 12)):
            dy = dy * h[i + 1] * (1 - h[i + 1]) @ w[i].T
        return dy

    return Pair(lambda x: layers(x)[-1], backward, {"x": rng.normal(size=(3, 4))}, wrong={
        "zeros": lambda dy, x: 0 * x, "is 1.5 times too large": lambda dy, x: 1.5 * backward(dy, x)})


@entry()
def small_share_of_a_second_argument(rng, n):
    return Pair(lambda x, b: x + 1e-11 * b, lambda dy, x, b: (dy, 1e-11 * dy),
                {"x": rng.normal(size=5), "b": 1e6 * rng.normal(size=5)}, wrong={
        "its gradient is zeros": lambda dy, x, b: (dy, 0 * dy)})


@entry()
def rows_of_different_size(rng, n):
    """One row's gradient is 1e-6 of the others'."""
    size = np.array([1, 1e-6, 1, 1])[:, None]

    def backward(dy, x):
        return dy * size * np.cos(x)

    return Pair(lambda x: size * np.sin(x), backward, {"x": rng.normal(size=(4, 5))}, wrong={
        "the small row is doubled": lambda dy, x: backward(dy, x) * np.array([1, 2, 1, 1])[:, None],
        "the small row is missing": lambda dy, x: backward(dy, x) * np.array([1, 0, 1, 1])[:, None],
    })


@entry()
def small_rows_of_x(rng, n):
    """The small row is one of the argument: x near 1e-6, with a gradient of usual size."""
    x = rng.normal(size=(4, 5)) * np.array([1, 1, 1e-6, 1])[:, None]
    return Pair(lambda x: np.exp(x), lambda dy, x, y: dy * y, {"x": x}, takes="xy", wrong={
        "its gradient is 1 % too large": lambda dy, x, y: dy * y * np.array([1, 1, 1.01, 1])[:, None]})


@entry()
def sine_near_1e5(rng, n):
    return Pair(np.sin, lambda dy, x: dy * np.cos(x), {"x": 1e5 + rng.normal(size=6)}, wrong={
        "sine for cosine": lambda dy, x: dy * np.sin(x), "1 % too large": lambda dy, x: 1.01 * dy * np.cos(x)})


@entry()
def sine_near_1e9(rng, n):
    return Pair(np.sin, lambda dy, x: dy * np.cos(x), {"x": 1e9 + rng.normal(size=6)}, wrong={
        "sine for cosine": lambda dy, x: dy * np.sin(x)})


@entry()
def seconds_since_1970(rng, n):
    """The time of the day of timestamps, as two waves."""
    turn = 2 * np.pi / 86400

    def backward(dy, t):
        return turn * (dy[0] * np.cos(turn * t) - dy[1] * np.sin(turn * t))

    return Pair(lambda t: np.stack([np.sin(turn * t), np.cos(turn * t)]), backward,
                {"t": 1.7e9 + 86400 * rng.uniform(size=5)}, wrong={
        "forgets the inner derivative": lambda dy, t: backward(dy, t) / turn,
        "a sign": lambda dy, t: turn * (dy[0] * np.cos(turn * t) + dy[1] * np.sin(turn * t))})


@entry()
def steep(rng, n):
    return Pair(lambda x: np.tanh(1e4 * x), lambda dy, x, y: 1e4 * dy * (1 - y * y), {"x": 1e-4 * rng.normal(size=5)},
                takes="xy", wrong={"half": lambda dy, x, y: 5e3 * dy * (1 - y * y)})


@entry()
def stiff_sum(rng, n):
    """Slopes from 1e-3 to 1e6 in one argument."""
    rate = 10.0 ** np.arange(-3, 7)

    def backward(dy, x):
        return dy * rate * np.cos(rate * x)

    return Pair(lambda x: np.sin(rate * x).sum(), backward, {"x": rng.normal(size=10) / rate}, wrong={
        "the steepest is doubled": lambda dy, x: backward(dy, x) * np.r_[np.ones(9), 2],
        "the flattest is doubled": lambda dy, x: backward(dy, x) * np.r_[2, np.ones(9)]})
