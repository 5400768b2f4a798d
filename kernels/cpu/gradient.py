"""Weight gradients over windows, with the reduction over anchors.

dW[element of a window, column] = sum over anchors of x[element] dz[column]. First dz is packed in panels whose steps
are anchors, for each phase; then each unit packs a *run* of consecutive window elements, step after step, and
multiplies it with all panels. Reductions run over anchors in one order, whatever the number of threads.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ltbc.kernels.cpu.buffers import address, workspace
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panels
from ltbc.kernels.cpu.threads import launch
from ltbc.kernels.cpu.tile import COLUMN, STEP, STEP_ROWS, narrow_tile_of_steps, tile_of_steps
from ltbc.kernels.cpu.vector import copy_steps, load, load_part, same, size_of, store_steps

ANCHORS = 4096  # of a block of the reduction: its panels stay in the L2 cache
CHUNK = 64  # elements of a run that are packed at a time
ROWWISE_BYTES = 32 << 10  # of all panels, which then stay in the L1 cache: sums are written row after row
LINE = 4 * COLUMN  # bytes of a step: packed runs lie in columns of so many elements


class Run(NamedTuple):
    """`length` elements from the tap (r, s) of a window on; they meet the gradient's pixels of a phase."""

    r: int
    s: int
    length: int
    phase: int = 0


class Block(NamedTuple):
    """So many anchors from the number t0 on, in so many steps of the reduction."""

    t0: int
    anchors: int
    steps: int


@compiled
def pack_gradient(first, last, scratch, like_z, like_a, z, b, outputs, block, anchors, phases):
    """dz of a block of anchors in panels, a phase after another. Unit: 4 anchors."""
    size, per_panel, per_step = size_of(like_z), STEP * block.steps, 4 // size_of(like_a)
    for unit in range(first, last):
        for phase in range(phases.shape[0]):
            to = b + phase * -(-outputs // PANEL) * per_panel
            for pair in range(4 * unit, 4 * unit + 4, 2):
                at = z + phases[phase]
                at0, at1 = at + anchors[block.t0 + pair], at + anchors[block.t0 + pair + 1]
                for o in range(0, outputs, LANES):
                    left = outputs - o
                    where = to + o // PANEL * per_panel + o % PANEL * 4 + pair // per_step * STEP
                    if same(like_z, like_a) and pair + 1 < block.anchors and left >= LANES:
                        copy_steps(like_z, where, STEP, at0 + size * o, at1 + size * o)
                        continue
                    v0 = load_part(like_z, at0 + size * o, left * (pair < block.anchors))
                    v1 = load_part(like_z, at1 + size * o, left * (pair + 1 < block.anchors))
                    store_steps(like_a, where, STEP, v0, v1)


@compiled
def multiply_runs(first, last, scratch, like_x, like_a, x, b, c, c_row, outputs, block, anchors, units):
    """Unit: a chunk of a run, whose products with all panels are added to its rows of c; the first block overwrites."""
    steps, per_step, t0, count = block.steps, 4 // size_of(like_a), block.t0, block.anchors
    size, per_panel, count_panels = size_of(like_x), STEP * steps, -(-outputs // PANEL)
    for unit in range(first, last):
        offset, length, phase, row = units[unit]
        heights = -(-length // STEP_ROWS)
        for pair in range(0, steps * per_step, 2):
            at0, at1 = x + anchors[t0 + pair] + offset, x + anchors[t0 + pair + 1] + offset
            to = scratch + pair // per_step * LINE
            for v in range(0, heights * STEP_ROWS, LANES):
                to_v = to + v // COLUMN * LINE * steps + v % COLUMN * 4
                if same(like_x, like_a) and pair + 1 < count and v + LANES <= length:
                    copy_steps(like_x, to_v, LINE, at0 + size * v, at1 + size * v)
                    continue
                if pair + 1 < count and v + LANES <= length:
                    v0, v1 = load(like_x, at0 + size * v), load(like_x, at1 + size * v)
                else:
                    v0 = load_part(like_x, at0 + size * v, (length - v) * (pair < count))
                    v1 = load_part(like_x, at1 + size * v, (length - v) * (pair + 1 < count))
                store_steps(like_a, to_v, LINE, v0, v1)
        rowwise = count_panels * per_panel <= ROWWISE_BYTES
        for tile in range(heights * count_panels):
            panel, m = (tile % count_panels, tile // count_panels) if rowwise else (tile // heights, tile % heights)
            weights, m = b + (phase * count_panels + panel) * per_panel, m * STEP_ROWS
            to = c + (row + m) * c_row + 4 * PANEL * panel
            a = scratch + m // COLUMN * LINE * steps + m % COLUMN * 4
            if outputs - panel * PANEL > LANES:
                tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, t0)
            else:
                narrow_tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, t0)


@lru_cache(64)
def anchor_offsets(grid, image, row, pixel, start, stride):
    """Where each anchor's pixel lies in a buffer, with zeros at the end for the last block's filling."""
    n, i, j = np.ogrid[: grid.images, : grid.height, : grid.width]
    offsets = n * image + (i * stride + start) * row + (j * stride + start) * pixel
    return np.append(offsets.ravel(), np.zeros(ANCHORS, np.int64))


def gradient_over_windows(x, like, channels, grid, runs, z, outputs, phases=((0, 0),), border=1, out=None):
    """The products of all runs with dz, `[rows, columns]`, and the first row of each run.

    Rows of a run are filled up to STEP_ROWS and columns to PANEL; written into `out` `[rows, outputs]` where nothing
    has to be filled up, else into memory that is valid until the next call.
    """
    kind, pixel = arithmetic(like), channels * like.itemsize
    x_at = anchor_offsets(grid, x.image, x.row, pixel, grid.start, grid.stride)
    z_pixel = outputs * like.itemsize
    z_at = anchor_offsets(grid, z.image, z.row, z_pixel, border, grid.scale)
    starts, units, row = [], [], 0
    for run in runs:
        starts.append(row)
        units += [(run.r * x.row + run.s * pixel + m * like.itemsize, min(CHUNK, run.length - m), run.phase, row + m)
                  for m in range(0, run.length, CHUNK)]
        row += -(-run.length // STEP_ROWS) * STEP_ROWS
    c = out
    if out is None or out.shape != (row, panels(outputs) * PANEL) or not out.flags.c_contiguous:
        c = workspace("product", row * panels(outputs) * PANEL * 4).view(np.float32).reshape(row, -1)
    anchors, per_step = grid.images * grid.height * grid.width, 4 // kind.itemsize
    block = min(ANCHORS, -(-anchors // 4) * 4)
    b = address(workspace("panels", len(phases) * panels(outputs) * PANEL * block * kind.itemsize))
    phase_at = np.array([p * z.row + q * z_pixel for p, q in phases], np.int64)
    for t0 in range(0, anchors, block):
        count = min(block, anchors - t0)
        now = Block(t0, count, -(-count // 4) * 4 // per_step)
        launch(pack_gradient, -(-count // 4), 0, LIKE[like], LIKE[kind], z.start, b, outputs, now, z_at, phase_at)
        launch(multiply_runs, len(units), 4 * CHUNK * now.steps, LIKE[like], LIKE[kind], x.start, b, address(c),
               c.strides[0], outputs, now, x_at, np.array(units, np.int64))
    return c, starts
