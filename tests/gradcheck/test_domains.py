"""Domains, offsets, long sums, and how often forward is called: no false alarm over many seeds."""

import numpy as np
import pytest

from gradcheck import check_gradients
from tests.gradcheck.pairs import arguments, dense, dense_backward, fails, failure, normal, passes, sine


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def mean_entropy(p, rows, labels):
    return -np.log(p[rows, labels]).mean()


def mean_entropy_backward(dy, p, rows, labels):
    dp = np.zeros_like(p)
    dp[rows, labels] = -dy / p[rows, labels] / len(rows)
    return dp, None, None


def entropy_of_logits_backward(dy, z, rows, labels):
    dz = softmax(z)
    dz[rows, labels] -= 1
    return dy * dz / len(rows), None, None


@pytest.mark.parametrize("n, seeds", [(10, 20), (1000, 20), pytest.param(100_000, 20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name, forward, backward", [
    ("log", np.log, lambda dy, x: dy / x),
    ("sqrt", np.sqrt, lambda dy, x: dy / 2 / np.sqrt(x)),
    ("sum of log", lambda x: np.log(x).sum(), lambda dy, x: dy / x),
    ("log(1 - x)", lambda x: np.log(1 - x), lambda dy, x: -dy / (1 - x)),
    ("arccos", lambda x: np.arccos(2 * x - 1), lambda dy, x: -dy / np.sqrt(x - x * x)),
])
def test_domains(n, seeds, name, forward, backward):
    for seed in range(seeds):
        x = np.random.default_rng(seed).random(n)
        passes(forward, backward, x, seed=seed)
    fails(forward, lambda dy, x: 1.001 * backward(dy, x), x)


@pytest.mark.parametrize("n, seeds", [(10, 20), (1000, 20), pytest.param(10_000, 20, marks=pytest.mark.slow)])
def test_cross_entropy(n, seeds):
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        fixed = {"rows": np.arange(n), "labels": rng.integers(0, 10, n)}
        p = softmax(rng.standard_normal((n, 10)))
        check_gradients(mean_entropy, mean_entropy_backward, {"p": p, **fixed}, seed=seed)
        z = {"z": 3 * rng.standard_normal((n, 10)), **fixed}
        check_gradients(lambda z, *a: mean_entropy(softmax(z), *a), entropy_of_logits_backward, z, seed=seed)


@pytest.mark.parametrize("offset", [1e5, 1e9, 1.7e9, 1e12])
def test_offsets(offset):
    for seed in range(5):
        passes(np.sin, sine, offset + normal(5, seed=seed), seed=seed)
    fails(np.sin, lambda dy, x: 1.01 * sine(dy, x), offset + normal(5))


def test_bounds_and_step():
    def forward(x):
        assert (x >= 0).all() and (x <= 1).all()
        return x * x

    x = np.array([0.0, 0.3, 1.0])
    found = passes(forward, lambda dy, x: 2 * dy * x, x, bounds=(0, 1))
    assert "2 elements on a bound" in str(found)
    fails(forward, lambda dy, x: dy * x, x, "2 times too small", bounds={"x": (0, 1)})
    with pytest.raises(ValueError, match="x lies outside of its bounds"):
        passes(forward, lambda dy, x: 2 * dy * x, x + 1, bounds=(0, 1))
    assert passes(np.sin, sine, normal(3), step=1e-3, tolerance=1e-4).rows[0].step == 1e-3


def test_tangents():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((4, 3)))
    s = rng.standard_normal((4, 4))
    p = softmax(rng.standard_normal((3, 5)))

    def orthogonal(q):
        assert np.abs(q.T @ q - np.eye(3)).max() < 1e-12
        return np.sin(q)

    def symmetric(s):
        assert np.abs(s - s.T).max() < 1e-12
        return s**3

    def simplex(p):
        assert np.abs(p.sum(-1) - 1).max() < 1e-12 and (p > 0).all()
        return np.log(p)

    cube = symmetric, lambda dy, x: 3 * dy * x * x, s + s.T
    for forward, backward, x in ((orthogonal, sine, q), cube, (simplex, lambda dy, x: dy / x, p)):
        passes(forward, backward, x, tangent=forward.__name__)
        fails(forward, lambda dy, x, b=backward: 1.01 * b(dy, x), x, tangent=forward.__name__)
    passes(np.sin, sine, normal(3), tangent=lambda rng, x: rng.standard_normal(x.shape))
    with pytest.raises(ValueError, match="tangent must be one of symmetric, orthogonal, simplex"):
        passes(np.sin, sine, normal(3), tangent="sphere")


@pytest.mark.parametrize("size", [10, 1000, 30_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_calls(size):
    """No more than 17 of forward an argument, at any size; a wrong element in a million is found with few more."""
    x = normal(size)
    assert passes(np.sin, sine, x).calls["forward"] <= 17
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return np.sin(x)

    wrong = size // 3

    def backward(dy, x):
        dx = sine(dy, x)
        dx[wrong] *= 2
        return dx

    assert f"dx is wrong at [{wrong}]" in fails(counted, backward, x)
    assert calls <= 200


def test_calls_of_several_arguments():
    found = check_gradients(dense, dense_backward, arguments())
    assert found.calls["forward"] <= 3 * 17 and found.calls["backward"] == 4


def test_long_sums():
    for seed in range(5):
        x = normal(50_000, seed=seed)
        passes(lambda x: (x * x).mean(), lambda dy, x: 2 * dy * x / x.size, x, seed=seed)
        passes(lambda x: np.cumsum(x), lambda dy, x: np.cumsum(dy[::-1])[::-1], x[:5000], seed=seed)
    assert "1/N" not in failure(check_gradients, lambda x: (x * x).mean(), lambda dy, x: dy * x / x.size, {"x": x})
