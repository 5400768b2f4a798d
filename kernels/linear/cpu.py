"""The batch as rows of a matrix: weights are read once, panel after panel, for all rows together."""

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import check_storage, deliver, matrix, result_buffer
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import Run, gradient_over_windows
from ltbc.kernels.cpu.matrix import packed, prepare
from ltbc.kernels.cpu.rows import FEW_ROWS, product, transposed_product
from ltbc.kernels.cpu.windows import Grid, Phase, Segment, multiply_over_windows

WHOLE = (Phase(0, 0, (Segment(0, 1),)),)


def forward(x, w, b, activation, *, out=None, prepared=None):
    check_storage("linear", x)
    y = result_buffer(out, (x.shape[0], w.shape[1]), x.dtype)
    multiply(x, prepared or prepare(w), np.ascontiguousarray(b, np.float32), y, ACTIVATIONS.index(activation))
    return deliver(out, y)


def backward(dy, x, w, y, activation, *, needs_dx=True, needs_dw=True, out=(None, None, None), prepared=None):
    check_storage("linear", x, dy, y)
    (n, cin), cout, dx = x.shape, w.shape[1], None
    dy, y = dy[:, None, None], y[:, None, None]
    z, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype, border=False)
    if needs_dx:
        dx = deliver(out[0], data_gradient(z, x, prepared or prepare(w), result_buffer(out[0], x.shape, x.dtype)))
    if not needs_dw:
        return dx, None, None
    dw = result_buffer(out[1], w.shape, np.float32, whole=True)
    c, _ = gradient_over_windows(matrix(x), x.dtype, cin, Grid(n, 1, 1, 1), [Run(0, 0, cin)], z, cout, border=0, out=dw)
    if c is not dw:
        dw[...] = c[:cin, :cout]
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def multiply(x, prepared, bias, y, activation):
    """y = act(bias + x w)."""
    if len(x) <= FEW_ROWS and prepared.early_use():
        product(matrix(x), np.ascontiguousarray(prepared.w), bias, y, activation)
        return
    panels = prepared.form("forward", lambda w, old: packed(w[None], [[0]], old))
    grid = Grid(x.shape[0], 1, 1, 1)
    multiply_over_windows(matrix(x), x.dtype, x.shape[1], grid, WHOLE, panels, bias, y[:, None, None], activation)


def data_gradient(z, x, prepared, dx):
    """dx = z w^T."""
    (n, cin), cout = x.shape, prepared.w.shape[1]
    if n <= FEW_ROWS:
        transposed_product(z, np.ascontiguousarray(prepared.w), dx)
        return dx
    panels = prepared.form("backward", lambda w, old: packed(w[None], [[0]], old, transposed=True))
    grid, no_bias = Grid(n, 1, 1, 1), np.zeros(cin, np.float32)
    multiply_over_windows(z, x.dtype, cout, grid, WHOLE, panels, no_bias, dx[:, None, None])
    return dx
