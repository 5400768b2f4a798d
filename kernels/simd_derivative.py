"""dz = dy * act'(z), where every backward pass begins, and its sums over an image: the gradients of biases."""

import numpy as np

from kernels.simd import LANES, LIKE, SPARE_ROWS, Image, address, launch, whole, workspace
from kernels.simd_compiler import compiled, inlined
from kernels.simd_vector import derivative, load, load_part, size_of, splat, store, store_part

BANDS = 4  # of rows, in which an image's sums are formed: fixed, so that no number of threads changes them


@compiled
def differentiate(first, last, scratch, like_dy, like_y, like_z, dy, y, z, sums, plan):
    """dz and its sums over a band of rows. Unit: a band. z with a border of zeros where `border` is 1."""
    (height, width, channels, dy_image, dy_row, dy_pixel, y_image, y_row, y_pixel,
     z_image, z_row, border, activation, bands, images) = plan
    z_size = size_of(like_z)
    for unit in range(first, last):
        n, band = unit // bands, unit % bands
        to, few = sums + 4 * channels * unit, LANES % channels == 0
        few = few and dy_pixel == channels * size_of(like_dy) and y_pixel == channels * size_of(like_y)
        for c in range(0, channels, LANES):
            store_part(np.float32(0), to + 4 * c, splat(0.0), channels - c)
        for i in range(height * band // bands, height * (band + 1) // bands):
            if few:
                differentiate_few(like_dy, like_y, like_z, dy + n * dy_image + i * dy_row, y + n * y_image + i * y_row,
                                  z + n * z_image + (i + border) * z_row + border * channels * z_size,
                                  width * channels, channels, activation, to, scratch)
            for j in range(width if not few else 0):
                at_dy = dy + n * dy_image + i * dy_row + j * dy_pixel
                at_y = y + n * y_image + i * y_row + j * y_pixel
                at_z = z + n * z_image + (i + border) * z_row + (j + border) * channels * z_size
                for c in range(0, channels, LANES):
                    left = channels - c
                    if left >= LANES:
                        dz = derivative(load(like_dy, at_dy + c * size_of(like_dy)),
                                        load(like_y, at_y + c * size_of(like_y)), activation)
                        store(like_z, at_z + c * z_size, dz)
                        store(np.float32(0), to + 4 * c, load(np.float32(0), to + 4 * c) + dz)
                    else:
                        dz = derivative(load_part(like_dy, at_dy + c * size_of(like_dy), left),
                                        load_part(like_y, at_y + c * size_of(like_y), left), activation)
                        store_part(like_z, at_z + c * z_size, dz, left)
                        store_part(np.float32(0), to + 4 * c, load_part(np.float32(0), to + 4 * c, left) + dz, left)
        if border:
            clear_border(n, band, bands, z + n * z_image, z_image, z_row, height, width * channels * z_size,
                         channels * z_size)
            if unit == images * bands - 1:
                clear(z + images * z_image, SPARE_ROWS * z_row)


@inlined
def differentiate_few(like_dy, like_y, like_z, dy, y, z, n, channels, activation, sums, scratch):
    """dz of a row of pixels, n elements side by side; every so many lanes are one channel's."""
    total = splat(0.0)
    for e in range(0, n, LANES):
        dz = derivative(load_part(like_dy, dy + e * size_of(like_dy), n - e),
                        load_part(like_y, y + e * size_of(like_y), n - e), activation)
        store_part(like_z, z + e * size_of(like_z), dz, n - e)
        total = total + dz
    store(np.float32(0), scratch, total)
    for lane in range(0, LANES, channels):
        both = load_part(np.float32(0), sums, channels) + load_part(np.float32(0), scratch + 4 * lane, channels)
        store_part(np.float32(0), sums, both, channels)


@compiled
def sum_pixels(first, last, scratch, like_z, z, sums, plan):
    """The sums over a band of rows of what has its activation's derivative already. Unit: a band."""
    height, width, channels, z_image, z_row, bands = plan
    size = size_of(like_z)
    for unit in range(first, last):
        n, band = unit // bands, unit % bands
        top, bottom = height * band // bands, height * (band + 1) // bands
        for c in range(0, channels, LANES):
            left, band_total = channels - c, splat(0.0)
            for i in range(top, bottom):
                total, at = splat(0.0), z + n * z_image + (i + 1) * z_row + (channels + c) * size
                for _ in range(width):
                    total = total + (load(like_z, at) if left >= LANES else load_part(like_z, at, left))
                    at += channels * size
                band_total = band_total + total
            store_part(np.float32(0), sums + 4 * (channels * unit + c), band_total, left)


@inlined
def clear_border(n, band, bands, z, z_image, z_row, height, inner, pixel):
    """Zeros around the band's part of an image."""
    top, bottom = height * band // bands, height * (band + 1) // bands
    if band == 0:
        clear(z, z_row)
    for i in range(top, bottom):
        clear(z + (i + 1) * z_row, pixel)
        clear(z + (i + 1) * z_row + pixel + inner, z_row - pixel - inner)
    if band == bands - 1:
        clear(z + (height + 1) * z_row, z_image - (height + 1) * z_row)


@inlined
def clear(to, n):
    """n bytes, a multiple of 2."""
    for i in range(0, n, 2 * LANES):
        store_part(np.uint16(0), to + i, splat(0.0), (n - i) // 2)


def output_gradient(dy, y, activation, dtype, border=True):
    """(dz of that dtype within its border, its sums over each image [N, Cout]); dz stays valid until the next call.

    dy, y: `[N, H, W, C]`. `border=False` for what is read pixel by pixel; behind a border follow rows of zeros.
    Where there is no activation and dy lies within such a border, dz is dy itself.
    """
    n, h, w, c = dy.shape
    bands = min(BANDS, h)
    sums = np.zeros((n, bands, c), np.float32)
    z = whole(dy) if border and not activation and dy.dtype == dtype else None
    if z:
        plan = np.array([h, w, c, z.image, z.row, bands], np.int64)
        launch(sum_pixels, n * bands, 0, LIKE[dtype], z.start, address(sums), plan)
        return z, sums.sum(1)
    dy, y = (a if a.strides[3] == a.itemsize or c == 1 else np.ascontiguousarray(a) for a in (dy, y))
    z_row = (-(-w // 4) * 4 + 2 if border else w) * c * dtype.itemsize
    z_image = z_row * (-(-h // 4) * 4 + 2 if border else h)
    z = address(workspace("dz", n * z_image + SPARE_ROWS * z_row))
    plan = np.array([h, w, c, *dy.strides[:3], *y.strides[:3], z_image, z_row, border, activation, bands, n], np.int64)
    launch(differentiate, n * bands, 4 * LANES, LIKE[dy.dtype], LIKE[y.dtype], LIKE[dtype], address(dy), address(y), z,
           address(sums), plan)
    return Image(z, z_image, z_row, None), sums.sum(1)
