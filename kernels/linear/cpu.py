"""The batch as rows of a matrix: weights are read once, panel after panel, for all rows together."""

import numpy as np

from kernels.arrays import ACTIVATIONS
from kernels.simd import check_storage, deliver, matrix, target
from kernels.simd_gradient import Run, output_gradient, weight_gradient
from kernels.simd_matrix import packed, prepare  # noqa: F401
from kernels.simd_windows import Grid, Phase, Segment, convolve

WHOLE = (Phase(0, 0, (Segment(0, 1),)),)


def forward(x, w, b, activation, *, out=None, prepared=None):
    check_storage("linear", x)
    y = target(out, (x.shape[0], w.shape[1]), x.dtype)
    panels = (prepared or prepare(w)).form("forward", lambda w, old: packed(w[None], [[0]], old))
    bias = np.ascontiguousarray(b, np.float32)
    multiply(x, panels, bias, y, ACTIVATIONS.index(activation))
    return deliver(out, y)


def backward(dy, x, w, y, activation, *, needs_dx=True, out=(None, None, None), prepared=None):
    check_storage("linear", x, dy, y)
    (n, cin), cout, dx = x.shape, w.shape[1], None
    dy, y = dy[:, None, None], y[:, None, None]
    z, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype, border=False)
    if needs_dx:
        panels = (prepared or prepare(w)).form("backward", lambda w, old: packed(w[None], [[0]], old, transposed=True))
        dx = target(out[0], x.shape, x.dtype)
        convolve(z, x.dtype, cout, Grid(n, 1, 1, 1), WHOLE, panels, np.zeros(cin, np.float32), dx[:, None, None])
        dx = deliver(out[0], dx)
    dw = target(out[1], w.shape, np.float32, whole=True)
    c, _ = weight_gradient(matrix(x), x.dtype, cin, Grid(n, 1, 1, 1), [Run(0, 0, cin)], z, cout, border=0, out=dw)
    if c is not dw:
        dw[...] = c[:cin, :cout]
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def multiply(x, panels, bias, y, activation):
    """y = act(bias + x times the panels)."""
    grid = Grid(x.shape[0], 1, 1, 1)
    convolve(matrix(x), x.dtype, x.shape[1], grid, WHOLE, panels, bias, y[:, None, None], activation)
