"""Right pairs, and what their tests share."""

import numpy as np
import pytest

from gradcheck import GradientError, check_gradients


def dense(x, w, b):
    return np.tanh(x @ w + b)


def dense_backward(dy, x, w, b):
    dz = dy * (1 - dense(x, w, b) ** 2)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def arguments(n=3, c=5, o=4, seed=0):
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((n, c)), "w": rng.standard_normal((c, o)), "b": rng.standard_normal(o)}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def sine(dy, x):
    return dy * np.cos(x)


def failure(call, *args, **kwargs):
    """The one line of the GradientError that the call raises."""
    with pytest.raises(GradientError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fails(forward, backward, x, message="", **options):
    """Whether a wrong pair of one argument is found, for a reason that holds `message`."""
    found = failure(check_gradients, forward, backward, {"x": x}, **options)
    assert message in found, found
    return found


def passes(forward, backward, x, **options):
    return check_gradients(forward, backward, {"x": x}, **options)
