"""Products of few rows with a matrix of weights or its transpose, which is read once and packed bit by bit on the way.

A training step needs them once between two updates: to write and keep the packed form would cost more than the product.
"""

import numpy as np

from kernels.simd import LANES, LIKE, PANEL, Image, address, compiled, inlined, launch
from kernels.simd_matrix import (
    STEPS_BLOCK,
    arithmetic,
    finish_row,
    multiply,
    pack_panels,
    pack_transposed,
    panel_bytes,
    panels,
    slot,
)
from kernels.simd_tile import STEP
from kernels.simd_vector import load_part, size_of, store_part
from kernels.simd_windows import row_bytes

FEW = 64  # rows; of more, the weights are packed beforehand
ONE = np.zeros((1, 1), np.int64)  # the only tap


@inlined
def copy_rows(like_x, kind, x, x_row, rows, channels, filled, a, a_row):
    """Rows of x as rows of A, converted, with zeros up to `filled`."""
    for r in range(rows):
        for e in range(0, filled, LANES):
            v = load_part(like_x, x + r * x_row + e * size_of(like_x), channels - e)
            store_part(kind, a + r * a_row + e * size_of(kind), v, filled - e)


@compiled
def multiply_transposed(first, last, scratch, like_z, kind, like_dx, z, w, zeros, dx, plan, shape, one):
    """dx = z w^T, PANEL columns of it. Unit: a panel."""
    rows, z_row, dx_row = plan
    cin, cout, filled = shape
    a_row, one_panel = row_bytes(filled * size_of(kind)), filled * size_of(kind) * PANEL
    square = scratch + (rows + 3) * a_row
    packed = square + 4 * LANES * LANES
    c = packed + one_panel
    copy_rows(like_z, kind, z, z_row, rows, cout, filled, scratch, a_row)
    for p in range(first, last):
        pack_transposed(p, p + 1, square, like_z, kind, w, shape, one, packed - p * one_panel)
        multiply(kind, scratch, a_row, rows, cin - p * PANEL, one_panel // STEP, packed, c, 0)
        for r in range(rows):
            to = dx + r * dx_row + p * PANEL * size_of(like_dx)
            finish_row(like_dx, c + r * STEP, zeros, to, min(PANEL, cin - p * PANEL), 0)


def transposed_product(z: Image, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = z w^T of a few rows."""
    (rows, cin), cout, kind = dx.shape, w.shape[1], arithmetic(w.dtype)
    filled, zeros = slot(cout), np.zeros(PANEL, np.float32)
    a_row = row_bytes.py_func(filled * kind.itemsize)
    scratch = (rows + 3) * (a_row + STEP) + 4 * LANES * LANES + panel_bytes(filled, kind)
    plan, shape = np.array([rows, z.image, dx.strides[0]], np.int64), np.array([cin, cout, filled], np.int64)
    launch(multiply_transposed, panels(cin), scratch, LIKE[w.dtype], LIKE[kind], LIKE[dx.dtype], z.start, address(w),
           address(zeros), address(dx), plan, shape, ONE)


@compiled
def multiply_packing(first, last, scratch, like_x, kind, like_y, x, w, bias, y, plan, shapes, one):
    """y = act(bias + x w), PANEL columns of it, `shapes` after another of the reduction. Unit: a panel."""
    rows, x_row, y_row, cin, cout, filled, chunk, activation = plan
    size = size_of(kind)
    a_row = row_bytes(filled * size)
    packed = scratch + (rows + 3) * a_row
    c = packed + STEPS_BLOCK * STEP
    copy_rows(like_x, kind, x, x_row, rows, cin, filled, scratch, a_row)
    for p in range(first, last):
        for i in range(shapes.shape[0]):
            r, shape = i * chunk, shapes[i]
            steps, part = shape[2] * size // 4, w + size_of(like_x) * r * cout
            pack_panels(p, p + 1, scratch, like_x, kind, part, shape, one, packed - p * steps * STEP)
            multiply(kind, scratch + r * size, a_row, rows, cout - p * PANEL, steps, packed, c, r)
        for r in range(rows):
            to = y + r * y_row + p * PANEL * size_of(like_y)
            finish_row(like_y, c + r * STEP, bias + 4 * p * PANEL, to, min(PANEL, cout - p * PANEL), activation)


def product(x: Image, w: np.ndarray, bias: np.ndarray, y: np.ndarray, activation: int) -> None:
    """y = act(bias + x w) of a few rows."""
    (cin, cout), rows, kind = w.shape, len(y), arithmetic(w.dtype)
    filled, chunk = slot(cin), STEPS_BLOCK * 4 // kind.itemsize
    # parts of the reduction, whose panels stay in the L2 cache
    shapes = [(min(chunk, cin - r), cout, min(chunk, filled - r)) for r in range(0, filled, chunk)]
    scratch = (rows + 3) * (row_bytes.py_func(filled * kind.itemsize) + STEP) + STEPS_BLOCK * STEP
    plan = np.array([rows, x.image, y.strides[0], cin, cout, filled, chunk, activation], np.int64)
    launch(multiply_packing, panels(cout), scratch, LIKE[w.dtype], LIKE[kind], LIKE[y.dtype], x.start, address(w),
           address(bias), address(y), plan, np.array(shapes, np.int64), ONE)
