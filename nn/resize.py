"""Bilinear resizing with antialiasing, as two small matrix products: how the global branch gets its copy."""

import numpy as np

from ltbc.kernels.arrays import Array, array_module


def resize(x: Array, height: int, width: int) -> Array:
    """x `[N, H, W, C]` as `[N, height, width, C]`; the filter is a triangle, widened when shrinking (as PIL's)."""
    xp = array_module(x)
    rows = xp.asarray(triangle_weights(x.shape[1], height), x.dtype)
    columns = xp.asarray(triangle_weights(x.shape[2], width), x.dtype)
    return xp.einsum("ih,jw,nhwc->nijc", rows, columns, x, optimize=True)


def triangle_weights(old: int, new: int) -> np.ndarray:
    """`[new, old]`: row i holds the weights with which output i reads the old samples; each row sums to 1."""
    scale = old / new
    center = (np.arange(new) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(old) - center[:, None]) / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)
