"""Weight gradients over windows: the grids, phases and runs of `windows.py`, with the reduction over anchors.

    dw[element of a run, column] = sum over anchors of  x[element of the anchor's window] dz[column of its pixel]

First dz is packed in panels whose steps are anchors, for each phase; then each unit packs a piece of a run, step after
step, and multiplies it with all panels of its phase. Anchors add up in one order, whatever the number of threads.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, own_memory
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panels
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.tile import COLUMN, STEP, STEP_ROWS, narrow_tile_of_steps, tile_of_steps
from ltbc.kernels.cpu.vector import copy_steps, load, load_part, same, size_of, store_steps
from ltbc.kernels.cpu.windows import Grid, Phase

ANCHORS = 4096  # of a block of the reduction: its panels stay in the L2 cache
PIECE = 64  # elements of a run that are packed at a time
ROWWISE_BYTES = 32 << 10  # of all panels, which then stay in the L1 cache: sums are written row after row
LINE = 4 * COLUMN  # bytes of a step: packed runs lie in columns of so many elements


class Block(NamedTuple):
    """Of the reduction: so many anchors from the number t0 on, in so many steps."""

    t0: int
    anchors: int
    steps: int


@compiled
def pack_gradient(first, last, scratch, like_dz, like_a, dz, b, outputs, block, anchors, phases):
    """dz of a block of anchors in panels, a phase after another. anchors, phases: how far an anchor's pixel, and a
    phase's, lies from dz. Unit: 4 anchors."""
    size, per_panel, per_step = size_of(like_dz), STEP * block.steps, 4 // size_of(like_a)
    for unit in range(first, last):
        for phase in range(phases.shape[0]):
            to = b + phase * -(-outputs // PANEL) * per_panel
            for pair in range(4 * unit, 4 * unit + 4, 2):
                at = dz + phases[phase]
                at0, at1 = at + anchors[block.t0 + pair], at + anchors[block.t0 + pair + 1]
                for o in range(0, outputs, LANES):
                    left = outputs - o
                    where = to + o // PANEL * per_panel + o % PANEL * 4 + pair // per_step * STEP
                    if same(like_dz, like_a) and pair + 1 < block.anchors and left >= LANES:
                        copy_steps(like_dz, where, STEP, at0 + size * o, at1 + size * o)
                        continue
                    v0 = load_part(like_dz, at0 + size * o, left * (pair < block.anchors))
                    v1 = load_part(like_dz, at1 + size * o, left * (pair + 1 < block.anchors))
                    store_steps(like_a, where, STEP, v0, v1)


@inlined
def element_at(a, e, steps):
    """Where element e of a packed run begins: step after step lies LINE bytes on, a column behind all of the last."""
    return a + e // COLUMN * LINE * steps + e % COLUMN * 4


@inlined
def pack_run(like_x, like_a, x, length, filled, block, anchors, a):
    """`length` elements of the windows of a block of anchors, step after step, zeros up to `filled`; x: the first
    element of the window at the image's beginning."""
    size, per_step, t0, count = size_of(like_x), 4 // size_of(like_a), block.t0, block.anchors
    for pair in range(0, block.steps * per_step, 2):
        at0, at1 = x + anchors[t0 + pair], x + anchors[t0 + pair + 1]
        to = a + pair // per_step * LINE
        for v in range(0, filled, LANES):
            to_v = element_at(to, v, block.steps)
            if same(like_x, like_a) and pair + 1 < count and v + LANES <= length:
                copy_steps(like_x, to_v, LINE, at0 + size * v, at1 + size * v)
                continue
            if pair + 1 < count and v + LANES <= length:
                v0, v1 = load(like_x, at0 + size * v), load(like_x, at1 + size * v)
            else:
                v0 = load_part(like_x, at0 + size * v, (length - v) * (pair < count))
                v1 = load_part(like_x, at1 + size * v, (length - v) * (pair + 1 < count))
            store_steps(like_a, to_v, LINE, v0, v1)


@compiled
def multiply_runs(first, last, scratch, like_x, like_a, x, b, c, c_row, outputs, block, anchors, units):
    """Unit: a piece of a run, whose products with all panels are added to its rows of c; the first block overwrites.
    anchors: how far an anchor's window lies from x; units: of each piece [how far it lies from its window, elements,
    phase, row of c]."""
    steps, per_panel, count = block.steps, STEP * block.steps, -(-outputs // PANEL)
    rowwise = count * per_panel <= ROWWISE_BYTES
    for unit in range(first, last):
        offset, length, phase, row = units[unit]
        heights = -(-length // STEP_ROWS)  # register tiles, one below the other
        pack_run(like_x, like_a, x + offset, length, heights * STEP_ROWS, block, anchors, scratch)
        for tile in range(heights * count):
            panel, height = (tile % count, tile // count) if rowwise else (tile // heights, tile % heights)
            m = height * STEP_ROWS
            weights = b + (phase * count + panel) * per_panel
            to = c + (row + m) * c_row + 4 * PANEL * panel
            a = element_at(scratch, m, steps)
            if outputs - panel * PANEL > LANES:
                tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, block.t0)
            else:
                narrow_tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, block.t0)


@lru_cache(64)
def anchor_offsets(grid, places, start, stride):
    """How far the pixel (start + i * stride, start + j * stride) of each anchor (i, j) lies from an image's first one;
    zeros at the end for the last block's filling. places: the image's strides."""
    n, i, j = np.ogrid[: grid.images, : grid.height, : grid.width]
    offsets = n * places.image + (i * stride + start) * places.row + (j * stride + start) * places.pixel
    return np.append(offsets.ravel(), np.zeros(ANCHORS, np.int64))


@lru_cache(64)
def pieces(places, channels, itemsize, phases):
    """(units of `multiply_runs`, rows of c of each run, rows in all): a run's are filled up to STEP_ROWS. places: the
    image's strides."""
    units, rows, row = [], [], 0
    for number, phase in enumerate(phases):
        for run in phase.runs:
            length = run.taps * channels
            first = run.row * places.row + run.column * places.pixel
            units += [(first + e * itemsize, min(PIECE, length - e), number, row + e) for e in range(0, length, PIECE)]
            rows.append(slice(row, row + length))
            row += -(-length // STEP_ROWS) * STEP_ROWS
    return np.array(units, np.int64), rows, row


def gradient_over_windows(x: Image, dz: Image, grid: Grid, phases: tuple[Phase, ...], dw: np.ndarray) -> None:
    """dw `[taps of all runs * Cin, Cout]` of `multiply_over_windows(x, grid, phases, ...)`, runs in the same order."""
    kind, outputs = arithmetic(x.dtype), dz.channels
    x_at = anchor_offsets(grid, x.strides, grid.start, grid.stride)
    dz_at = anchor_offsets(grid, dz.strides, dz.border, grid.scale)
    phase_at = np.array([phase.p * dz.strides.row + phase.q * dz.strides.pixel for phase in phases], np.int64)
    units, rows_of_runs, rows = pieces(x.strides, x.channels, x.dtype.itemsize, phases)
    c = dw
    if dw.shape != (rows, panels(outputs) * PANEL) or not dw.flags.c_contiguous or dw.dtype != np.float32:
        c = own_memory("product", rows * panels(outputs) * PANEL * 4).view(np.float32).reshape(rows, -1)
    anchors, per_step = grid.images * grid.height * grid.width, 4 // kind.itemsize
    most = min(ANCHORS, -(-anchors // 4) * 4)
    b = address(own_memory("panels", len(phases) * panels(outputs) * PANEL * most * kind.itemsize))
    for t0 in range(0, anchors, most):
        count = min(most, anchors - t0)
        block = Block(t0, count, steps=-(-count // 4) * 4 // per_step)
        forall(pack_gradient, -(-count // 4), 0, like_dz=LIKE[dz.dtype], like_a=LIKE[kind], dz=dz.start, b=b,
               outputs=outputs, block=block, anchors=dz_at, phases=phase_at)
        forall(multiply_runs, len(units), 4 * PIECE * block.steps, like_x=LIKE[x.dtype], like_a=LIKE[kind], x=x.start,
               b=b, c=address(c), c_row=c.strides[0], outputs=outputs, block=block, anchors=x_at, units=units)
    to = 0
    for rows_of_run in rows_of_runs if c is not dw else ():
        part = c[rows_of_run, :outputs]
        dw[to : to + len(part)] = part
        to += len(part)
