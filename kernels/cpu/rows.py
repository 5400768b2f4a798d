"""Products of few rows with a matrix of weights or its transpose, which is read once and packed bit by bit on the way.

A training step needs them once between two updates: to write and keep the packed form would cost more than the product.
"""

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, own_memory
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import STEPS_BLOCK, arithmetic, finish_row, multiply, panel_bytes, panels, slot
from ltbc.kernels.cpu.packing import Weights, pack_panels, pack_transposed
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.tile import STEP
from ltbc.kernels.cpu.vector import NONE, load_part, size_of, store_part
from ltbc.kernels.cpu.windows import row_bytes

FEW_ROWS = 64  # rows; of more, the weights are packed beforehand
ONE_TAP = np.zeros((1, 1), np.int64)  # its number, in the only group


@compiled
def pack_rows(first, last, scratch, like_x, kind, x, x_row, channels, filled, a, a_row):
    """Rows of x as rows of A, converted, with zeros up to `filled`. Unit: a row."""
    for r in range(first, last):
        for e in range(0, filled, LANES):
            v = load_part(like_x, x + r * x_row + e * size_of(like_x), channels - e)
            store_part(kind, a + r * a_row + e * size_of(kind), v, filled - e)


def rows_of(x: Image, rows: int) -> tuple[int, int]:
    """(address, bytes from row to row) of A, which stays until the next call."""
    kind, filled = arithmetic(x.dtype), slot(x.channels)
    a_row = row_bytes.py_func(filled * kind.itemsize)
    a = address(own_memory("rows", (rows + 3) * a_row))
    forall(pack_rows, rows, 0, like_x=LIKE[x.dtype], kind=LIKE[kind], x=x.start, x_row=x.strides.image,
           channels=x.channels, filled=filled, a=a, a_row=a_row)
    return a, a_row


@compiled
def multiply_transposed(first, last, scratch, like_w, kind, like_dx, a, a_row, rows, w, shape, zeros, dx, dx_row,
                        one_tap):
    """dx = dz w^T, PANEL columns of it; a: the rows of dz. Unit: a panel."""
    cin, one_panel = shape.rows, shape.slot * size_of(kind) * PANEL
    packed = scratch + 4 * LANES * LANES
    c = packed + one_panel
    for p in range(first, last):
        pack_transposed(p, p + 1, scratch, like_w, kind, w, shape, one_tap, packed - p * one_panel)
        multiply(kind, a, a_row, rows, cin - p * PANEL, one_panel // STEP, packed, c, accumulate=0)
        for r in range(rows):
            to = dx + r * dx_row + p * PANEL * size_of(like_dx)
            finish_row(like_dx, c + r * STEP, zeros, to, min(PANEL, cin - p * PANEL), NONE)


def transposed_product(dz: Image, w: np.ndarray, dx: np.ndarray) -> None:
    """dx = dz w^T of a few rows."""
    (rows, cin), cout, kind = dx.shape, w.shape[1], arithmetic(w.dtype)
    filled, zeros = slot(cout), np.zeros(PANEL, np.float32)
    a, a_row = rows_of(dz, rows)
    scratch = (rows + 3) * STEP + 4 * LANES * LANES + panel_bytes(filled, kind)
    forall(multiply_transposed, panels(cin), scratch, like_w=LIKE[w.dtype], kind=LIKE[kind], like_dx=LIKE[dx.dtype],
           a=a, a_row=a_row, rows=rows, w=address(w), shape=Weights(cin, cout, filled), zeros=address(zeros),
           dx=address(dx), dx_row=dx.strides[0], one_tap=ONE_TAP)


@compiled
def multiply_packing(first, last, scratch, like_w, kind, like_y, a, a_row, rows, w, shape, bias, y, y_row, activation,
                     one_tap):
    """y = act(bias + x w), PANEL columns of it, of parts of the reduction whose panels stay in the L2 cache; a: rows of
    x. Unit: a panel."""
    size, c, cout = size_of(kind), scratch + STEPS_BLOCK * STEP, shape.columns
    chunk = STEPS_BLOCK * 4 // size
    for p in range(first, last):
        for r in range(0, shape.slot, chunk):
            here = Weights(min(chunk, shape.rows - r), cout, min(chunk, shape.slot - r))
            steps, part = here.slot * size // 4, w + size_of(like_w) * r * cout
            pack_panels(p, p + 1, scratch, like_w, kind, part, here, one_tap, scratch - p * steps * STEP)
            multiply(kind, a + r * size, a_row, rows, cout - p * PANEL, steps, scratch, c, accumulate=r)
        for r in range(rows):
            to = y + r * y_row + p * PANEL * size_of(like_y)
            finish_row(like_y, c + r * STEP, bias + 4 * p * PANEL, to, min(PANEL, cout - p * PANEL), activation)


def product(x: Image, w: np.ndarray, bias: np.ndarray, y: np.ndarray, activation: int) -> None:
    """y = act(bias + x w) of a few rows."""
    (cin, cout), rows, kind = w.shape, len(y), arithmetic(w.dtype)
    a, a_row = rows_of(x, rows)
    forall(multiply_packing, panels(cout), (rows + 3 + STEPS_BLOCK) * STEP, like_w=LIKE[w.dtype], kind=LIKE[kind],
           like_y=LIKE[y.dtype], a=a, a_row=a_row, rows=rows, w=address(w), shape=Weights(cin, cout, slot(cin)),
           bias=address(bias), y=address(y), y_row=y.strides[0], activation=activation, one_tap=ONE_TAP)
