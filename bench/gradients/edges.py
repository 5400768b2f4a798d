"""Kinks, ties, borders of a domain, sizes of 0, long sums: where right gradients are accused, and wrong ones hide."""

import numpy as np

from bench.gradients import Pair, entry
from bench.gradients.elementwise import LARGE, SIZES


@entry()
def absolute_with_zeros(rng, n):
    x = np.array([0.0, 1.5, 0.0, -2.0, 0.3, 0.0])
    return Pair(np.abs, lambda dy, x: dy * np.sign(x), {"x": x}, wrong={
        "7 where x is 0": lambda dy, x: dy * np.where(x == 0, 7, np.sign(x)),
        "sign of the small ones": lambda dy, x: dy * np.where(abs(x) < 0.5, -np.sign(x), np.sign(x)),
    })


@entry()
def absolute_at_zero_alone(rng, n):
    return Pair(np.abs, lambda dy, x: dy * np.sign(x), {"x": np.zeros(3)}, wrong={"7": lambda dy, x: 7 * dy})


@entry()
def relu_near_zero(rng, n):
    """Elements a millionth beside the kink, on either side."""
    x = np.array([1.0, 1e-6, -1e-6, 3e-5, -2.0, 1e-7])
    return Pair(lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), {"x": x}, wrong={
        "open below -1e-5 only": lambda dy, x: dy * (x > -1e-5), "closed below 1e-4": lambda dy, x: dy * (x > 1e-4)})


@entry()
def largest_of_rows(rng, n):
    x = rng.normal(size=(4, 5))
    x[1, :2] = x[1].max() + 1

    def first(x):
        return np.arange(5) == x.argmax(1)[:, None]

    return Pair(lambda x: x.max(1), lambda dy, x: dy[:, None] * first(x), {"x": x}, wrong={
        "of all rows": lambda dy, x: dy[:, None] * (x == x.max()),
        "of the smallest": lambda dy, x: dy[:, None] * first(-x)})


@entry()
def hinge_loss(rng, n):
    x, t = rng.normal(size=9), np.where(rng.uniform(size=9) < 0.5, -1, 1)
    x[0] = t[0]
    return Pair(lambda x: np.maximum(0, 1 - t * x).mean(), lambda dy, x: dy * np.where(t * x < 1, -t, 0) / 9,
                {"x": x}, wrong={"sign": lambda dy, x: dy * np.where(t * x < 1, t, 0) / 9,
                                 "beyond the margin too": lambda dy, x: -dy * t / 9})


@entry()
def rounding_down(rng, n):
    return Pair(np.floor, lambda dy, x: 0 * dy, {"x": rng.normal(size=7)}, wrong={"straight through": lambda dy, x: dy})


@entry(*SIZES)
def square_root_near_zero(rng, n):
    return Pair(np.sqrt, lambda dy, x, y: dy / (2 * y), {"x": rng.uniform(0, 1, n) ** 4 + 1e-12}, takes="xy",
                wrong={"with an eps": lambda dy, x, y: dy / (2 * y + 0.01)})


@entry(*SIZES)
def logarithm_near_zero(rng, n):
    x = rng.lognormal(0, 3, n)
    return Pair(np.log, lambda dy, x: dy / x, {"x": x}, wrong={
        "of 1 + x": lambda dy, x: dy / (1 + x),
        "one element, the smallest": lambda dy, x: dy / x * np.where(x == x.min(), 2, 1)})


@entry()
def area_hyperbolic_tangent_near_1(rng, n):
    x = np.array([0.0, 0.5, -0.999, 0.9999999, -0.3])
    return Pair(np.arctanh, lambda dy, x: dy / (1 - x * x), {"x": x}, wrong={
        "tanh's": lambda dy, x: dy * (1 - x * x)})


@entry()
def arc_cosine_near_1(rng, n):
    x = np.array([0.1, 1 - 1e-9, -0.7, -1 + 1e-6])
    return Pair(np.arccos, lambda dy, x: -dy / np.sqrt(1 - x * x), {"x": x}, wrong={
        "sign": lambda dy, x: dy / np.sqrt(1 - x * x)})


@entry()
def logarithm_that_refuses(rng, n):
    """Outside of its domain forward raises instead of returning NaN."""

    def forward(x):
        if (x <= 0).any():
            raise ValueError("x must be positive")
        return np.log(x)

    return Pair(forward, lambda dy, x: dy / x, {"x": np.array([1.0, 2.0, 1e-7, 5.0])}, wrong={
        "log10": lambda dy, x: dy / x / np.log(10)})


@entry()
def entropy(rng, n):
    p = np.array([0.5, 0.3, 0.2 - 1e-7, 1e-7])
    return Pair(lambda p: -(p * np.log(p)).sum(), lambda dy, p: -dy * (np.log(p) + 1), {"p": p}, wrong={
        "forgets the 1": lambda dy, p: -dy * np.log(p)})


@entry()
def norm_of_a_short_vector(rng, n):
    return Pair(lambda x: np.linalg.norm(x, axis=1), lambda dy, x, y: (dy / y)[:, None] * x,
                {"x": rng.normal(size=(3, 4)) * np.array([1, 1e-6, 1])[:, None]}, takes="xy", wrong={
        "divided by the square": lambda dy, x, y: (dy / y**2)[:, None] * x})


@entry()
def saturated_sigmoid(rng, n):
    x = np.array([800.0, -800.0, 40.0, -40.0, 0.5, -1.0])

    def backward(dy, x):
        s = np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2
        return dy * s

    return Pair(lambda x: 0.5 * (1 + np.tanh(x / 2)), backward, {"x": x}, wrong={
        "1e-3 where saturated": lambda dy, x: np.maximum(backward(dy, x), 1e-3),
        "dy where saturated": lambda dy, x: np.where(abs(x) > 30, dy, backward(dy, x))})


@entry()
def nothing(rng, n):
    """Arrays of size 0."""
    return Pair(lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy),
                {"x": np.ones((0, 3)), "w": rng.normal(size=(3, 2))}, wrong={
        "dw is not 0": lambda dy, x, w: (dy @ w.T, w)})


@entry()
def constant(rng, n):
    return Pair(lambda x: np.ones(3), lambda dy, x: 0 * x, {"x": rng.normal(size=4)}, wrong={
        "a gradient, though nothing depends on x": lambda dy, x: x})


@entry(*LARGE)
def mean_of_squares(rng, n):
    def one_element(dy, x):
        dx = 2 * dy * x / x.size
        dx[0] = 0
        return dx

    x = rng.normal(size=n)
    x[0] = 3
    return Pair(lambda x: (x * x).mean(), lambda dy, x: 2 * dy * x / x.size, {"x": x}, wrong={
        "not divided": lambda dy, x: 2 * dy * x, "one element is 0": one_element})


@entry()
def polynomial_of_high_degree(rng, n):
    return Pair(lambda x: x**15, lambda dy, x: 15 * dy * x**14, {"x": rng.uniform(0.5, 3, 6)}, wrong={
        "x**15 / x without the 15": lambda dy, x: dy * x**14})


@entry()
def bessel_like_oscillation(rng, n):
    return Pair(lambda x: np.sin(40 * x) / (1 + x * x), lambda dy, x: dy * (
        40 * np.cos(40 * x) / (1 + x * x) - 2 * x * np.sin(40 * x) / (1 + x * x) ** 2), {"x": rng.normal(size=8)},
        wrong={"second term forgotten": lambda dy, x: dy * 40 * np.cos(40 * x) / (1 + x * x)})


@entry()
def distance_matrix(rng, n):
    """Zeros on the diagonal, which have no derivative but by convention."""

    def forward(x):
        return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))

    def backward(dy, x, y):
        g = (dy + dy.T) / np.where(y > 0, y, 1) * (y > 0)
        return g.sum(1)[:, None] * x - g @ x

    return Pair(forward, backward, {"x": rng.normal(size=(4, 3))}, takes="xy", wrong={
        "of one side": lambda dy, x, y: backward(dy / 2, x, y)})
