"""The filters of Winograd's convolutions, U = G w G^T of `winograd.py`, written as panels in one pass over w.

A panel of every product after the other, then the next panel: the order in which `winograd.multiply_tiles` reads them.
"""

import numpy as np

from ltbc.kernels.conv3x3.winograd import ALGORITHMS, STRIDE2_DX
from ltbc.kernels.conv3x3.winograd_transform import transform, transform_steps
from ltbc.kernels.cpu.buffers import address, aligned, workspace
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panel_bytes, panels
from ltbc.kernels.cpu.threads import launch
from ltbc.kernels.cpu.tile import STEP
from ltbc.kernels.cpu.vector import load, prefetch, size_of, splat, store, store_steps, transpose

of_filter, of_two_filters = transform([f.g for f in ALGORITHMS]), transform_steps([f.g for f in ALGORITHMS])
LINE = 4 * LANES
TILE = LINE * LANES  # bytes of LANES rows that are transposed together


@compiled
def transform_filters(first, last, scratch, variant, like_w, kind, w, u, cin, cout, planes, plane):
    """Columns: output channels. plane: bytes from plane to plane. Unit: LANES rows of a panel, all planes."""
    size, pixel = size_of(like_w), cin * cout * size_of(like_w)
    for unit in range(first, last):
        panel, c0 = unit // (cin // LANES), unit % (cin // LANES) * LANES
        for c in range(c0, c0 + LANES, 2):
            for v in range(0, PANEL, LANES):
                o = panel * PANEL + v
                to = u + (panel * planes * cin + c) * size_of(kind) * PANEL + 4 * v
                if o < cout:
                    at = w + size * (c * cout + o)
                    of_two_filters(variant, kind, like_w, at, at + size * cout, 3 * pixel, pixel, to, plane, STEP)
                else:
                    for p in range(planes):
                        store_steps(kind, to + p * plane, STEP, splat(0.0), splat(0.0))


@compiled
def transform_transposed(first, last, scratch, variant, like_w, kind, w, u, cin, cout, planes, plane, turned):
    """Columns: input channels; turned: taps from the last to the first. Unit: LINE bytes of rows of a panel."""
    tap, step = (8, -1) if turned else (0, 1)
    size, block = size_of(like_w), LINE // size_of(kind)
    pixel, blocks = step * cin * cout * size, -(-cout // block)
    for unit in range(first, last):
        panel, o0 = unit // blocks, unit % blocks * block
        for v in range(0, PANEL, LANES):
            c, to = panel * PANEL + v, u + (panel * planes * cout + o0) * size_of(kind) * PANEL + 4 * v
            for r in range(LANES):
                for t in range(9):
                    prefetch(w + size * ((t * cin + c + r) * cout + o0) + LINE)  # of the next unit
                for o in range(o0, min(o0 + block, cout) * (c < cin), LANES):
                    at, part = w + size * ((tap * cin + c + r) * cout + o), size_of(kind) * (o - o0)
                    of_filter(variant, like_w, kind, at, 3 * pixel, pixel, scratch + LINE * r + part, TILE)
            whole = c + LANES <= cin and o0 + block <= cout
            for p in range(planes):
                if whole:
                    transpose(scratch + p * TILE, LINE, to + p * plane, STEP)
                    continue
                transpose(scratch + p * TILE, LINE, scratch + p * TILE, LINE)
                for k in range(min(block, cout - o0) * size_of(kind) // 4):
                    x = load(np.float32(0), scratch + p * TILE + LINE * k) if c < cin else splat(0.0)
                    store(np.float32(0), to + p * plane + STEP * k, x)


def filters(prepared, of):
    """Panels of U of that algorithm. Only those of the third use after a refresh are kept (`early_use`); those
    before are valid until the next call."""
    cin, cout = prepared.w.shape[2:]
    size = panels(cout) * of.p**2 * panel_bytes(cin, arithmetic(prepared.w.dtype))
    if prepared.early_use():
        return write_filters(np.ascontiguousarray(prepared.w), workspace("filters", size), of)
    make = lambda w, old: write_filters(w, aligned((size,), np.uint8) if old is None else old, of)  # noqa: E731
    return prepared.form(("filters", of.p), make)


def write_filters(w, u, of):
    """U of w in the memory u."""
    (cin, cout), kind, planes = w.shape[2:], arithmetic(w.dtype), of.p**2
    plane = panel_bytes(cin, kind)
    launch(transform_filters, panels(cout) * cin // LANES, 0, of.variant, LIKE[w.dtype], LIKE[kind], address(w),
           address(u), cin, cout, planes, plane)
    return u


def filters_of_dx(w, of):
    """The same of w transposed and, unless the algorithm's matrices see to it, turned; valid until the next call."""
    cin, cout = w.shape[2:]
    kind, planes, turned = arithmetic(w.dtype), of.p**2, of is not STRIDE2_DX
    plane = panel_bytes(cout, kind)
    u = workspace("filters", panels(cin) * planes * plane)
    launch(transform_transposed, panels(cin) * -(-cout * kind.itemsize // LINE), planes * TILE, of.variant,
           LIKE[w.dtype], LIKE[kind], address(w), address(u), cin, cout, planes, plane, int(turned))
    return u
