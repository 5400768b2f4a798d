"""The batch as rows of a matrix: weights are read once, panel after panel, for all rows together."""

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import check_storage, deliver, matrix, result_buffer
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import gradient_over_windows
from ltbc.kernels.cpu.packing import packed, prepare
from ltbc.kernels.cpu.rows import FEW_ROWS, product, transposed_product
from ltbc.kernels.cpu.windows import Grid, multiply_over_windows, whole_window

PIXEL = whole_window(size=1)


def forward(x, w, b, activation, *, out=None, prepared=None):
    check_storage("linear", x)
    y = result_buffer(out, (x.shape[0], w.shape[1]), x.dtype)
    multiply(x, prepared or prepare(w), np.ascontiguousarray(b, np.float32), y, ACTIVATIONS.index(activation))
    return deliver(out, y)


def backward(dy, x, w, y, activation, *, needs_dx=True, needs_dw=True, out=(None, None, None), prepared=None):
    check_storage("linear", x, dy, y)
    dx, dy, y = None, dy[:, None, None], y[:, None, None]
    dz, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype, border=False)
    if needs_dx:
        dx = deliver(out[0], data_gradient(dz, x, prepared or prepare(w), result_buffer(out[0], x.shape, x.dtype)))
    if not needs_dw:
        return dx, None, None
    dw = result_buffer(out[1], w.shape, np.float32, whole=True)
    gradient_over_windows(matrix(x), dz, rows_of(x), PIXEL, dw)
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def rows_of(x):
    """A row of x as an image of one pixel."""
    return Grid(images=len(x), height=1, width=1, size=1)


def multiply(x, prepared, bias, y, activation):
    """y = act(bias + x w)."""
    if len(x) <= FEW_ROWS and prepared.early_use():
        product(matrix(x), np.ascontiguousarray(prepared.w), bias, y, activation)
        return
    panels = prepared.form("forward", lambda w, old: packed(w[None], [[0]], old))
    multiply_over_windows(matrix(x), rows_of(x), PIXEL, panels, bias, y[:, None, None], activation)


def data_gradient(dz, x, prepared, dx):
    """dx = dz w^T."""
    if len(x) <= FEW_ROWS:
        transposed_product(dz, np.ascontiguousarray(prepared.w), dx)
        return dx
    panels = prepared.form("backward", lambda w, old: packed(w[None], [[0]], old, transposed=True))
    no_bias = np.zeros(x.shape[1], np.float32)
    multiply_over_windows(dz, rows_of(x), PIXEL, panels, no_bias, dx[:, None, None])
    return dx
