"""Winograd's products (`winograd.py`, `winograd_gradient.py`) where they pay, else direct ones over windows."""

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.conv3x3 import cpu_few, winograd, winograd_gradient
from ltbc.kernels.conv3x3.cpu_method import method
from ltbc.kernels.conv3x3.few import thin_gradient
from ltbc.kernels.conv3x3.winograd_filters import filters, filters_of_dx
from ltbc.kernels.cpu.buffers import check_storage, deliver, image, result_buffer
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import Run, gradient_over_windows
from ltbc.kernels.cpu.matrix import over, packed, prepare
from ltbc.kernels.cpu.windows import Grid, Phase, Segment, multiply_over_windows

WHOLE, MERGED = (Phase(0, 0, (Segment(0, 9),)),), (Phase(0, 0, (Segment(0, 3),)),)  # of nine taps, or three merged ones
# dx of stride 2: pixels (2i + p, 2j + q) see the 2x2 window of dz at (i, j); an even row meets the middle row of taps,
# an odd one the last row at i and the first at i + 1
PHASES = (
    Phase(0, 0, (Segment(0, 1),)), Phase(0, 1, (Segment(0, 2),)),
    Phase(1, 0, (Segment(0, 1), Segment(2, 1))), Phase(1, 1, (Segment(0, 4),)),
)
PHASE_TAPS = ([4], [5, 3], [7, 1], [8, 6, 2, 0])


def forward(x, w, b, stride, activation, *, out=None, prepared=None):
    check_storage("conv3x3", x)
    (n, ho, wo), (cin, cout) = (x.shape[0], -(-x.shape[1] // stride), -(-x.shape[2] // stride)), w.shape[2:]
    y = result_buffer(out, (n, ho, wo, cout), x.dtype)
    prepared, bias, number = prepared or prepare(w), np.ascontiguousarray(b, np.float32), ACTIVATIONS.index(activation)
    how = method(x.dtype, stride, cin, cout, (n, ho, wo))
    if how.y == "few":
        cpu_few.multiply(image(x), x.dtype, prepared, bias, y, number, stride)
    elif how.y == "winograd":
        winograd.convolve(image(x), x.dtype, cin, how.transforms, filters(prepared, how.transforms), bias, y, number)
    else:
        panels = prepared.form("forward", lambda w, old: packed(w.reshape(3, 3 * cin, cout), [range(3)], old))
        grid = Grid(n, ho, wo, 3, stride)
        multiply_over_windows(image(x), x.dtype, cin, grid, MERGED, panels, bias, y, number, merged=True)
    return deliver(out, y)


def backward(
    dy, x, w, y, stride, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"
):
    check_storage("conv3x3", x, dy, y)
    how = method(x.dtype, stride, x.shape[3], y.shape[3], y.shape[:3])
    z, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype)
    dw = filter_gradient(how, x, z, result_buffer(out[1], w.shape, np.float32, whole=True), y.shape, stride)
    dx = data_gradient(how, z, x, y.shape, stride, out[0], prepared or prepare(w), through) if needs_dx else None
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def data_gradient(how, z, x, y_shape, stride, out, prepared, through):
    """dx by the transposed weights: one window of flipped taps, or the four phases of stride 2."""
    (n, h, width, cin), (_, ho, wo, cout) = x.shape, y_shape
    dx, activation, no_bias = result_buffer(out, x.shape, x.dtype), over(through), np.zeros(cin, np.float32)
    if activation and dx is not x:
        dx[...] = x
    if how.dx == "few":
        cpu_few.multiply(z, x.dtype, prepared, no_bias, dx, activation, turned=True)
        return deliver(out, dx)
    if how.dx == "winograd":
        of = winograd.STRIDE2_DX if stride == 2 else how.transforms
        u = filters_of_dx(np.ascontiguousarray(prepared.w), of)  # not kept: a training step needs them once
        winograd.convolve(z, x.dtype, cout, of, u, no_bias, dx, activation)
        return deliver(out, dx)
    groups, phases = ([range(8, -1, -1)], WHOLE) if stride == 1 else (PHASE_TAPS, PHASES)
    grid = Grid(n, h, width) if stride == 1 else Grid(n, ho, wo, size=2, start=1, scale=2)
    make = lambda w, old: packed(w.reshape(9, cin, cout), groups, old, transposed=True)  # noqa: E731
    panels = prepared.form("backward", make)
    multiply_over_windows(z, x.dtype, cout, grid, phases, panels, no_bias, dx, activation)
    return deliver(out, dx)


def filter_gradient(how, x, z, dw, y_shape, stride):
    """dw: of Winograd's tiles, of few channels, or of the three rows of the window as runs."""
    (n, ho, wo, cout), cin = y_shape, x.shape[3]
    if how.dw == "few" and cpu_few.takes_gradient(cin, cout):
        c = thin_gradient(image(x), cin, z, y_shape, x.dtype, stride)
        dw[...] = c.transpose(1, 0, 2).reshape(dw.shape)
        return dw
    if how.dw == "few":  # x[q] meets dz[q - t]: the taps the other way round
        c = thin_gradient(z, cout, image(x), x.shape, x.dtype)
        dw[...] = c[:, ::-1].transpose(1, 2, 0).reshape(dw.shape)
        return dw
    if how.dw == "winograd":
        winograd_gradient.weight_gradient(image(x), x.dtype, how.transforms, z, n * z.image, y_shape, dw)
        return dw
    runs = [Run(r, 0, 3 * cin) for r in range(3)]
    c, starts = gradient_over_windows(image(x), x.dtype, cin, Grid(n, ho, wo, 3, stride), runs, z, cout,
                                out=dw.reshape(9 * cin, cout))
    if not np.shares_memory(c, dw):
        for r, start in enumerate(starts):
            dw[r] = c[start : start + 3 * cin, :cout].reshape(3, cin, cout)
    return dw
