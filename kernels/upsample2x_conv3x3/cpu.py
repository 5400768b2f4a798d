"""Four phases of 2x2 windows, parts of one 3x3 window of x; the data gradient is one 4x4 window of dz at stride 2.

The summed weights v of the contract's equation (2) are kept as [p, q, u, t, Cin, Cout]: 16 taps, numbered by `number`.
"""

from itertools import product

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS, address
from ltbc.kernels.cpu.buffers import check_storage, deliver, image, result_buffer
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import gradient_over_windows
from ltbc.kernels.cpu.machine import LANES, LIKE
from ltbc.kernels.cpu.matrix import over
from ltbc.kernels.cpu.packing import packed, prepare
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import load_part, size_of, splat, store_part
from ltbc.kernels.cpu.windows import Grid, Phase, Run, multiply_over_windows, whole_window
from ltbc.kernels.upsample2x_conv3x3 import ROW_SETS

BOTH = (0, 1)


def number(p, q, u, t):
    """Of the tap v_pq[u, t]."""
    return ((2 * p + q) * 2 + u) * 2 + t


# Equation (1): the pixel (2i + p, 2j + q) of y sees the rows i + p + u - 1 of x and the columns j + q + t - 1. The
# corner of anchor (i, j)'s window is x's pixel (i - 1, j - 1). So u = 0, 1 are two runs, of t = 0, 1 each.
PHASES = tuple(
    Phase(p, q, runs=tuple(Run(row=p + u, column=q, taps=2) for u in BOTH)) for p, q in product(BOTH, BOTH)
)
PHASE_TAPS = [[number(p, q, u, t) for u, t in product(BOTH, BOTH)] for p, q in product(BOTH, BOTH)]

# (c) of the README: dx[h] sees the rows 2h - 1 .. 2h + 2 of dz, which are of these phases p and met v_p[u]
WINDOW = whole_window(size=4)
ROWS_PU = (1, 1), (0, 1), (1, 0), (0, 0)
WINDOW_TAPS = [[number(p, q, u, t) for (p, u), (q, t) in product(ROWS_PU, ROWS_PU)]]

SUMS = np.full((16, 4), -1)  # the taps 3r + s of w that each tap of v sums, then -1
for p, q, u, t in product(BOTH, repeat=4):
    taps = [3 * r + s for r, s in product(ROW_SETS[p][u], ROW_SETS[q][t])]
    SUMS[number(p, q, u, t), : len(taps)] = taps
SPREAD = np.array([[k for k in range(16) if tap in SUMS[k]] for tap in range(9)])  # and the ones that hold a tap of w


def forward(x, w, b, activation, *, out=None, prepared=None):
    check_storage("upsample2x_conv3x3", x)
    (n, h, width, _), cout = x.shape, w.shape[3]
    y, prepared = result_buffer(out, (n, 2 * h, 2 * width, cout), x.dtype), prepared or prepare(w)
    bias, activation = np.ascontiguousarray(b, np.float32), ACTIVATIONS.index(activation)
    panels = prepared.form("forward", lambda w, old: packed(prepared.form("summed", summed), PHASE_TAPS, old))
    multiply_over_windows(image(x), pixels_of(x), PHASES, panels, bias, y, activation)
    return deliver(out, y)


def backward(dy, x, w, y, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"):
    check_storage("upsample2x_conv3x3", x, dy, y)
    dz, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype)
    dv = np.empty((16, *w.shape[2:]), np.float32)
    gradient_over_windows(image(x), dz, pixels_of(x), PHASES, dv.reshape(-1, w.shape[3]))
    dw = result_buffer(out[1], w.shape, np.float32, whole=True)
    add_taps(dv, SPREAD, dw)
    dx = data_gradient(dz, x, out[0], prepared or prepare(w), through) if needs_dx else None
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def data_gradient(dz, x, out, prepared, through):
    """dx, equation (4). The corner of pixel (h, k)'s window is dz's pixel (2h - 1, 2k - 1)."""
    n, h, width, cin = x.shape
    dx, no_bias = result_buffer(out, x.shape, x.dtype), np.zeros(cin, np.float32)
    if through != "none" and dx is not x:
        dx[...] = x  # which dx goes over
    panels = prepared.form(
        "backward", lambda w, old: packed(prepared.form("summed", summed), WINDOW_TAPS, old, transposed=True))
    grid = Grid(images=n, height=h, width=width, size=4, stride=2)
    multiply_over_windows(dz, grid, WINDOW, panels, no_bias, dx, over(through))
    return deliver(out, dx)


def pixels_of(x):
    """The pixels of x as anchors; each makes 2 x 2 pixels of y."""
    n, h, width, _ = x.shape
    return Grid(images=n, height=h, width=width, size=3, scale=2)


def summed(w, old):
    """The sums of equation (2), [16, Cin, Cout]."""
    sums = np.empty((16, *w.shape[2:]), w.dtype) if old is None else old
    add_taps(w, SUMS, sums)
    return sums


def add_taps(source, table, result):
    """Each tap of the result as the sum of the taps of the source that the table names."""
    elements = source.shape[-2] * source.shape[-1]
    forall(add_tap, len(table), 0, like_source=LIKE[source.dtype], like_result=LIKE[result.dtype],
           source=address(source), result=address(result), table=table, elements=elements)


@compiled
def add_tap(first, last, scratch, like_source, like_result, source, result, table, elements):
    """Unit: a tap of the result."""
    for unit in range(first, last):
        for e in range(0, elements, LANES):
            total = splat(0.0)
            for k in range(table.shape[1]):
                if table[unit, k] >= 0:
                    at = source + size_of(like_source) * (table[unit, k] * elements + e)
                    total = total + load_part(like_source, at, elements - e)
            store_part(like_result, result + size_of(like_result) * (unit * elements + e), total, elements - e)
