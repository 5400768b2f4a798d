"""What is done element by element: dz = dy * act'(z), where every backward pass begins, its sums over an image, which
are the gradients of biases, and the sum of two gradients where the network forks.
"""

from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, Strides, own_memory, pixel_at, strides, whole
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import FLOAT, HALF, LANES, LIKE, SPARE_ROWS
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import NONE, derivative, load, load_part, size_of, splat, store, store_part

BANDS = 4  # of rows, in which an image's sums are formed: fixed, so that no number of threads changes them


class Bands(NamedTuple):
    """Images of so many pixels and channels, and bands of rows; border: 1 where dz lies within zeros."""

    images: int
    height: int
    width: int
    channels: int
    bands: int
    border: int = 1


@inlined
def rows_of(unit, size):
    """(image, band, first row, last + 1) of a unit, which is a band."""
    n, band = unit // size.bands, unit % size.bands
    return n, band, size.height * band // size.bands, size.height * (band + 1) // size.bands


@compiled
def differentiate(first, last, scratch, like_dy, like_y, like_dz, dy, of_dy, y, of_y, dz, of_dz, sums, activation,
                  size):
    """dz and its sums over a band of rows. of_dy, of_y, of_dz: strides. Unit: a band."""
    channels, border = size.channels, size.border
    few = LANES % channels == 0 and of_dy.pixel == channels * size_of(like_dy)
    few = few and of_y.pixel == channels * size_of(like_y)
    for unit in range(first, last):
        n, band, top, bottom = rows_of(unit, size)
        to = sums + 4 * channels * unit
        for c in range(0, channels, LANES):
            store_part(FLOAT, to + 4 * c, splat(0.0), channels - c)
        for i in range(top, bottom):
            row_dy, row_y = pixel_at(dy, of_dy, n, i, 0), pixel_at(y, of_y, n, i, 0)
            row_dz = pixel_at(dz, of_dz, n, i + border, border)
            if few:
                differentiate_few(like_dy, like_y, like_dz, row_dy, row_y, row_dz, size.width * channels, channels,
                                  activation, to, scratch)
            for j in range(size.width if not few else 0):
                at_dy, at_y, at_dz = row_dy + j * of_dy.pixel, row_y + j * of_y.pixel, row_dz + j * of_dz.pixel
                for c in range(0, channels, LANES):
                    left = channels - c
                    if left >= LANES:
                        v = derivative(load(like_dy, at_dy + c * size_of(like_dy)),
                                       load(like_y, at_y + c * size_of(like_y)), activation)
                        store(like_dz, at_dz + c * size_of(like_dz), v)
                        store(FLOAT, to + 4 * c, load(FLOAT, to + 4 * c) + v)
                    else:
                        v = derivative(load_part(like_dy, at_dy + c * size_of(like_dy), left),
                                       load_part(like_y, at_y + c * size_of(like_y), left), activation)
                        store_part(like_dz, at_dz + c * size_of(like_dz), v, left)
                        store_part(FLOAT, to + 4 * c, load_part(FLOAT, to + 4 * c, left) + v, left)
        if border:
            clear_border(dz + n * of_dz.image, of_dz, band, top, bottom, size)
            if unit == size.images * size.bands - 1:
                clear(dz + size.images * of_dz.image, SPARE_ROWS * of_dz.row)


@inlined
def differentiate_few(like_dy, like_y, like_dz, dy, y, dz, n, channels, activation, sums, scratch):
    """dz of a row of pixels, n elements side by side; every so many lanes are one channel's."""
    total = splat(0.0)
    for e in range(0, n, LANES):
        v = derivative(load_part(like_dy, dy + e * size_of(like_dy), n - e),
                       load_part(like_y, y + e * size_of(like_y), n - e), activation)
        store_part(like_dz, dz + e * size_of(like_dz), v, n - e)
        total = total + v
    store(FLOAT, scratch, total)
    for lane in range(0, LANES, channels):
        both = load_part(FLOAT, sums, channels) + load_part(FLOAT, scratch + 4 * lane, channels)
        store_part(FLOAT, sums, both, channels)


@compiled
def sum_pixels(first, last, scratch, like_dz, dz, of_dz, sums, size):
    """The sums over a band of rows of what has its activation's derivative already. Unit: a band."""
    for unit in range(first, last):
        n, _, top, bottom = rows_of(unit, size)
        for c in range(0, size.channels, LANES):
            left, band_total = size.channels - c, splat(0.0)
            for i in range(top, bottom):
                total, at = splat(0.0), pixel_at(dz, of_dz, n, i + 1, 1) + c * size_of(like_dz)
                for _ in range(size.width):
                    total = total + (load(like_dz, at) if left >= LANES else load_part(like_dz, at, left))
                    at += of_dz.pixel
                band_total = band_total + total
            store_part(FLOAT, sums + 4 * (size.channels * unit + c), band_total, left)


@inlined
def clear_border(dz, of_dz, band, top, bottom, size):
    """Zeros around a band's rows of the image at dz."""
    inside = of_dz.pixel * (size.width + 1)
    if band == 0:
        clear(dz, of_dz.row)
    for i in range(top, bottom):
        clear(dz + (i + 1) * of_dz.row, of_dz.pixel)
        clear(dz + (i + 1) * of_dz.row + inside, of_dz.row - inside)
    if band == size.bands - 1:
        clear(dz + (size.height + 1) * of_dz.row, of_dz.image - (size.height + 1) * of_dz.row)


@inlined
def clear(to, n):
    """n bytes, a multiple of 2."""
    for i in range(0, n, 2 * LANES):
        store_part(HALF, to + i, splat(0.0), (n - i) // 2)


def output_gradient(dy, y, activation, dtype, border=True):
    """(dz of that dtype within its border, its sums over each image [N, Cout]); dz stays valid until the next call.

    dy, y: `[N, H, W, C]`. `border=False` for what is read pixel by pixel; behind a border follow rows of zeros.
    Where there is no activation and dy lies within such a border, dz is dy itself.
    """
    n, h, w, c = dy.shape
    size, pixel = Bands(n, h, w, c, min(BANDS, h), border=int(border)), c * dtype.itemsize
    sums = np.zeros((n, size.bands, c), np.float32)
    dz = whole(dy) if border and activation == NONE and dy.dtype == dtype else None
    if dz:
        forall(sum_pixels, n * size.bands, 0, like_dz=LIKE[dtype], dz=dz.start, of_dz=dz.strides, sums=address(sums),
               size=size)
        return dz, sums.sum(1)
    dy, y = (a if a.strides[3] == a.itemsize or c == 1 else np.ascontiguousarray(a) for a in (dy, y))
    row = (-(-w // 4) * 4 + 2 if border else w) * pixel
    image = row * (-(-h // 4) * 4 + 2 if border else h)
    memory = address(own_memory("dz", n * image + SPARE_ROWS * row))
    dz = Image(memory, Strides(image, row, pixel), channels=c, dtype=dtype, border=size.border, memory=None)
    forall(differentiate, n * size.bands, 4 * LANES, like_dy=LIKE[dy.dtype], like_y=LIKE[y.dtype], like_dz=LIKE[dtype],
           dy=address(dy), of_dy=strides(dy), y=address(y), of_y=strides(y), dz=dz.start, of_dz=dz.strides,
           sums=address(sums), activation=activation, size=size)
    return dz, sums.sum(1)


def add(total: np.ndarray, x: np.ndarray) -> None:
    """total += x, `[N, H, W, C]`, where the network forks; each element is rounded to total's dtype once."""
    if total.ndim != 4 or not {total.dtype, x.dtype} <= LIKE.keys() or total.strides[3] != total.itemsize or (
            x.strides[3] != x.itemsize):
        total += x
        return
    n, height, width, channels = total.shape
    forall(add_rows, n * height, 0, like=LIKE[total.dtype], like_x=LIKE[x.dtype], total=address(total),
           of_total=strides(total), x=address(x), of_x=strides(x), height=height, width=width, channels=channels)


@compiled
def add_rows(first, last, scratch, like, like_x, total, of_total, x, of_x, height, width, channels):
    """of_total, of_x: strides. Unit: a row of pixels."""
    for unit in range(first, last):
        n, i = unit // height, unit % height
        for j in range(width):
            to, at = pixel_at(total, of_total, n, i, j), pixel_at(x, of_x, n, i, j)
            for c in range(0, channels, LANES):
                left, to_c = channels - c, to + c * size_of(like)
                sums = load_part(like, to_c, left) + load_part(like_x, at + c * size_of(like_x), left)
                store_part(like, to_c, sums, left)
