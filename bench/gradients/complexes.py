"""Complex numbers, in both conventions: a conjugate that is forgotten."""

import numpy as np

from bench.gradients import Pair, entry


def draw(rng, *shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@entry()
def complex_product(rng, n):
    """dL/da + i dL/db, as PyTorch has it."""
    return Pair(lambda a, b: a * b, lambda dy, a, b: (dy * b.conj(), dy * a.conj()),
                {"a": draw(rng, 4), "b": draw(rng, 4)}, wrong={
        "not conjugated": lambda dy, a, b: (dy * b, dy * a)})


@entry()
def complex_product_as_in_jax(rng, n):
    """dL/da - i dL/db."""
    return Pair(lambda a, b: a * b, lambda dy, a, b: (dy * b, dy * a), {"a": draw(rng, 4), "b": draw(rng, 4)},
                convention="jax", wrong={"conjugated": lambda dy, a, b: (dy * b.conj(), dy * a.conj())})


@entry()
def power_of_a_signal(rng, n):
    """Real results of a complex argument."""
    return Pair(lambda z: abs(z) ** 2, lambda dy, z: 2 * dy * z, {"z": draw(rng, 5)}, wrong={
        "conjugated": lambda dy, z: 2 * dy * z.conj(), "the real part alone": lambda dy, z: 2 * dy * z.real + 0j,
    })


@entry()
def fourier_transform(rng, n):
    return Pair(np.fft.fft, lambda dy, z: 8 * np.fft.ifft(dy), {"z": draw(rng, 8)}, wrong={
        "the forward transform": lambda dy, z: np.fft.fft(dy),
        "divided by the length": lambda dy, z: np.fft.ifft(dy)})


@entry()
def spectrum_of_real_numbers(rng, n):
    def backward(dy, x):
        return 8 * np.fft.ifft(np.concatenate([dy, np.zeros(3)])).real

    return Pair(np.fft.rfft, backward, {"x": rng.normal(size=8)}, wrong={
        "irfft, which counts middle frequencies twice": lambda dy, x: 8 * np.fft.irfft(dy)})
