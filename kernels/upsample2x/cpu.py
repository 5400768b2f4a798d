"""Rows of vectors, one written four times forward and four added backward."""

import numpy as np

from kernels.simd import LANES, LIKE, address, check_storage, deliver, launch, target
from kernels.simd_compiler import compiled
from kernels.simd_vector import load, load_part, prefetch, size_of, store, store_part


def forward(x, *, out=None):
    check_storage("upsample2x", x)
    n, h, w, c = x.shape
    x = x if x.strides[3] == x.itemsize else np.ascontiguousarray(x)
    y = target(out, (n, 2 * h, 2 * w, c), x.dtype)
    plan = np.array([h, w, c, *x.strides[:3], *y.strides[:3]], np.int64)
    launch(repeat_pixels, n * h, 0, LIKE[x.dtype], LIKE[y.dtype], address(x), address(y), plan)
    return deliver(out, y)


@compiled
def repeat_pixels(first, last, scratch, like_x, like_y, x, y, plan):
    """Unit: a row of x."""
    height, width, channels, x_image, x_row, x_pixel, y_image, y_row, y_pixel = plan
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            at, to = x + n * x_image + i * x_row + j * x_pixel, y + n * y_image + 2 * (i * y_row + j * y_pixel)
            for c in range(0, channels, LANES):
                left, to_c = channels - c, to + c * size_of(like_y)
                if left >= LANES:
                    v = load(like_x, at + c * size_of(like_x))
                    for place in (to_c, to_c + y_pixel, to_c + y_row, to_c + y_row + y_pixel):
                        store(like_y, place, v)
                else:
                    v = load_part(like_x, at + c * size_of(like_x), left)
                    for place in (to_c, to_c + y_pixel, to_c + y_row, to_c + y_row + y_pixel):
                        store_part(like_y, place, v, left)


def backward(dy, *, out=None):
    check_storage("upsample2x", dy)
    n, h, w, c = dy.shape
    dy = dy if dy.strides[3] == dy.itemsize else np.ascontiguousarray(dy)
    dx = target(out, (n, h // 2, w // 2, c), dy.dtype)
    shape = np.array([h // 2, w // 2, c, *dy.strides[:3], *dx.strides[:3]], np.int64)
    launch(add_pixels, n * (h // 2), 0, LIKE[dy.dtype], LIKE[dx.dtype], address(dy), address(dx), shape)
    return deliver(out, dx)


@compiled
def add_pixels(first, last, scratch, like_dy, like_dx, dy, dx, shape):
    """Unit: a row of dx."""
    height, width, channels, dy_image, dy_row, dy_pixel, dx_image, dx_row, dx_pixel = shape
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            for c in range(0, channels, LANES):
                at, left = dy + n * dy_image + 2 * (i * dy_row + j * dy_pixel) + c * size_of(like_dy), channels - c
                to = dx + n * dx_image + i * dx_row + j * dx_pixel + c * size_of(like_dx)
                prefetch(at + 2 * dy_row)
                prefetch(at + 3 * dy_row)
                if left >= LANES:
                    top = load(like_dy, at) + load(like_dy, at + dy_pixel)
                    bottom = load(like_dy, at + dy_row) + load(like_dy, at + dy_row + dy_pixel)
                    store(like_dx, to, top + bottom)
                else:
                    top = load_part(like_dy, at, left) + load_part(like_dy, at + dy_pixel, left)
                    bottom = load_part(like_dy, at + dy_row, left) + load_part(like_dy, at + dy_row + dy_pixel, left)
                    store_part(like_dx, to, top + bottom, left)
