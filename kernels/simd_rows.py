"""Products of few rows with a matrix of weights or its transpose, which is read once and packed bit by bit on the way.

A training step needs them once between two updates: to write and keep the packed form would cost more than the product.
"""

import numpy as np

from kernels.simd import LANES, LIKE, PANEL, Image, address, launch, workspace
from kernels.simd_compiler import compiled
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


@compiled
def pack_rows(first, last, scratch, like_x, kind, x, a, plan):
    """Rows of x as rows of A, converted, with zeros up to `filled`. Unit: a row."""
    x_row, channels, filled, a_row = plan
    for r in range(first, last):
        for e in range(0, filled, LANES):
            v = load_part(like_x, x + r * x_row + e * size_of(like_x), channels - e)
            store_part(kind, a + r * a_row + e * size_of(kind), v, filled - e)


def rows_of(x: Image, dtype: np.dtype, rows: int, channels: int) -> tuple[int, int]:
    """(address, bytes from row to row) of A, which stays until the next call."""
    kind, filled = arithmetic(dtype), slot(channels)
    a_row = row_bytes.py_func(filled * kind.itemsize)
    a = address(workspace("rows", (rows + 3) * a_row))
    plan = np.array([x.image, channels, filled, a_row], np.int64)
    launch(pack_rows, rows, 0, LIKE[dtype], LIKE[kind], x.start, a, plan)
    return a, a_row


@compiled
def multiply_transposed(first, last, scratch, like_w, kind, like_dx, a, w, zeros, dx, plan, shape, one):
    """dx = z w^T, PANEL columns of it. Unit: a panel."""
    rows, a_row, dx_row = plan
    cin, cout, filled = shape
    one_panel = filled * size_of(kind) * PANEL
    packed = scratch + 4 * LANES * LANES
    c = packed + one_panel
    for p in range(first, last):
        pack_transposed(p, p + 1, scratch, like_w, kind, w, shape, one, packed - p * one_panel)
        multiply(kind, a, a_row, rows, cin - p * PANEL, one_panel // STEP, packed, c, 0)
        for r in range(rows):
            to = dx + r * dx_row + p * PANEL * size_of(like_dx)
            finish_row(like_dx, c + r * STEP, zeros, to, min(PANEL, cin - p * PANEL), 0)


def transposed_product(z: Image, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = z w^T of a few rows."""
    (rows, cin), cout, kind = dx.shape, w.shape[1], arithmetic(w.dtype)
    filled, zeros = slot(cout), np.zeros(PANEL, np.float32)
    a, a_row = rows_of(z, w.dtype, rows, cout)
    scratch = (rows + 3) * STEP + 4 * LANES * LANES + panel_bytes(filled, kind)
    plan, shape = np.array([rows, a_row, dx.strides[0]], np.int64), np.array([cin, cout, filled], np.int64)
    launch(multiply_transposed, panels(cin), scratch, LIKE[w.dtype], LIKE[kind], LIKE[dx.dtype], a, address(w),
           address(zeros), address(dx), plan, shape, ONE)


@compiled
def multiply_packing(first, last, scratch, like_w, kind, like_y, a, w, bias, y, plan, shapes, one):
    """y = act(bias + x w), PANEL columns of it, `shapes` after another of the reduction. Unit: a panel."""
    rows, a_row, y_row, cout, chunk, activation = plan
    size, c = size_of(kind), scratch + STEPS_BLOCK * STEP
    for p in range(first, last):
        for i in range(shapes.shape[0]):
            r, shape = i * chunk, shapes[i]
            steps, part = shape[2] * size // 4, w + size_of(like_w) * r * cout
            pack_panels(p, p + 1, scratch, like_w, kind, part, shape, one, scratch - p * steps * STEP)
            multiply(kind, a + r * size, a_row, rows, cout - p * PANEL, steps, scratch, c, r)
        for r in range(rows):
            to = y + r * y_row + p * PANEL * size_of(like_y)
            finish_row(like_y, c + r * STEP, bias + 4 * p * PANEL, to, min(PANEL, cout - p * PANEL), activation)


def product(x: Image, w: np.ndarray, bias: np.ndarray, y: np.ndarray, activation: int) -> None:
    """y = act(bias + x w) of a few rows."""
    (cin, cout), rows, kind = w.shape, len(y), arithmetic(w.dtype)
    filled, chunk = slot(cin), STEPS_BLOCK * 4 // kind.itemsize
    # parts of the reduction, whose panels stay in the L2 cache
    shapes = [(min(chunk, cin - r), cout, min(chunk, filled - r)) for r in range(0, filled, chunk)]
    a, a_row = rows_of(x, w.dtype, rows, cin)
    plan = np.array([rows, a_row, y.strides[0], cout, chunk, activation], np.int64)
    launch(multiply_packing, panels(cout), (rows + 3 + STEPS_BLOCK) * STEP, LIKE[w.dtype], LIKE[kind], LIKE[y.dtype], a,
           address(w), address(bias), address(y), plan, np.array(shapes, np.int64), ONE)
