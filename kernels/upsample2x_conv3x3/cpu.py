"""Four phases of 2x2 windows, from one gathered 3x3 window a pixel; the data gradient is one 4x4 window of stride 2.

Summed weights are kept as 4x4 taps: number `kind(row) * 4 + kind(column)`, where kinds 0..3 are the row sets
R[0][0], R[0][1], R[1][0], R[1][1] of the contract: kind 2p + u.
"""

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import address, check_storage, deliver, image, result_buffer
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.elementwise import output_gradient
from ltbc.kernels.cpu.gradient import Run, gradient_over_windows
from ltbc.kernels.cpu.machine import LANES, LIKE
from ltbc.kernels.cpu.matrix import over, packed, prepare
from ltbc.kernels.cpu.threads import launch
from ltbc.kernels.cpu.vector import load_part, size_of, splat, store_part
from ltbc.kernels.cpu.windows import Grid, Phase, Segment, multiply_over_windows
from ltbc.kernels.upsample2x_conv3x3 import ROW_SETS

PQ = ((0, 0), (0, 1), (1, 0), (1, 1))
PHASES = tuple(Phase(p, q, (Segment(3 * p + q, 2), Segment(3 * (p + 1) + q, 2))) for p, q in PQ)
PHASE_TAPS = [[(2 * p + u) * 4 + 2 * q + v for u, v in PQ] for p, q in PQ]
WINDOW = (Phase(0, 0, (Segment(0, 16),)),)
# dx[h] sees the rows 2h-1 .. 2h+2 of dz: of phase and u (1, 1), (0, 1), (1, 0), (0, 0)
WINDOW_TAPS = [[i * 4 + j for i in (3, 1, 2, 0) for j in (3, 1, 2, 0)]]

KINDS = [rows for phase in ROW_SETS for rows in phase]
SUMS = np.full((16, 4), -1)  # the taps of w that each of the 4x4 sums
for kind in range(16):
    taps = [3 * r + s for r in KINDS[kind // 4] for s in KINDS[kind % 4]]
    SUMS[kind, : len(taps)] = taps
SPREAD = np.array([[k for k in range(16) if tap in SUMS[k]] for tap in range(9)])  # and the ones that hold each tap


def forward(x, w, b, activation, *, out=None, prepared=None):
    check_storage("upsample2x_conv3x3", x)
    (n, h, width, cin), cout = x.shape, w.shape[3]
    y = result_buffer(out, (n, 2 * h, 2 * width, cout), x.dtype)
    prepared = prepared or prepare(w)
    panels = prepared.form("forward", lambda w, old: packed(prepared.form("summed", summed), PHASE_TAPS, old))
    bias = np.ascontiguousarray(b, np.float32)
    multiply_over_windows(image(x), x.dtype, cin, Grid(n, h, width, scale=2), PHASES, panels, bias, y,
                          ACTIVATIONS.index(activation))
    return deliver(out, y)


def backward(dy, x, w, y, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"):
    check_storage("upsample2x_conv3x3", x, dy, y)
    (n, h, width, cin), cout, dx = x.shape, w.shape[3], None
    prepared = prepared or prepare(w)
    z, sums = output_gradient(dy, y, ACTIVATIONS.index(activation), x.dtype)
    runs = [Run(p + u, q, 2 * cin, 2 * p + q) for p, q in PQ for u in (0, 1)]
    c, starts = gradient_over_windows(image(x), x.dtype, cin, Grid(n, h, width, scale=2), runs, z, cout, phases=PQ)
    dv = np.empty((4, 4, cin, cout), np.float32)  # by kinds of row and column
    for (_, _, _, phase), start, u in zip(runs, starts, (0, 1) * 4):
        p, q = PQ[phase]
        dv[2 * p + u, 2 * q : 2 * q + 2] = c[start : start + 2 * cin, :cout].reshape(2, cin, cout)
    dw = result_buffer(out[1], w.shape, np.float32, whole=True)
    add_taps(dv, SPREAD, dw)
    if needs_dx:
        make = lambda w, old: packed(prepared.form("summed", summed), WINDOW_TAPS, old, transposed=True)  # noqa: E731
        dx = result_buffer(out[0], x.shape, x.dtype)
        if over(through) and dx is not x:
            dx[...] = x
        grid, panels = Grid(n, h, width, size=4, stride=2), prepared.form("backward", make)
        multiply_over_windows(z, x.dtype, cout, grid, WINDOW, panels, np.zeros(cin, np.float32), dx, over(through))
        dx = deliver(out[0], dx)
    return dx, deliver(out[1], dw), deliver(out[2], sums.sum(0))


def summed(w, old):
    """The sums of equation (2), [16, Cin, Cout]."""
    sums = np.empty((16, *w.shape[2:]), w.dtype) if old is None else old
    add_taps(w, SUMS, sums)
    return sums


def add_taps(source, table, result):
    """Each tap of the result as the sum of the taps of the source that the table names."""
    elements = source.shape[-2] * source.shape[-1]
    launch(add_tap, len(table), 0, LIKE[source.dtype], LIKE[result.dtype], address(source), address(result), table,
           elements)


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
