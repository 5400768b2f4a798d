"""Convolution, pooling, padding, resizing, recurrence: taps, strides, borders and steps that are forgotten."""

import numpy as np

from bench.gradients import Pair, entry


def conv(x, w, stride=1, pad=1):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwckl,klco->nhwo", seen, w)


def conv_backward(dy, x, w, stride=1, pad=1, taps=9):
    xp = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dx, dw, (high, wide) = np.zeros_like(xp), np.zeros_like(w), dy.shape[1:3]
    for tap in range(taps):
        i, j = divmod(tap, 3)
        rows, cols = slice(i, i + stride * high, stride), slice(j, j + stride * wide, stride)
        dx[:, rows, cols] += dy @ w[i, j].T
        dw[i, j] = np.einsum("nhwc,nhwo->co", xp[:, rows, cols], dy)
    return dx[:, pad : dx.shape[1] - pad, pad : dx.shape[2] - pad], dw


def pictures(rng, side=5, cin=2, cout=3):
    return {"x": rng.normal(size=(2, side, side, cin)), "w": rng.normal(size=(3, 3, cin, cout))}


@entry()
def conv3x3(rng, n):
    def shifted(dy, x, w):
        dx, dw = conv_backward(dy, x, w)
        return np.roll(dx, 1, 1), dw

    def not_flipped(dy, x, w):
        return conv(dy, w.transpose(0, 1, 3, 2)), conv_backward(dy, x, w)[1]

    def border(dy, x, w):
        dx, dw = conv_backward(dy, x, w)
        dx[:, :, -1] = 0
        return dx, dw

    return Pair(conv, conv_backward, pictures(rng), wrong={
        "the last tap is missing": lambda dy, x, w: conv_backward(dy, x, w, taps=8),
        "padding off by one": shifted,
        "the kernel not turned by 180 degrees": not_flipped,
        "no gradient at one border": border,
        "dw of a kernel turned by 180 degrees": lambda dy, x, w: (
            conv_backward(dy, x, w)[0], conv_backward(dy, x, w)[1][::-1, ::-1]),
    })


@entry()
def conv3x3_of_stride_2(rng, n):
    def backward(dy, x, w):
        return conv_backward(dy, x, w, 2)

    def spread_without_stride(dy, x, w):
        dx = np.zeros_like(x)
        dx[:, : dy.shape[1], : dy.shape[2]] = conv_backward(dy, x[:, ::2, ::2], w)[0]
        return dx, backward(dy, x, w)[1]

    return Pair(lambda x, w: conv(x, w, 2), backward, pictures(rng), wrong={
        "wrong stride": spread_without_stride,
        "the remainder is left out": lambda dy, x, w: (
            backward(dy, x, w)[0] * (np.arange(5) < 4)[:, None, None], backward(dy, x, w)[1]),
    })


@entry()
def dilated_causal_conv(rng, n):
    def forward(x, w):
        z = np.pad(x, (4, 0))
        return w[0] * z[:-4] + w[1] * z[2:-2] + w[2] * z[4:]

    def backward(dy, x, w, dilation=2):
        z, g = np.pad(x, (4, 0)), np.pad(dy, (0, 4))
        dx = sum(w[k] * g[(2 - k) * dilation :][: len(x)] for k in range(3))
        return dx, np.array([dy @ z[:-4], dy @ z[2:-2], dy @ z[4:]])

    return Pair(forward, backward, {"x": rng.normal(size=12), "w": rng.normal(size=3)}, wrong={
        "dilation forgotten": lambda dy, x, w: backward(dy, x, w, 1)})


def blocks(x):
    return x.reshape(len(x) // 2, 2, -1, 2).transpose(0, 2, 1, 3)


def spread(dy, x, share):
    """dy of each block of 2 x 2 times the share of its elements."""
    return (dy[:, :, None, None] * share).transpose(0, 2, 1, 3).reshape(x.shape)


def to_all(b):
    return b == b.max((2, 3), keepdims=True)


def to_first(b):
    flat = b.reshape(*b.shape[:2], 4)
    return (np.arange(4) == flat.argmax(-1)[..., None]).reshape(b.shape)


@entry()
def max_pool(rng, n):
    return Pair(lambda x: blocks(x).max((2, 3)), lambda dy, x: spread(dy, x, to_first(blocks(x))),
                {"x": rng.normal(size=(6, 6))}, wrong={
        "mean pool's backward": lambda dy, x: spread(dy, x, 0.25 + 0 * blocks(x)),
        "the smallest element's place": lambda dy, x: spread(dy, x, to_first(-blocks(x))),
    })


@entry()
def max_pool_with_ties(rng, n):
    """Half of all blocks have two largest elements or more; the first one's is a right gradient, all of them not."""
    x = np.round(rng.normal(size=(8, 8)))
    return Pair(lambda x: blocks(x).max((2, 3)), lambda dy, x: spread(dy, x, to_first(blocks(x))), {"x": x},
                wrong={"dy to every tied maximum": lambda dy, x: spread(dy, x, to_all(blocks(x)))})


@entry()
def mean_pool(rng, n):
    return Pair(lambda x: blocks(x).mean((2, 3)), lambda dy, x: spread(dy, x, 0.25 + 0 * blocks(x)),
                {"x": rng.normal(size=(6, 4))}, wrong={
        "not divided by the window": lambda dy, x: spread(dy, x, 1 + 0 * blocks(x)),
        "rows for columns": lambda dy, x: spread(dy, x, 0.25 + 0 * blocks(x)).reshape(4, 6).T,
    })


@entry()
def reflect_padding(rng, n):
    def backward(dy, x):
        dx = dy[2:-2].copy()
        dx[1:3] += dy[1::-1]
        dx[-3:-1] += dy[:-3:-1]
        return dx

    return Pair(lambda x: np.pad(x, 2, mode="reflect"), backward, {"x": rng.normal(size=7)}, wrong={
        "zero padding's backward": lambda dy, x: dy[2:-2],
        "as if the edge were doubled": lambda dy, x: dy[2:-2] + np.r_[dy[1::-1], 0, 0, 0, dy[:-3:-1]],
    })


@entry()
def upsample_2x(rng, n):
    def backward(dy, x):
        return dy.reshape(4, 2, 5, 2).sum((1, 3))

    return Pair(lambda x: x.repeat(2, 0).repeat(2, 1), backward, {"x": rng.normal(size=(4, 5))}, wrong={
        "every second element": lambda dy, x: dy[::2, ::2], "mean for sum": lambda dy, x: backward(dy, x) / 4,
    })


@entry()
def recurrence(rng, n):
    """h = tanh(w h + x) over seven steps, h of the last."""

    def states(x, w):
        h = [np.zeros(3)]
        for row in x:
            h.append(np.tanh(w @ h[-1] + row))
        return h

    def backward(dy, x, w, steps=7):
        h, dx, dw = states(x, w), np.zeros_like(x), np.zeros_like(w)
        for t in range(6, 6 - steps, -1):
            dz = dy * (1 - h[t + 1] ** 2)
            dx[t], dw, dy = dz, dw + np.outer(dz, h[t]), w.T @ dz
        return dx, dw

    return Pair(lambda x, w: states(x, w)[-1], backward, {"x": rng.normal(size=(7, 3)), "w": rng.normal(size=(3, 3))},
                wrong={"cut after four steps": lambda dy, x, w: backward(dy, x, w, 4),
                       "the last step alone": lambda dy, x, w: backward(dy, x, w, 1)})


@entry()
def shift(rng, n):
    return Pair(lambda x: np.roll(x, 2), lambda dy, x: np.roll(dy, -2), {"x": rng.normal(size=9)}, wrong={
        "rolled the same way": lambda dy, x: np.roll(dy, 2), "off by one": lambda dy, x: np.roll(dy, -1)})
