"""Row by row in vectors: the sum of a row's squares and its gradient in one pass."""

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import allocate, check_storage, deliver, pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LANES, LIKE
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import lanes_sum, load_part, muladd, size_of, splat, store_part


def value_and_gradient(y, target, scale, *, out=None):
    check_storage("chroma_loss", y, target)
    n, h, w, c = y.shape
    dy = out if out is not None and out.dtype in LIKE and whole_rows(out) else allocate(y.shape, y.dtype)
    y, target = (x if whole_rows(x) else np.ascontiguousarray(x) for x in (y, target))
    sums = np.empty(n * h, np.float32)
    factor = np.float32(scale * 2 / max(y.size, 1))
    forall(loss_of_row, n * h, 0, LIKE[y.dtype], LIKE[target.dtype], LIKE[dy.dtype], address(y), strides(y),
           address(target), strides(target), address(dy), strides(dy), h, w * c, factor, sums)
    return np.float32(sums.sum(dtype=np.float64) / y.size), deliver(out, dy)


def whole_rows(x):
    """Whether the elements of a row of pixels follow each other."""
    return x.strides[3] == x.itemsize and x.strides[2] == x.shape[3] * x.itemsize


@compiled
def loss_of_row(first, last, scratch, like_y, like_target, like_dy, y, of_y, target, of_target, dy, of_dy, height,
                length, factor, sums):
    """of_y, of_target, of_dy: strides; length: elements of a row. Unit: a row of an image."""
    for unit in range(first, last):
        n, i, total = unit // height, unit % height, splat(0.0)
        at_y, at_target = pixel_at(y, of_y, n, i, 0), pixel_at(target, of_target, n, i, 0)
        to = pixel_at(dy, of_dy, n, i, 0)
        for e in range(0, length, LANES):
            left = length - e
            predicted = load_part(like_y, at_y + e * size_of(like_y), left)
            difference = predicted - load_part(like_target, at_target + e * size_of(like_target), left)
            total = muladd(difference, difference, total)
            store_part(like_dy, to + e * size_of(like_dy), difference * splat(factor), left)
        sums[unit] = lanes_sum(total)
