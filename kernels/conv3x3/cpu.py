"""Which kernels compute a layer: those of few channels (`cpu_few.py`), Winograd's (`winograd.py`,
`winograd_gradient.py`), or direct products over windows (`kernels/cpu/windows.py`), as `cpu_method.py` says.
"""

from itertools import product

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.conv3x3 import cpu_few, winograd, winograd_gradient
from ltbc.kernels.conv3x3.cpu_method import method
from ltbc.kernels.conv3x3.winograd_filters import filters, filters_of_dx
from ltbc.kernels.cpu.buffers import check_storage, deliver, image, result_buffer
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import gradient_over_windows
from ltbc.kernels.cpu.matrix import over
from ltbc.kernels.cpu.packing import packed, prepare
from ltbc.kernels.cpu.windows import Grid, Phase, Run, multiply_over_windows, whole_window

WINDOW = whole_window(size=3)
TURNED = [list(range(8, -1, -1))]  # the taps 3r + s of w turned by 180 degrees: dx of stride 1, (d) of the README

# dx of stride 2, (f) and (g) of the README: the pixel (2i + p, 2j + q) sees pixels of the 2x2 window of dz at (i, j).
# An even row (p = 0) meets the taps r of MEETS[0] in dz's rows i, i + 1, ..., an odd one those of MEETS[1]; columns
# likewise.
MEETS = (1,), (2, 0)
PHASES = tuple(
    Phase(p, q, runs=tuple(Run(row, column=0, taps=len(MEETS[q])) for row in range(len(MEETS[p]))))
    for p, q in product((0, 1), repeat=2)
)
PHASE_TAPS = [[3 * r + s for r in MEETS[phase.p] for s in MEETS[phase.q]] for phase in PHASES]


def forward(x, w, b, stride, activation, *, out=None, prepared=None):
    check_storage("conv3x3", x)
    (n, h, width, cin), cout = x.shape, w.shape[3]
    ho, wo = -(-h // stride), -(-width // stride)
    y, prepared = result_buffer(out, (n, ho, wo, cout), x.dtype), prepared or prepare(w)
    bias, activation = np.ascontiguousarray(b, np.float32), ACTIVATIONS.index(activation)
    how = method(x.dtype, stride, cin, cout, (n, ho, wo))
    if how.y == "few":
        cpu_few.multiply(image(x), prepared, bias, y, activation, stride)
    elif how.y == "winograd":
        winograd.convolve(image(x), how.transforms, filters(prepared, how.transforms), bias, y, activation)
    else:  # a row of three taps, neighbors in memory, counts as one tap of 3 Cin channels: w is [3, 3 Cin, Cout]
        panels = prepared.form("forward", lambda w, old: packed(w.reshape(3, 3 * cin, cout), [range(3)], old))
        grid = Grid(images=n, height=ho, width=wo, size=3, stride=stride)
        multiply_over_windows(image(x), grid, WINDOW, panels, bias, y, activation, merged=True)
    return deliver(out, y)


def backward(
    dy, x, w, y, stride, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"
):
    check_storage("conv3x3", x, dy, y)
    how = method(x.dtype, stride, x.shape[3], y.shape[3], y.shape[:3])
    dz, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype)
    dw = result_buffer(out[1], w.shape, np.float32, whole=True)
    filter_gradient(how, x, dz, y.shape, stride, dw)
    dx = data_gradient(how, dz, x, y.shape, stride, out[0], prepared or prepare(w), through) if needs_dx else None
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def data_gradient(how, dz, x, y_shape, stride, out, prepared, through):
    """dx, equation (3): a convolution of dz with turned taps, or the four phases of stride 2."""
    (n, h, width, cin), (_, ho, wo, cout) = x.shape, y_shape
    dx, last, no_bias = result_buffer(out, x.shape, x.dtype), over(through), np.zeros(cin, np.float32)
    if through != "none" and dx is not x:
        dx[...] = x  # which dx goes over
    if how.dx == "few":
        cpu_few.multiply(dz, prepared, no_bias, dx, last, turned=True)
    elif how.dx == "winograd":
        algorithm = winograd.STRIDE2_DX if stride == 2 else how.transforms
        u = filters_of_dx(np.ascontiguousarray(prepared.w), algorithm)  # not kept: a training step needs them once
        winograd.convolve(dz, algorithm, u, no_bias, dx, last)
    else:
        if stride == 1:
            phases, taps, grid = WINDOW, TURNED, Grid(images=n, height=h, width=width, size=3)
        else:  # the corner of anchor (i, j)'s window is dz's pixel (i, j) itself, behind the border
            phases, taps = PHASES, PHASE_TAPS
            grid = Grid(images=n, height=ho, width=wo, size=2, start=1, scale=2)
        panels = prepared.form(
            "backward", lambda w, old: packed(w.reshape(9, cin, cout), taps, old, transposed=True))
        multiply_over_windows(dz, grid, phases, panels, no_bias, dx, last)
    return deliver(out, dx)


def filter_gradient(how, x, dz, y_shape, stride, dw):
    """dw, equation (4), into contiguous float32."""
    n, ho, wo, _ = y_shape
    if how.dw == "few":
        cpu_few.filter_gradient(image(x), dz, x.shape, y_shape, stride, dw)
    elif how.dw == "winograd":
        winograd_gradient.filter_gradient(image(x), dz, how.transforms, y_shape, dw)
    else:
        grid = Grid(images=n, height=ho, width=wo, size=3, stride=stride)
        gradient_over_windows(image(x), dz, grid, WINDOW, dw.reshape(-1, dw.shape[3]))
