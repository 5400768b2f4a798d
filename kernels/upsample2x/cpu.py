"""Rows of vectors, one written four times forward and four added backward."""

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import check_storage, deliver, pixel_at, result_buffer, strides
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LANES, LIKE
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import load, load_part, prefetch, size_of, store, store_part


def forward(x, *, out=None):
    check_storage("upsample2x", x)
    n, h, w, c = x.shape
    x = x if x.strides[3] == x.itemsize else np.ascontiguousarray(x)
    y = result_buffer(out, (n, 2 * h, 2 * w, c), x.dtype)
    forall(repeat_pixels, n * h, 0, LIKE[x.dtype], LIKE[y.dtype], address(x), strides(x), address(y), strides(y), h, w,
           c)
    return deliver(out, y)


@compiled
def repeat_pixels(first, last, scratch, like_x, like_y, x, of_x, y, of_y, height, width, channels):
    """of_x, of_y: strides. Unit: a row of x."""
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            at, to = pixel_at(x, of_x, n, i, j), pixel_at(y, of_y, n, 2 * i, 2 * j)
            for c in range(0, channels, LANES):
                left, to_c = channels - c, to + c * size_of(like_y)
                if left >= LANES:
                    v = load(like_x, at + c * size_of(like_x))
                    for place in (to_c, to_c + of_y.pixel, to_c + of_y.row, to_c + of_y.row + of_y.pixel):
                        store(like_y, place, v)
                else:
                    v = load_part(like_x, at + c * size_of(like_x), left)
                    for place in (to_c, to_c + of_y.pixel, to_c + of_y.row, to_c + of_y.row + of_y.pixel):
                        store_part(like_y, place, v, left)


def backward(dy, *, out=None):
    check_storage("upsample2x", dy)
    n, h, w, c = dy.shape
    dy = dy if dy.strides[3] == dy.itemsize else np.ascontiguousarray(dy)
    dx = result_buffer(out, (n, h // 2, w // 2, c), dy.dtype)
    forall(add_pixels, n * (h // 2), 0, LIKE[dy.dtype], LIKE[dx.dtype], address(dy), strides(dy), address(dx),
           strides(dx), h // 2, w // 2, c)
    return deliver(out, dx)


@compiled
def add_pixels(first, last, scratch, like_dy, like_dx, dy, of_dy, dx, of_dx, height, width, channels):
    """of_dy, of_dx: strides. Unit: a row of dx."""
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            for c in range(0, channels, LANES):
                at, left = pixel_at(dy, of_dy, n, 2 * i, 2 * j) + c * size_of(like_dy), channels - c
                to, below = pixel_at(dx, of_dx, n, i, j) + c * size_of(like_dx), at + of_dy.row
                prefetch(at + 2 * of_dy.row)
                prefetch(at + 3 * of_dy.row)
                if left >= LANES:
                    top = load(like_dy, at) + load(like_dy, at + of_dy.pixel)
                    bottom = load(like_dy, below) + load(like_dy, below + of_dy.pixel)
                    store(like_dx, to, top + bottom)
                else:
                    top = load_part(like_dy, at, left) + load_part(like_dy, at + of_dy.pixel, left)
                    bottom = load_part(like_dy, below, left) + load_part(like_dy, below + of_dy.pixel, left)
                    store_part(like_dx, to, top + bottom, left)
