"""Numbers of all kinds: complex ones, PyTorch, JAX, float32 and 16 bits."""

import ml_dtypes
import numpy as np
import pytest
import torch

from gradcheck import GradientError, check_autograd, check_gradients
from tests.gradcheck.pairs import fails, failure, normal, passes, sine


def test_complex_numbers():
    z = normal(4) + 1j * normal(4, seed=1)
    passes(lambda z: z * z, lambda dy, z: 2 * dy * np.conj(z), z)
    passes(lambda z: z * z, lambda dy, z: 2 * dy * z, z, complex="plain")
    fails(lambda z: z * z, lambda dy, z: 2 * dy * z, z, 'the other convention of complex gradients: complex="plain"')
    passes(lambda z: np.abs(z) ** 2, lambda dy, z: 2 * dy * z, z)
    passes(lambda x: x * 1j, lambda dy, x: dy.imag, normal(4))
    with pytest.raises(GradientError, match="dx is float64, but x is complex128"):
        passes(lambda z: z * z, lambda dy, z: (2 * dy * np.conj(z)).real, z)


class Product(torch.autograd.Function):
    factor = 1.0

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return torch.tanh(x @ w)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dz = dy * (1 - torch.tanh(x @ w) ** 2)
        return dz @ w.T, Product.factor * x.T @ dz


def test_torch(monkeypatch):
    inputs = {"x": torch.randn(3, 5), "w": torch.randn(4, 5).T}
    assert check_autograd(Product.apply, inputs).dtype == "float64"
    monkeypatch.setattr(Product, "factor", 1.01)
    message = failure(check_autograd, Product.apply, inputs)
    assert message.startswith("Product: dw is wrong at") and "1.01 times too large" in message
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.GELU())
    assert set(check_autograd(module, [torch.randn(3, 5)])) >= {"0.weight", "1.bias"}
    pair = check_gradients(lambda x: torch.sin(x), lambda dy, x: dy * torch.cos(x), {"x": torch.randn(4)})
    assert pair.dtype == "float64"
    fails(lambda x: torch.sin(x), lambda dy, x: dy * torch.sin(x), torch.randn(4))


def test_jax():
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def twice(x):
        return jax.numpy.sin(x)

    twice.defvjp(lambda x: (jax.numpy.sin(x), x), lambda x, dy: (2 * dy * jax.numpy.cos(x),))
    assert check_autograd(jax.numpy.tanh, [jax.numpy.ones(3)]).dtype == "float32"
    assert "2 times too large" in failure(check_autograd, twice, [jax.numpy.arange(3.0)])


def test_float32_and_16_bits():
    def narrow(dtype):
        return lambda x: np.sin(x.astype(float)).astype(dtype), lambda dy, x: sine(dy.astype(float), x).astype(dtype)

    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        forward, backward = narrow(dtype)
        for seed in range(5):
            x = normal(100, seed=seed).astype(dtype)
            assert passes(forward, backward, x).dtype == np.dtype(dtype).name
            found = fails(forward, lambda dy, x, b=backward: 2 * b(dy, x), x)
            assert f"of {np.dtype(dtype).name}, in which forward computes" in found
    forward, backward = narrow(np.float32)
    assert passes(forward, backward, normal(50)).dtype == "float32"
    fails(forward, lambda dy, x: 1.05 * backward(dy, x), normal(50))

    def mixed(w, wrong=1):
        return lambda dy, w: (wrong * dy * (1 - np.tanh(w.astype(np.float32)) ** 2)).astype(w.dtype)

    w = normal(4, 3).astype(ml_dtypes.bfloat16)
    assert check_gradients(lambda w: np.tanh(w.astype(np.float32)), mixed(w), {"w": w}).dtype == "bfloat16"
    failure(check_gradients, lambda w: np.tanh(w.astype(np.float32)), mixed(w, 2), {"w": w})

    def product(dy, x, w, wrong=1):
        return dy @ w.astype(np.float32).T, (wrong * x.T @ dy).astype(w.dtype)

    inputs = {"x": normal(5, 4).astype(np.float32), "w": normal(4, 3).astype(ml_dtypes.bfloat16)}
    assert check_gradients(lambda x, w: x @ w.astype(np.float32), product, inputs).dtype == "bfloat16"
    wrong = failure(check_gradients, lambda x, w: x @ w.astype(np.float32), lambda *a: product(*a, wrong=2), inputs)
    assert "dw is wrong" in wrong

    def strict(x):
        if x.dtype != np.float32:
            raise TypeError("no matching signature")
        return np.sin(x)

    assert passes(strict, sine, normal(50).astype(np.float32)).dtype == "float32"
    assert passes(np.sin, sine, normal(50).astype(np.float32)).dtype == "float64"
    assert passes(np.sin, sine, normal(50), dtype="float32").dtype == "float32"
