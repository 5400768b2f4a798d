"""Backward passes over windows: dz = dy * act'(z) with its sums, and weight gradients with the reduction over anchors.

dW[element of a window, column] = sum over anchors of x[element] dz[column]. First dz is packed in panels whose steps
are anchors, for each phase; then each unit packs a *run* of consecutive window elements, step after step, and
multiplies it with all panels. Reductions run over anchors in one order, whatever the number of threads.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from kernels.simd import LANES, LIKE, PANEL, SPARE_ROWS, Image, address, compiled, inlined, launch, whole, workspace
from kernels.simd_matrix import arithmetic, panels
from kernels.simd_tile import STEP, STEP_ROWS, narrow_tile_of_steps, tile_of_steps
from kernels.simd_vector import (
    copy_steps,
    derivative,
    load,
    load_part,
    same,
    size_of,
    splat,
    store,
    store_part,
    store_steps,
)

BANDS = 4  # of rows, in which an image's sums are formed: fixed, so that no number of threads changes them
ANCHORS = 4096  # of a block of the reduction: its panels stay in the L2 cache
CHUNK = 64  # elements of a run that are packed at a time
ROWWISE_BYTES = 32 << 10  # of all panels, which then stay in the L1 cache: sums are written row after row
LINE = 4 * LANES  # bytes of a step: packed runs lie in columns of LANES elements


class Run(NamedTuple):
    """`length` elements from the tap (r, s) of a window on; they meet the gradient's pixels of a phase."""

    r: int
    s: int
    length: int
    phase: int = 0


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


@compiled
def pack_gradient(first, last, scratch, like_z, like_a, z, b, plan, anchors, phases):
    """dz of a block of anchors in panels, a phase after another. Unit: 4 anchors."""
    t0, count, outputs, steps, per_step = plan
    size, per_panel = size_of(like_z), STEP * steps
    for unit in range(first, last):
        for phase in range(phases.shape[0]):
            to = b + phase * -(-outputs // PANEL) * per_panel
            for pair in range(4 * unit, 4 * unit + 4, 2):
                at = z + phases[phase]
                at0, at1 = at + anchors[t0 + pair], at + anchors[t0 + pair + 1]
                for o in range(0, outputs, LANES):
                    left = outputs - o
                    where = to + o // PANEL * per_panel + o % PANEL * 4 + pair // per_step * STEP
                    if same(like_z, like_a) and pair + 1 < count and left >= LANES:
                        copy_steps(like_z, where, STEP, at0 + size * o, at1 + size * o)
                        continue
                    v0 = load_part(like_z, at0 + size * o, left * (pair < count))
                    v1 = load_part(like_z, at1 + size * o, left * (pair + 1 < count))
                    store_steps(like_a, where, STEP, v0, v1)


@compiled
def multiply_runs(first, last, scratch, like_x, like_a, x, b, c, plan, anchors, units):
    """Unit: a chunk of a run, whose products with all panels are added to (or overwrite) its rows of c."""
    t0, count, outputs, steps, per_step, c_row, accumulate = plan
    size, per_panel, count_panels = size_of(like_x), STEP * steps, -(-outputs // PANEL)
    for unit in range(first, last):
        offset, length, phase, row = units[unit]
        for pair in range(0, steps * per_step, 2):
            at0, at1 = x + anchors[t0 + pair] + offset, x + anchors[t0 + pair + 1] + offset
            to = scratch + pair // per_step * LINE
            for v in range(0, length, LANES):
                if same(like_x, like_a) and pair + 1 < count and v + LANES <= length:
                    copy_steps(like_x, to + 4 * v * steps, LINE, at0 + size * v, at1 + size * v)
                    continue
                if pair + 1 < count and v + LANES <= length:
                    v0, v1 = load(like_x, at0 + size * v), load(like_x, at1 + size * v)
                else:
                    v0 = load_part(like_x, at0 + size * v, (length - v) * (pair < count))
                    v1 = load_part(like_x, at1 + size * v, (length - v) * (pair + 1 < count))
                store_steps(like_a, to + 4 * v * steps, LINE, v0, v1)
        heights, rowwise = -(-length // STEP_ROWS), count_panels * per_panel <= ROWWISE_BYTES
        for tile in range(heights * count_panels):
            panel, m = (tile % count_panels, tile // count_panels) if rowwise else (tile // heights, tile % heights)
            weights, m = b + (phase * count_panels + panel) * per_panel, m * STEP_ROWS
            to = c + (row + m) * c_row + 4 * PANEL * panel
            a = scratch + m // LANES * LINE * steps + m % LANES * 4
            if outputs - panel * PANEL > LANES:
                tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, accumulate)
            else:
                narrow_tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, accumulate)


@lru_cache(64)
def anchor_offsets(grid, image, row, pixel, start, stride):
    """Where each anchor's pixel lies in a buffer, with zeros at the end for the last block's filling."""
    n, i, j = np.ogrid[: grid.images, : grid.height, : grid.width]
    offsets = n * image + (i * stride + start) * row + (j * stride + start) * pixel
    return np.append(offsets.ravel(), np.zeros(ANCHORS, np.int64))


def weight_gradient(x, like, channels, grid, runs, z, outputs, phases=((0, 0),), border=1, out=None):
    """The products of all runs with dz, `[rows, columns]`, and the first row of each run.

    Rows of a run are filled up to STEP_ROWS and columns to PANEL; written into `out` `[rows, outputs]` where nothing
    has to be filled up, else into memory that is valid until the next call.
    """
    kind, pixel = arithmetic(like), channels * like.itemsize
    x_at = anchor_offsets(grid, x.image, x.row, pixel, grid.start, grid.stride)
    z_pixel = outputs * like.itemsize
    z_at = anchor_offsets(grid, z.image, z.row, z_pixel, border, grid.scale)
    starts, units, row = [], [], 0
    for run in runs:
        starts.append(row)
        units += [(run.r * x.row + run.s * pixel + m * like.itemsize, min(CHUNK, run.length - m), run.phase, row + m)
                  for m in range(0, run.length, CHUNK)]
        row += -(-run.length // STEP_ROWS) * STEP_ROWS
    c = out
    if out is None or out.shape != (row, panels(outputs) * PANEL) or not out.flags.c_contiguous:
        c = workspace("product", row * panels(outputs) * PANEL * 4).view(np.float32).reshape(row, -1)
    anchors, per_step = grid.images * grid.height * grid.width, 4 // kind.itemsize
    block = min(ANCHORS, -(-anchors // 4) * 4)
    b = address(workspace("panels", len(phases) * panels(outputs) * PANEL * block * kind.itemsize))
    phase_at = np.array([p * z.row + q * z_pixel for p, q in phases], np.int64)
    for t0 in range(0, anchors, block):
        count = min(block, anchors - t0)
        steps = -(-count // 4) * 4 // per_step
        plan = np.array([t0, count, outputs, steps, per_step], np.int64)
        launch(pack_gradient, -(-count // 4), 0, LIKE[like], LIKE[kind], z.start, b, plan, z_at, phase_at)
        plan = np.array([t0, count, outputs, steps, per_step, c.strides[0], t0], np.int64)
        scratch = 4 * CHUNK * steps
        launch(multiply_runs, len(units), scratch, LIKE[like], LIKE[kind], x.start, b, address(c), plan, x_at,
               np.array(units, np.int64))
    return c, starts
