"""The product of few rows with a transposed matrix of weights, which is read once and packed panel by panel on the way.

A training step needs it once between two updates: writing and keeping the packed form would cost more than the product.
"""

import numpy as np

from kernels.simd import LANES, LIKE, PANEL, Image, address, compiled, inlined, launch
from kernels.simd_matrix import arithmetic, finish_row, multiply, pack_transposed, panel_bytes, panels, slot
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
