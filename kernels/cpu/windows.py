"""Products over the windows of an image: every direct convolution of the network, forward and backward.

An *anchor* is a position (i, j) of a grid in each image; its window is `size x size` pixels whose corner lies at
row `start + i * stride` of the image with its border, columns likewise. The windows of a block of anchors are gathered
as rows of A; each *phase* multiplies segments of these rows with its own panels and writes the pixels
(i * scale + p, j * scale + q). Convolution has one phase; upsampling + convolution and the data gradient of
stride 2 have four, whose taps are parts of one window.

Weight gradients turn the product: the reduction runs over anchors, A holds *runs* of consecutive window elements, B the
gradient's pixels of one phase.
"""

from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ltbc.kernels.cpu.buffers import Image, address, pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.in_place import block_rows, fills_tiles, multiply_in_place
from ltbc.kernels.cpu.machine import LANES, LEVEL, LIKE, PANEL
from ltbc.kernels.cpu.matrix import Output, arithmetic, finish_row, multiply, panel_bytes, panels, slot
from ltbc.kernels.cpu.threads import launch, threads
from ltbc.kernels.cpu.tile import STEP, TILE_ROWS
from ltbc.kernels.cpu.vector import copy_bytes, load, load_part, same, size_of, store, store_part

BLOCK_BYTES = 512 << 10  # of gathered windows: half of a common L2 cache
LINE = 4 * LANES  # bytes of a vector
FULL = 32 if LEVEL.tiles else 2 * TILE_ROWS  # rows of windows that fill register tiles


class Grid(NamedTuple):
    """Anchors [N, height, width] and their windows."""

    images: int
    height: int
    width: int
    size: int = 3
    stride: int = 1
    start: int = 0
    scale: int = 1


class Segment(NamedTuple):
    """`taps` neighboring taps of a window, from the tap number `first` on."""

    first: int
    taps: int


class Phase(NamedTuple):
    """Output pixels (i * scale + p, j * scale + q), from segments of the window; their weights follow each other."""

    p: int
    q: int
    segments: tuple[Segment, ...]


@inlined
def row_bytes(n):
    """An odd number of cache lines, so that the rows of a tile do not compete for one set of the L1 cache."""
    return (n + 63) // 64 // 2 * 128 + 64


@inlined
def gather(like_x, like_a, x, of_x, rows, row, a):
    """The window at address x as one row of A, converted, each of its rows' taps filled up to its slot."""
    if same(like_x, like_a) and row.channels == row.slot:
        n = row.taps * row.channels * size_of(like_x)
        for r in range(rows):
            for at in range(0, n - LINE + 1, LINE):  # short runs: a call of memcpy would cost more
                store(np.float32(0), a + r * n + at, load(np.float32(0), x + r * of_x.row + at))
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
def advance(n, i, j, step, height, width):
    """The position after (n, i, j) in an image batch: divisions would cost more than the loops around them."""
    j += step
    if j >= width:
        i, j = i + step, 0
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


@compiled
def multiply_windows(first, last, scratch, like_x, like_a, like_y, x, of_x, b, bias, y, out, grid, row, units, phases):
    """of_x: strides; out: an Output; row: a Gathered."""
    anchors, per_image = grid.images * grid.height * grid.width, grid.height * grid.width
    a_row = row_bytes(grid.size * row.taps * row.slot * size_of(like_a))
    tap_bytes, c = row.slot * size_of(like_a), scratch + (units.block + 3) * a_row
    count = -(-out.channels // PANEL)
    for unit in range(first, last):
        t0, group = unit // units.groups * units.block, unit % units.groups
        rows = min(units.block, anchors - t0)
        first_n, at = t0 // per_image, t0 % per_image
        first_i, first_j = at // grid.width, at % grid.width
        n, i, j = first_n, first_i, first_j
        for t in range(rows):
            corner = pixel_at(x, of_x, n, i * grid.stride + grid.start, j * grid.stride + grid.start)
            n, i, j = advance(n, i, j, 1, grid.height, grid.width)
            gather(like_x, like_a, corner, of_x, grid.size, row, scratch + t * a_row)
        for panel in range(group * count // units.groups, (group + 1) * count // units.groups):
            o = panel * PANEL
            left = out.channels - o
            for phase in range(phases.shape[0]):
                p, q, where, panel_size, tap0, taps0, tap1, taps1 = phases[phase]
                weights = b + where + panel * panel_size
                steps = taps0 * tap_bytes // 4
                multiply(like_a, scratch + tap0 * tap_bytes, a_row, rows, left, steps, weights, c, 0)
                if taps1:
                    weights += steps * STEP
                    steps = taps1 * tap_bytes // 4
                    multiply(like_a, scratch + tap1 * tap_bytes, a_row, rows, left, steps, weights, c, 1)
                n, i, j = first_n, first_i, first_j
                for t in range(rows):
                    y_i, y_j = i * grid.scale + p, j * grid.scale + q
                    if y_i < out.height and y_j < out.width:
                        to = pixel_at(y, out.strides, n, y_i, y_j) + o * size_of(like_y)
                        from_bias = bias + n * out.bias_image + 4 * o
                        finish_row(like_y, c + STEP * t, from_bias, to, min(PANEL, left), out.activation)
                    n, i, j = advance(n, i, j, 1, grid.height, grid.width)


def panel_groups(outputs, blocks):
    """Into how many units a block of anchors is cut, so that every thread has two."""
    return min(panels(outputs), -(-2 * threads() // blocks)) if threads() > 1 else 1


@lru_cache
def phase_table(phases, reduction_slot, columns, kind):
    """The phases as the kernel reads them: where their panels lie and which parts of a window they take."""
    rows, where = [], 0
    for phase in phases:
        one = panel_bytes(sum(s.taps for s in phase.segments) * reduction_slot, kind)
        rows.append([phase.p, phase.q, where, one, *sum(phase.segments, ()), *(0, 0) * (2 - len(phase.segments))])
        where += one * panels(columns)
    return np.array(rows, np.int64)


@lru_cache
def piece_table(phases, size, columns, steps):
    """What each phase takes of every row of a window, as [row, column, steps of the reduction]."""
    table = np.zeros((len(phases), size, 3), np.int64)
    for pieces, phase in zip(table, phases):
        taps = [tap for first, taps in phase.segments for tap in range(first, first + taps)]
        for piece, (row, group) in zip(pieces, groupby(taps, lambda tap: tap // columns)):
            found = list(group)
            piece[:] = row, found[0] % columns, len(found) * steps
    return table


def multiply_over_windows(x: Image, like: np.dtype, channels: int, grid: Grid, phases: tuple[Phase, ...], b: np.ndarray,
             bias: np.ndarray, y: np.ndarray, activation: int = 0, merged: bool = False) -> None:
    """y = act(bias + windows of x times the panels b). bias: [Cout], or [N, Cout]; y: contiguous channels.

    merged: a row of the window counts as one tap of more channels, of which fewer have to be filled up.
    The sums' order does not depend on how anchors and panels are cut into units.
    """
    kind, outputs, of_x = arithmetic(like), y.shape[3], x.strides(channels * like.itemsize)
    bias_image = bias.strides[0] if bias.ndim == 2 else 0
    out = Output(strides(y), y.shape[1], y.shape[2], outputs, bias_image, activation)
    taps, channels = (1, grid.size * channels) if merged else (grid.size, channels)
    row = Gathered(taps, channels, slot(channels))
    table = phase_table(phases, row.slot, outputs, kind)
    places = LIKE[y.dtype], x.start, of_x, address(b), address(bias), address(y), out, grid
    if kind == like and row.slot == channels and fills_tiles(grid.width):
        block = block_rows(grid.images * grid.height, grid.width, 16 * threads())
        blocks = -(-grid.images * grid.height // block)
        units = Units(block, panel_groups(outputs, blocks))
        launch(multiply_in_place, blocks * units.groups, (grid.width + 3) * STEP, LIKE[like], *places, units, table,
               piece_table(phases, grid.size, taps, row.slot * kind.itemsize // 4))
        return
    a_row = row_bytes.py_func(grid.size * taps * row.slot * kind.itemsize)
    anchors = grid.images * grid.height * grid.width
    block = max(4, min(BLOCK_BYTES // a_row // FULL * FULL or FULL, -(-anchors // threads()), 8 * FULL))
    blocks = -(-anchors // block)
    units = Units(block, panel_groups(outputs, blocks))
    launch(multiply_windows, blocks * units.groups, (block + 3) * (a_row + STEP), LIKE[like], LIKE[kind], *places, row,
           units, table)
