"""A 1x1 convolution of `mid` whose bias, an image's own, is the global half."""

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import check_storage, deliver, image, matrix, result_buffer
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import gradient_over_windows
from ltbc.kernels.cpu.packing import packed, prepare
from ltbc.kernels.cpu.windows import Grid, multiply_over_windows, whole_window

PIXEL = whole_window(size=1)


def grids(mid):
    """The pixels of all images, behind their border; and one for each image, as `global_` has it."""
    n, h, width, _ = mid.shape
    return Grid(images=n, height=h, width=width, size=1, start=1), Grid(images=n, height=1, width=1, size=1)


def forward(mid, global_, w, b, activation, *, out=None, prepared=None):
    check_storage("fusion", mid)
    (n, h, width, _), cg, cout = mid.shape, global_.shape[1], w.shape[1]
    prepared, (pixels, one_pixel) = prepared or prepare(w), grids(mid)
    from_global = np.empty((n, 1, 1, cout), np.float32)
    panels = prepared.form("global", lambda w, old: packed(w[None, :cg], [[0]], old))
    multiply_over_windows(matrix(global_), one_pixel, PIXEL, panels, np.ascontiguousarray(b, np.float32), from_global)
    y = result_buffer(out, (n, h, width, cout), mid.dtype)
    panels, bias = prepared.form("mid", lambda w, old: packed(w[None, cg:], [[0]], old)), from_global[:, 0, 0]
    multiply_over_windows(image(mid), pixels, PIXEL, panels, bias, y, ACTIVATIONS.index(activation))
    return deliver(out, y)


def backward(dy, mid, global_, w, y, activation, *, out=(None,) * 4, prepared=None):
    check_storage("fusion", mid, dy, y)
    cm, cg = mid.shape[3], global_.shape[1]
    prepared, (pixels, one_pixel) = prepared or prepare(w), grids(mid)
    dz, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), mid.dtype)
    dz_sums = matrix(sums.astype(mid.dtype))  # of an image's pixels, all of which saw its global vector

    dmid, dglobal = result_buffer(out[0], mid.shape, mid.dtype), result_buffer(out[1], global_.shape, mid.dtype)
    panels = prepared.form("dmid", lambda w, old: packed(w[None, cg:], [[0]], old, transposed=True))
    multiply_over_windows(dz, pixels, PIXEL, panels, np.zeros(cm, np.float32), dmid)
    panels = prepared.form("dglobal", lambda w, old: packed(w[None, :cg], [[0]], old, transposed=True))
    multiply_over_windows(dz_sums, one_pixel, PIXEL, panels, np.zeros(cg, np.float32), dglobal[:, None, None])

    dw = np.empty(w.shape, np.float32) if out[2] is None else out[2]
    gradient_over_windows(image(mid), dz, pixels, PIXEL, dw[cg:])
    gradient_over_windows(matrix(global_), dz_sums, one_pixel, PIXEL, dw[:cg])
    return deliver(out[0], dmid), deliver(out[1], dglobal), dw, deliver(out[3], sums.sum(0))
