"""The filters of Winograd's convolutions, U = G w G^T of `winograd.py`, written as panels in one pass over w.

A panel of every product after the other, then the next panel: the order in which `winograd.multiply_tiles` reads them.
"""

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.conv3x3.winograd import STRIDE2_DX
from ltbc.kernels.conv3x3.winograd_transform import transform, transform_steps
from ltbc.kernels.cpu.buffers import aligned, own_memory
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import FLOAT, LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panel_bytes, panels
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.tile import STEP
from ltbc.kernels.cpu.vector import load, prefetch, size_of, splat, store, store_steps, transpose

of_filter, of_two_filters = (make(lambda algorithm: algorithm.g) for make in (transform, transform_steps))
LINE = 4 * LANES
TILE = LINE * LANES  # bytes of LANES rows that are transposed together


@compiled
def transform_filters(first, last, scratch, algorithm, like_w, kind, w, u, cin, cout, plane):
    """Columns: output channels. plane: bytes from plane to plane. Unit: LANES rows of a panel, all planes."""
    size, tap, planes = size_of(like_w), cin * cout * size_of(like_w), algorithm.p * algorithm.p
    parts = cin // LANES  # of a panel
    for unit in range(first, last):
        panel, c0 = unit // parts, unit % parts * LANES
        for c in range(c0, c0 + LANES, 2):
            for v in range(0, PANEL, LANES):
                o = panel * PANEL + v
                to = u + (panel * planes * cin + c) * size_of(kind) * PANEL + 4 * v
                if o < cout:
                    at = w + size * (c * cout + o)
                    of_two_filters(algorithm, kind, like_w, at, at + size * cout, 3 * tap, tap, to, plane, STEP)
                else:
                    for p in range(planes):
                        store_steps(kind, to + p * plane, STEP, splat(0.0), splat(0.0))


@compiled
def transform_transposed(first, last, scratch, algorithm, like_w, kind, w, u, cin, cout, plane, turned):
    """Columns: input channels; turned: taps from the last to the first. Unit: LINE bytes of rows of a panel."""
    first_tap, step = (8, -1) if turned else (0, 1)
    size, block, planes = size_of(like_w), LINE // size_of(kind), algorithm.p * algorithm.p
    tap, blocks = step * cin * cout * size, -(-cout // block)
    for unit in range(first, last):
        panel, o0 = unit // blocks, unit % blocks * block
        for v in range(0, PANEL, LANES):
            c, to = panel * PANEL + v, u + (panel * planes * cout + o0) * size_of(kind) * PANEL + 4 * v
            for r in range(LANES):
                for t in range(9):
                    prefetch(w + size * ((t * cin + c + r) * cout + o0) + LINE)  # of the next unit
                for o in range(o0, min(o0 + block, cout) * (c < cin), LANES):
                    at, part = w + size * ((first_tap * cin + c + r) * cout + o), size_of(kind) * (o - o0)
                    of_filter(algorithm, like_w, kind, at, 3 * tap, tap, scratch + LINE * r + part, TILE)
            whole = c + LANES <= cin and o0 + block <= cout
            for p in range(planes):
                if whole:
                    transpose(scratch + p * TILE, LINE, to + p * plane, STEP)
                    continue
                transpose(scratch + p * TILE, LINE, scratch + p * TILE, LINE)
                for k in range(min(block, cout - o0) * size_of(kind) // 4):
                    x = load(FLOAT, scratch + p * TILE + LINE * k) if c < cin else splat(0.0)
                    store(FLOAT, to + p * plane + STEP * k, x)


def filters(prepared, algorithm):
    """Panels of U of that algorithm. Only those of the third use after a refresh are kept (`early_use`); those
    before are valid until the next call."""
    cin, cout = prepared.w.shape[2:]
    size = panels(cout) * algorithm.p**2 * panel_bytes(cin, arithmetic(prepared.w.dtype))
    if prepared.early_use():
        return write_filters(np.ascontiguousarray(prepared.w), own_memory("filters", size), algorithm)

    def make(w, old):
        return write_filters(w, aligned((size,), np.uint8) if old is None else old, algorithm)

    return prepared.form(("filters", algorithm.p), make)


def write_filters(w, u, algorithm):
    """U of w in the memory u."""
    (cin, cout), kind = w.shape[2:], arithmetic(w.dtype)
    forall(transform_filters, panels(cout) * cin // LANES, 0, algorithm=algorithm, like_w=LIKE[w.dtype],
           kind=LIKE[kind], w=address(w), u=address(u), cin=cin, cout=cout, plane=panel_bytes(cin, kind))
    return u


def filters_of_dx(w, algorithm):
    """The same of w transposed and, unless the algorithm's matrices see to it, turned; valid until the next call."""
    (cin, cout), kind, planes = w.shape[2:], arithmetic(w.dtype), algorithm.p**2
    plane, turned = panel_bytes(cout, kind), algorithm is not STRIDE2_DX
    u = own_memory("filters", panels(cin) * planes * plane)
    forall(transform_transposed, panels(cin) * -(-cout * kind.itemsize // LINE), planes * TILE, algorithm=algorithm,
           like_w=LIKE[w.dtype], kind=LIKE[kind], w=address(w), u=address(u), cin=cin, cout=cout, plane=plane,
           turned=int(turned))
    return u
