"""A 1x1 convolution of `mid` whose bias, an image's own, is the global half."""

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import check_storage, deliver, image, matrix, result_buffer
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import Run, gradient_over_windows
from ltbc.kernels.cpu.matrix import packed, prepare
from ltbc.kernels.cpu.windows import Grid, Phase, Segment, multiply_over_windows

WHOLE = (Phase(0, 0, (Segment(0, 1),)),)


def forward(mid, global_, w, b, activation, *, out=None, prepared=None):
    check_storage("fusion", mid)
    (n, h, width, cm), cg, cout = mid.shape, global_.shape[1], w.shape[1]
    prepared = prepared or prepare(w)
    from_global = np.empty((n, 1, 1, cout), np.float32)
    panels = prepared.form("global", lambda w, old: packed(w[None, :cg], [[0]], old))
    bias = np.ascontiguousarray(b, np.float32)
    multiply_over_windows(matrix(global_), mid.dtype, cg, Grid(n, 1, 1, 1), WHOLE, panels, bias, from_global)
    y = result_buffer(out, (n, h, width, cout), mid.dtype)
    panels = prepared.form("mid", lambda w, old: packed(w[None, cg:], [[0]], old))
    multiply_over_windows(image(mid), mid.dtype, cm, Grid(n, h, width, 1, start=1), WHOLE, panels,
                          from_global[:, 0, 0], y, ACTIVATIONS.index(activation))
    return deliver(out, y)


def backward(dy, mid, global_, w, y, activation, *, out=(None,) * 4, prepared=None):
    check_storage("fusion", mid, dy, y)
    (n, h, width, cm), cg, cout = mid.shape, global_.shape[1], w.shape[1]
    prepared = prepared or prepare(w)
    z, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), mid.dtype)
    grid, one_pixel, s = Grid(n, h, width, 1, start=1), Grid(n, 1, 1, 1), sums.astype(mid.dtype)

    dmid, dglobal = result_buffer(out[0], mid.shape, mid.dtype), result_buffer(out[1], global_.shape, mid.dtype)
    panels = prepared.form("dmid", lambda w, old: packed(w[None, cg:], [[0]], old, transposed=True))
    multiply_over_windows(z, mid.dtype, cout, grid, WHOLE, panels, np.zeros(cm, np.float32), dmid)
    panels = prepared.form("dglobal", lambda w, old: packed(w[None, :cg], [[0]], old, transposed=True))
    multiply_over_windows(matrix(s), mid.dtype, cout, one_pixel, WHOLE, panels, np.zeros(cg, np.float32),
                          dglobal[:, None, None])

    dw = np.empty(w.shape, np.float32) if out[2] is None else out[2]
    c, _ = gradient_over_windows(image(mid), mid.dtype, cm, grid, [Run(0, 0, cm)], z, cout)
    dw[cg:] = c[:cm, :cout]
    c, _ = gradient_over_windows(matrix(global_), mid.dtype, cg, one_pixel, [Run(0, 0, cg)], matrix(s), cout, border=0)
    dw[:cg] = c[:cg, :cout]
    return deliver(out[0], dmid), deliver(out[1], dglobal), dw, deliver(out[3], sums.sum(0))
