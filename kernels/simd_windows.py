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

from kernels.simd import LANES, LEVEL, LIKE, PANEL, Image, address, launch, threads
from kernels.simd_compiler import compiled, inlined
from kernels.simd_in_place import block_rows, fills_tiles, multiply_in_place
from kernels.simd_matrix import arithmetic, finish_row, multiply, panel_bytes, panels, slot
from kernels.simd_tile import ROWS, STEP
from kernels.simd_vector import copy_bytes, load, load_part, same, size_of, store, store_part

BLOCK_BYTES = 512 << 10  # of gathered windows: half of a common L2 cache
LINE = 4 * LANES  # bytes of a vector
FULL = 32 if LEVEL == "amx" else 2 * ROWS  # rows of windows that fill register tiles


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
def gather(like_x, like_a, x, x_row, rows, taps, pixel, channels, tap_slot, a):
    """The window at address x as one row of A, converted, each of its rows' taps filled up to its slot."""
    if same(like_x, like_a) and channels == tap_slot:
        n = taps * channels * size_of(like_x)
        for r in range(rows):
            for at in range(0, n - LINE + 1, LINE):  # short runs: a call of memcpy would cost more
                store(np.float32(0), a + r * n + at, load(np.float32(0), x + r * x_row + at))
            if n % LINE:
                copy_bytes(a + r * n + n // LINE * LINE, x + r * x_row + n // LINE * LINE, n % LINE)
        return
    for r in range(rows):
        for s in range(taps):
            at, to = x + r * x_row + s * pixel, a + (r * taps + s) * tap_slot * size_of(like_a)
            for c in range(0, tap_slot, LANES):
                v = load_part(like_x, at + c * size_of(like_x), channels - c)
                store_part(like_a, to + c * size_of(like_a), v, tap_slot - c)


@inlined
def advance(n, i, j, step, height, width):
    """The position after (n, i, j) in an image batch: divisions would cost more than the loops around them."""
    j += step
    if j >= width:
        i, j = i + step, 0
        if i >= height:
            n, i = n + 1, 0
    return n, i, j


@compiled
def multiply_windows(first, last, scratch, like_x, like_a, like_y, x, b, bias, y, plan, phases):
    """Unit: a block of anchors and a group of panels."""
    (images, height, width, size, stride, start, scale, taps, pixel, channels, tap_slot, x_image, x_row, block, outputs,
     groups, y_image, y_row, y_pixel, y_height, y_width, bias_image, activation) = plan
    anchors, per_image = images * height * width, height * width
    a_row = row_bytes(size * taps * tap_slot * size_of(like_a))
    tap_bytes, c = tap_slot * size_of(like_a), scratch + (block + 3) * a_row
    count = -(-outputs // PANEL)
    for unit in range(first, last):
        t0, group = unit // groups * block, unit % groups
        rows = min(block, anchors - t0)
        first_n, at = t0 // per_image, t0 % per_image
        first_i, first_j = at // width, at % width
        n, i, j = first_n, first_i, first_j
        for t in range(rows):
            corner = x + n * x_image + (i * stride + start) * x_row + (j * stride + start) * pixel
            n, i, j = advance(n, i, j, 1, height, width)
            gather(like_x, like_a, corner, x_row, size, taps, pixel, channels, tap_slot, scratch + t * a_row)
        for panel in range(group * count // groups, (group + 1) * count // groups):
            o = panel * PANEL
            for phase in range(phases.shape[0]):
                p, q, where, panel_size, tap0, taps0, tap1, taps1 = phases[phase]
                weights = b + where + panel * panel_size
                steps = taps0 * tap_bytes // 4
                multiply(like_a, scratch + tap0 * tap_bytes, a_row, rows, outputs - o, steps, weights, c, 0)
                if taps1:
                    weights += steps * STEP
                    steps = taps1 * tap_bytes // 4
                    multiply(like_a, scratch + tap1 * tap_bytes, a_row, rows, outputs - o, steps, weights, c, 1)
                n, i, j = first_n, first_i, first_j
                for t in range(rows):
                    if i * scale + p < y_height and j * scale + q < y_width:
                        to = y + n * y_image + (i * scale + p) * y_row + (j * scale + q) * y_pixel + o * size_of(like_y)
                        from_bias = bias + n * bias_image + 4 * o
                        finish_row(like_y, c + 4 * PANEL * t, from_bias, to, min(PANEL, outputs - o), activation)
                    n, i, j = advance(n, i, j, 1, height, width)


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


def convolve(x: Image, like: np.dtype, channels: int, grid: Grid, phases: tuple[Phase, ...], b: np.ndarray,
             bias: np.ndarray, y: np.ndarray, activation: int = 0, merged: bool = False) -> None:
    """y = act(bias + windows of x times the panels b). bias: [Cout], or [N, Cout]; y: contiguous channels.

    merged: a row of the window counts as one tap of more channels, of which fewer have to be filled up.
    The sums' order does not depend on how anchors and panels are cut into units.
    """
    kind, outputs, taps, pixel = arithmetic(like), y.shape[3], grid.size, channels * like.itemsize
    out = (*y.strides[:3], *y.shape[1:3], bias.strides[0] if bias.ndim == 2 else 0, activation)
    if merged:
        taps, channels = 1, grid.size * channels
    tap_slot = slot(channels)
    if kind == like and tap_slot == channels and fills_tiles(grid.width):
        block = block_rows(grid.images * grid.height, grid.width, 16 * threads())
        blocks = -(-grid.images * grid.height // block)
        groups = panel_groups(outputs, blocks)
        plan = np.array([*grid, pixel, x.image, x.row, block, outputs, groups, *out], np.int64)
        scratch = (grid.width + 3) * STEP
        launch(multiply_in_place, blocks * groups, scratch, LIKE[like], LIKE[y.dtype], x.start, address(b),
               address(bias), address(y), plan, phase_table(phases, tap_slot, outputs, kind),
               piece_table(phases, grid.size, taps, tap_slot * kind.itemsize // 4))
        return
    a_row = row_bytes.py_func(grid.size * taps * tap_slot * kind.itemsize)
    anchors = grid.images * grid.height * grid.width
    block = max(4, min(BLOCK_BYTES // a_row // FULL * FULL or FULL, -(-anchors // threads()), 8 * FULL))
    blocks = -(-anchors // block)
    groups = panel_groups(outputs, blocks)
    plan = np.array([
        *grid, taps, pixel, channels, tap_slot, x.image, x.row, block, outputs, groups, *out], np.int64)
    scratch = (block + 3) * (a_row + 4 * PANEL)
    launch(multiply_windows, blocks * groups, scratch, LIKE[like], LIKE[kind], LIKE[y.dtype], x.start, address(b),
           address(bias), address(y), plan, phase_table(phases, tap_slot, outputs, kind))
