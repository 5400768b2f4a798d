"""Where the network forks: one gradient added to another, on all threads."""

import numpy as np

from kernels.simd import LANES, LIKE, address, launch
from kernels.simd_compiler import compiled
from kernels.simd_vector import load_part, size_of, store_part


def add(total: np.ndarray, x: np.ndarray) -> None:
    """total += x, `[N, H, W, C]`, each rounded to total's dtype once."""
    if total.ndim != 4 or not {total.dtype, x.dtype} <= LIKE.keys() or total.strides[3] != total.itemsize or (
            x.strides[3] != x.itemsize):
        total += x
        return
    n, height, width, channels = total.shape
    plan = np.array([height, width, channels, *total.strides[:3], *x.strides[:3]], np.int64)
    launch(add_rows, n * height, 0, LIKE[total.dtype], LIKE[x.dtype], address(total), address(x), plan)


@compiled
def add_rows(first, last, scratch, like, like_x, total, x, plan):
    """Unit: a row of pixels."""
    height, width, channels, image, row, pixel, x_image, x_row, x_pixel = plan
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            to, at = total + n * image + i * row + j * pixel, x + n * x_image + i * x_row + j * x_pixel
            for c in range(0, channels, LANES):
                left, to_c = channels - c, to + c * size_of(like)
                sums = load_part(like, to_c, left) + load_part(like_x, at + c * size_of(like_x), left)
                store_part(like, to_c, sums, left)
