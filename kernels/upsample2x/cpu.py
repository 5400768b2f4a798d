"""Plain copies forward; backward adds four pixels, in vectors."""

import numpy as np

from kernels.simd import LANES, LIKE, address, check_storage, compiled, deliver, launch, target
from kernels.simd_vector import load_part, size_of, store_part


def forward(x, *, out=None):
    check_storage("upsample2x", x)
    n, h, w, c = x.shape
    y = target(out, (n, 2 * h, 2 * w, c), x.dtype)
    for p in (0, 1):
        for q in (0, 1):
            y[:, p::2, q::2] = x
    return deliver(out, y)


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
                top = load_part(like_dy, at, left) + load_part(like_dy, at + dy_pixel, left)
                bottom = load_part(like_dy, at + dy_row, left) + load_part(like_dy, at + dy_row + dy_pixel, left)
                to = dx + n * dx_image + i * dx_row + j * dx_pixel + c * size_of(like_dx)
                store_part(like_dx, to, top + bottom, left)
