"""Plain array code: a broadcast into 2x2 blocks, and their sum."""

from ltbc.kernels.arrays import array_module


def forward(x, *, out=None):
    n, h, w, c = x.shape
    y = array_module(x).empty((n, 2 * h, 2 * w, c), x.dtype) if out is None else out
    for p in (0, 1):
        for q in (0, 1):
            y[:, p::2, q::2] = x
    return y


def backward(dy, *, out=None):
    n, h, w, c = dy.shape
    dx = array_module(dy).empty((n, h // 2, w // 2, c), dy.dtype) if out is None else out
    dx[...] = (dy[:, ::2, ::2] + dy[:, ::2, 1::2]) + (dy[:, 1::2, ::2] + dy[:, 1::2, 1::2])
    return dx
