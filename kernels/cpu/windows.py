"""Products over the windows of an image: every direct convolution of the network, forward and backward.

    anchor (i, j)     a position of a `Grid` in each image; it has one window and, in each phase, one pixel of y
    window            `size x size` pixels of x; the corner of (i, j)'s lies at (start + i * stride, start + j * stride)
    run               neighboring pixels of a row of the window, which lie one after another in memory
    phase (p, q)      the runs that make the pixel (i * scale + p, j * scale + q) of y, and the weights they meet

A convolution has one phase, of all pixels of its 3x3 window. Upsampling + convolution and the data gradient of stride 2
have four, which share a window and take parts of it. The windows of a block of anchors are gathered as rows of a matrix
A, so that a run is some of A's columns; the products of A's columns with a phase's panels of weights are its pixels.

Weight gradients (`gradient.py`) take the same grids and phases and turn the product: their reduction runs over anchors.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import Image, pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.in_place import block_rows, fills_tiles, multiply_in_place
from ltbc.kernels.cpu.machine import FLOAT, LANES, LEVEL, LIKE, PANEL
from ltbc.kernels.cpu.matrix import Output, arithmetic, finish_row, multiply, panel_bytes, panels, share, slot
from ltbc.kernels.cpu.threads import forall, threads
from ltbc.kernels.cpu.tile import STEP, TILE_ROWS
from ltbc.kernels.cpu.vector import NONE, copy_bytes, load, load_part, same, size_of, store, store_part

BLOCK_BYTES = 512 << 10  # of gathered windows: half of a common L2 cache
LINE = 4 * LANES  # bytes of a vector
FULL = 32 if LEVEL.tiles else 2 * TILE_ROWS  # rows of windows that fill register tiles


class Grid(NamedTuple):
    """Anchors [images, height, width] and their windows, as above. `start` counts from the image's first pixel, which
    is one of the border where it has one."""

    images: int
    height: int
    width: int
    size: int = 3
    stride: int = 1
    start: int = 0
    scale: int = 1


class Run(NamedTuple):
    """`taps` neighboring pixels of a window, from (row, column) on."""

    row: int
    column: int
    taps: int


class Phase(NamedTuple):
    """The pixel (i * scale + p, j * scale + q) of y of each anchor, and what it is made of: weights follow each other
    in the order of the runs."""

    p: int
    q: int
    runs: tuple[Run, ...]


def whole_window(size: int) -> tuple[Phase, ...]:
    """The only phase where a pixel of y is made of all of the window."""
    return (Phase(p=0, q=0, runs=tuple(Run(row, column=0, taps=size) for row in range(size))),)


@inlined
def row_bytes(n):
    """n, rounded up to an odd number of cache lines: rows of a tile shall not compete for one set of the L1 cache."""
    return (n + 63) // 64 // 2 * 128 + 64


@inlined
def gather(like_x, like_a, x, of_x, rows, row, a):
    """The window at address x as one row of A, converted, each of its rows' taps filled up to its slot."""
    if same(like_x, like_a) and row.channels == row.slot:
        n = row.taps * row.channels * size_of(like_x)
        for r in range(rows):
            for at in range(0, n - LINE + 1, LINE):  # short runs: a call of memcpy would cost more
                store(FLOAT, a + r * n + at, load(FLOAT, x + r * of_x.row + at))
            if n % LINE:
                copy_bytes(a + r * n + n // LINE * LINE, x + r * of_x.row + n // LINE * LINE, n % LINE)
        return
    for r in range(rows):
        for s in range(row.taps):
            at, to = x + r * of_x.row + s * of_x.pixel, a + (r * row.taps + s) * row.slot * size_of(like_a)
            for c in range(0, row.slot, LANES):
                v = load_part(like_x, at + c * size_of(like_x), row.channels - c)
                store_part(like_a, to + c * size_of(like_a), v, row.slot - c)


@inlined
def advance(n, i, j, height, width):
    """The position after (n, i, j) in an image batch: divisions would cost more than the loops around them."""
    j += 1
    if j >= width:
        i, j = i + 1, 0
        if i >= height:
            n, i = n + 1, 0
    return n, i, j


class Gathered(NamedTuple):
    """How windows become rows of A: taps of a row of the window, channels of a tap and what they are filled up to."""

    taps: int
    channels: int
    slot: int


class Units(NamedTuple):
    """A unit is a block of anchors (or of their rows) and one of so many groups of panels."""

    block: int
    groups: int


@inlined
def anchor_at(t, grid):
    """(image, row, column) of the anchor number t."""
    per_image = grid.height * grid.width
    return t // per_image, t % per_image // grid.width, t % per_image % grid.width


@inlined
def gather_block(like_x, like_a, x, of_x, grid, row, t0, rows, a, a_row):
    """The windows of `rows` anchors from number t0 on, as rows of A."""
    n, i, j = anchor_at(t0, grid)
    for t in range(rows):
        corner = pixel_at(x, of_x, n, i * grid.stride + grid.start, j * grid.stride + grid.start)
        gather(like_x, like_a, corner, of_x, grid.size, row, a + t * a_row)
        n, i, j = advance(n, i, j, grid.height, grid.width)


@inlined
def finish_block(like_y, c, bias, y, out, grid, t0, rows, p, q, o):
    """The pixels of phase (p, q) of the same anchors, a panel of channels from o on, from their sums c."""
    n, i, j = anchor_at(t0, grid)
    for t in range(rows):
        y_i, y_j = i * grid.scale + p, j * grid.scale + q
        if y_i < out.height and y_j < out.width:  # of an odd side, the last anchors have no odd pixels
            to = pixel_at(y, out.strides, n, y_i, y_j) + o * size_of(like_y)
            from_bias = bias + n * out.bias_image + 4 * o
            finish_row(like_y, c + STEP * t, from_bias, to, min(PANEL, out.channels - o), out.activation)
        n, i, j = advance(n, i, j, grid.height, grid.width)


@compiled
def multiply_windows(first, last, scratch, like_x, like_a, like_y, x, of_x, b, bias, y, out, grid, row, units, phases):
    """of_x: strides; out: an Output; row: a Gathered; phases: a `phase_table`. Unit: of `Units`."""
    anchors, count = grid.images * grid.height * grid.width, -(-out.channels // PANEL)
    tap_bytes = row.slot * size_of(like_a)
    a_row = row_bytes(grid.size * row.taps * tap_bytes)
    a, c = scratch, scratch + (units.block + 3) * a_row
    for unit in range(first, last):
        block, group = unit // units.groups, unit % units.groups
        t0 = block * units.block
        rows = min(units.block, anchors - t0)
        gather_block(like_x, like_a, x, of_x, grid, row, t0, rows, a, a_row)
        for panel in range(share(count, group, units.groups), share(count, group + 1, units.groups)):
            o = panel * PANEL
            left = out.channels - o
            for phase in range(phases.shape[0]):
                p, q, where, panel_size, first_tap, taps, second_tap, more_taps = phases[phase]
                weights, steps = b + where + panel * panel_size, taps * tap_bytes // 4
                multiply(like_a, a + first_tap * tap_bytes, a_row, rows, left, steps, weights, c, accumulate=0)
                if more_taps:
                    weights, steps = weights + steps * STEP, more_taps * tap_bytes // 4
                    multiply(like_a, a + second_tap * tap_bytes, a_row, rows, left, steps, weights, c, accumulate=1)
                finish_block(like_y, c, bias, y, out, grid, t0, rows, p, q, o)


def panel_groups(outputs, blocks):
    """Into how many units a block of anchors is cut, so that every thread has two."""
    return min(panels(outputs), -(-2 * threads() // blocks)) if threads() > 1 else 1


def segments(phase, size, merged):
    """[first tap, taps] of the phase in a gathered window, its taps numbered row after row: runs, joined where one
    begins at the end of another. merged: a row of the window is one tap."""
    found: list[list[int]] = []
    for run in phase.runs:
        first = run.row * size + run.column
        if found and sum(found[-1]) == first:
            found[-1][1] += run.taps
        else:
            found.append([first, run.taps])
    return [[first // size, taps // size] for first, taps in found] if merged else found


@lru_cache
def phase_table(phases, size, merged, tap_slot, columns, kind):
    """The phases as `multiply_windows` reads them: [p, q, where the first panel lies, bytes of a panel, first tap and
    taps of the first segment, of the second (0 taps: there is none)]."""
    rows, where = [], 0
    for phase in phases:
        found = segments(phase, size, merged)
        one_panel = panel_bytes(sum(taps for _, taps in found) * tap_slot, kind)
        rows.append([phase.p, phase.q, where, one_panel, *sum(found, []), *[0, 0] * (2 - len(found))])
        where += one_panel * panels(columns)
    return np.array(rows, np.int64)


@lru_cache
def run_table(phases, pixel):
    """The runs of each phase as `multiply_in_place` reads them: [row, column, steps of the reduction], where a pixel
    takes so many bytes; 0 steps: there is none."""
    table = np.zeros((len(phases), max(len(phase.runs) for phase in phases), 3), np.int64)
    for rows, phase in zip(table, phases):
        rows[: len(phase.runs)] = [(run.row, run.column, run.taps * pixel // 4) for run in phase.runs]
    return table


def multiply_over_windows(
    x: Image, grid: Grid, phases: tuple[Phase, ...], b: np.ndarray, bias: np.ndarray, y: np.ndarray,
    activation: int = NONE, merged: bool = False,
) -> None:
    """y = act(bias + windows of x times the panels b). bias: [Cout], or [N, Cout]; y: contiguous channels.

    merged: a row of the window counts as one tap of more channels, of which fewer have to be filled up.
    The sums' order does not depend on how anchors and panels are cut into units.
    """
    kind, outputs = arithmetic(x.dtype), y.shape[3]
    bias_image = bias.strides[0] if bias.ndim == 2 else 0
    out = Output(strides(y), y.shape[1], y.shape[2], outputs, bias_image, activation)
    taps, channels = (1, grid.size * x.channels) if merged else (grid.size, x.channels)
    row = Gathered(taps, channels, slot(channels))
    table = phase_table(phases, grid.size, merged, row.slot, outputs, kind)
    both = {"like_y": LIKE[y.dtype], "x": x.start, "of_x": x.strides, "b": address(b), "bias": address(bias),
            "y": address(y), "out": out, "grid": grid, "phases": table}
    if kind == x.dtype and row.slot == channels and fills_tiles(grid.width):
        block = block_rows(grid.images * grid.height, grid.width, 16 * threads())
        blocks = -(-grid.images * grid.height // block)
        units = Units(block, panel_groups(outputs, blocks))
        forall(multiply_in_place, blocks * units.groups, (grid.width + 3) * STEP, like=LIKE[kind], units=units,
               runs=run_table(phases, x.channels * x.dtype.itemsize), **both)
        return
    a_row = row_bytes.py_func(grid.size * taps * row.slot * kind.itemsize)
    anchors = grid.images * grid.height * grid.width
    block = max(4, min(BLOCK_BYTES // a_row // FULL * FULL or FULL, -(-anchors // threads()), 8 * FULL))
    blocks = -(-anchors // block)
    units = Units(block, panel_groups(outputs, blocks))
    forall(multiply_windows, blocks * units.groups, (block + 3) * (a_row + STEP), like_x=LIKE[x.dtype],
           like_a=LIKE[kind], row=row, units=units, **both)
