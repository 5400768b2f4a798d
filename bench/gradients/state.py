"""State that outlives a call: caches, buffers, masks; arguments changed in place; memory layouts that are ignored."""

import numpy as np

from bench.gradients import Pair, entry
from bench.gradients.styles import Dense


class Accumulates(Dense):
    def backward(self, dy):
        dz = dy * (1 - self.y**2)
        for name, g in {"w": self.x.T @ dz, "b": dz.sum(0)}.items():
            self.grads[name] = self.grads.get(name, 0) + g
        return dz @ self.params["w"].T


class StaleCache(Dense):
    def forward(self, x):
        if not hasattr(self, "x"):
            super().forward(x)
        return np.tanh(x @ self.params["w"] + self.params["b"])


class OneCallLate(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads, self.before = getattr(self, "before", self.grads), self.grads
        return dx


@entry()
def layer_with_state(rng, n):
    return Pair(Dense(rng), None, {"x": rng.normal(size=(5, 4))}, style="layer", pure=False, wrong={
        "gradients accumulate": Accumulates(rng), "cache of the first forward": StaleCache(rng),
        "parameters' gradients of the call before": OneCallLate(rng)})


def derivative(dy, x):
    return dy * np.cos(x)


@entry()
def sine_with_state(rng, n):
    calls, buffer, kept, noise = [], np.zeros((3, 4)), [], np.random.default_rng(5)

    def every_second(dy, x):
        calls.append(1)
        return derivative(dy, x) * (1.1 if len(calls) % 2 == 0 else 1)

    def accumulating_buffer(dy, x):
        buffer[...] += derivative(dy, x)
        return buffer

    def of_the_call_before(dy, x):
        kept.append(derivative(dy, x))
        return kept[-2] if len(kept) > 1 else kept[-1]

    def first_cosine(dy, x):
        kept.append(np.cos(x))
        return dy * kept[0]

    return Pair(np.sin, derivative, {"x": rng.normal(size=(3, 4))}, pure=False, wrong={
        "1.1 times too large at every second call": every_second,
        "adds to the buffer that it returned": accumulating_buffer,
        "the gradient of the call before": of_the_call_before,
        "the cosine of the first call": first_cosine,
        "noise of 1e-3": lambda dy, x: derivative(dy, x) * (1 + 1e-3 * noise.normal(size=x.shape)),
        "changes dy in place": lambda dy, x: np.multiply(dy, np.cos(x), out=dy),
        "changes x in place": lambda dy, x: dy * np.cos(x, out=x),
    })


@entry()
def result_in_a_buffer_that_is_used_again(rng, n):
    """Allowed: whoever calls forward must copy."""
    y = np.zeros(5)
    return Pair(lambda x: np.exp(x, out=y), lambda dy, x: dy * np.exp(x), {"x": rng.normal(size=5)}, pure=False, wrong={
        "2 times too large": lambda dy, x: 2 * dy * np.exp(x),
    })


@entry()
def forward_in_place(rng, n):
    def doubled(x):
        x *= 2
        return np.sin(x)

    def normalized(x):
        x -= x.mean()
        return x / 2

    return Pair(lambda x: np.sin(2 * x), lambda dy, x: 2 * dy * np.cos(2 * x), {"x": rng.normal(size=6)}, pure=False,
                wrong={
        "x is doubled in place": (doubled, lambda dy, x: 2 * dy * np.cos(2 * x)),
        "x is centered in place": (normalized, lambda dy, x: (dy - dy.mean()) / 2),
    })


@entry()
def dropout(rng, n):
    mask, fresh = rng.uniform(size=40) < 0.5, np.random.default_rng(7)

    def random_mask(x):
        return 2 * x * (fresh.uniform(size=40) < 0.5)

    return Pair(lambda x: 2 * x * mask, lambda dy, x: 2 * dy * mask, {"x": rng.normal(size=40)}, pure=False, wrong={
        "a fresh mask in backward": lambda dy, x: 2 * dy * (fresh.uniform(size=40) < 0.5),
        "the scale forgotten": lambda dy, x: dy * mask,
        "another mask at each forward": (random_mask, lambda dy, x: 2 * dy * mask),
    })


@entry()
def running_statistics(rng, n):
    """Allowed: forward updates a running mean that its result does not depend on."""
    running = np.zeros(3)

    def forward(x):
        running[...] = 0.9 * running + 0.1 * x.mean(0)
        return x - x.mean(0)

    return Pair(forward, lambda dy, x: dy - dy.mean(0), {"x": rng.normal(size=(6, 3))}, pure=False, wrong={
        "mean taken for a constant": lambda dy, x: dy})


def transposed(rng):
    return rng.normal(size=(5, 3)).T


@entry()
def layouts(rng, n):
    """x lies in memory by columns; who reads it as it lies gets another order."""

    def as_it_lies(x):
        return np.tanh(x.ravel("K").reshape(x.shape)) * np.arange(15).reshape(3, 5)

    def forward(x):
        return np.tanh(x) * np.arange(15).reshape(3, 5)

    def backward(dy, x):
        return dy * np.arange(15).reshape(3, 5) * (1 - np.tanh(x) ** 2)

    def backward_as_it_lies(dy, x):
        return backward(dy, x.ravel("K").reshape(x.shape))

    return Pair(forward, backward, {"x": transposed(rng)}, pure=False, wrong={
        "forward ignores strides": (as_it_lies, backward),
        "backward ignores strides": backward_as_it_lies,
    })


@entry()
def every_second_column(rng, n):
    """x is a view of an array twice as wide; who takes its first elements in memory gets others."""

    def in_memory(x):
        return np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[1] * 8, 8)) ** 2

    return Pair(lambda x: x**2, lambda dy, x: 2 * dy * x, {"x": rng.normal(size=(4, 6))[:, ::2]}, pure=False, wrong={
        "forward takes it for contiguous": (in_memory, lambda dy, x: 2 * dy * x)})
