"""Matrix products over packed panels: packing of weights, the product itself, and what happens around it.

A panel holds PANEL columns of B, step after step of the reduction (`tile`), `panel_bytes` in all; B is its panels
one after another. Weights come as [taps, rows, columns]; their reduction index is (tap, row), or (tap, column) for the
transposed product of the backward pass, each tap filled with zeros up to a multiple of CHANNEL_STEP.
"""

import threading
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import Strides, address, aligned
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import ARITHMETIC, BFLOAT16, CHANNEL_STEP, FLOAT, LANES, LEVEL, LIKE, PANEL
from ltbc.kernels.cpu.threads import launch
from ltbc.kernels.cpu.tile import (
    STEP,
    TILE_ROWS,
    narrow_tile_of_rows,
    tile_of_1_row,
    tile_of_4_rows,
    tile_of_8_rows,
    tile_of_32_rows,
    tile_of_rows,
)
from ltbc.kernels.cpu.vector import (
    NONE,
    OVER,
    activate,
    copy_steps,
    derivative,
    finish_part,
    load,
    load_part,
    prefetch,
    same,
    size_of,
    store,
    store_steps,
    transpose,
)

TILES = LEVEL.tiles  # kernels see numbers
AHEAD = 48  # rows of weights that are fetched before their turn: no CPU foresees strides of kilobytes
STEPS_BLOCK = 2304  # of a reduction: its panel stays in the L2 cache for all rows


def arithmetic(dtype):
    """The dtype in which products of that storage are computed."""
    return ARITHMETIC if dtype == BFLOAT16 else dtype


def over(activation):
    """The number of what kernels do last where dx goes over x, through the activation that made x (`vector.OVER`)."""
    number = ACTIVATIONS.index(activation)
    return NONE if number == NONE else OVER + number


def slot(channels):
    """Channels of a tap, filled up."""
    return -(-channels // CHANNEL_STEP) * CHANNEL_STEP


def panels(columns):
    """How many hold so many columns."""
    return -(-columns // PANEL)


def panel_bytes(reduction, dtype):
    """Bytes of a panel of so many elements of the reduction."""
    return reduction * dtype.itemsize * PANEL


@inlined
def share(n, i, parts):
    """Where the i-th of so many parts of n begins; they are as equal as whole numbers can be."""
    return n * i // parts


@inlined
def multiply(like, a, a_row, rows, columns, steps, b, c, accumulate):
    """C[rows, PANEL] = A B, or C + A B where accumulate is not 0: one panel, its first `columns` at least.

    Rows of A lie a_row bytes apart, those of C follow each other. Fewer than 4 rows at the end are filled up with
    whatever follows them.
    """
    for start in range(0, steps, STEPS_BLOCK):
        a0, b0, k = a + 4 * start, b + STEP * start, min(STEPS_BLOCK, steps - start)
        m, more = 0, accumulate + start  # rows that are done; not 0: C holds sums already
        if TILES and size_of(like) == 2:
            while m + 32 <= rows:
                tile_of_32_rows(a0 + m * a_row, a_row, k, b0, c + m * STEP, more)
                m += 32
        while columns <= LANES and m + 2 * TILE_ROWS <= rows:
            narrow_tile_of_rows(like, a0 + m * a_row, a_row, k, b0, c + m * STEP, STEP, more)
            m += 2 * TILE_ROWS
        while m + TILE_ROWS <= rows + 3 * (m > 0):  # 3 rows too few: still faster than smaller tiles
            tile_of_rows(like, a0 + m * a_row, a_row, k, b0, c + m * STEP, STEP, more)
            m += TILE_ROWS
        if rows == 1:
            tile_of_1_row(like, a0, a_row, k, b0, c, STEP, more)
            m = 1
        if TILE_ROWS > 8 and m + 4 < rows:
            tile_of_8_rows(like, a0 + m * a_row, a_row, k, b0, c + m * STEP, STEP, more)
            m += 8
        while m < rows:
            tile_of_4_rows(like, a0 + m * a_row, a_row, k, b0, c + m * STEP, STEP, more)
            m += 4


def rows_computed(rows):
    """How many `multiply` computes of `rows`, which fill its largest tile at least once."""
    left = rows % TILE_ROWS
    done = rows - left
    if left > TILE_ROWS - 4:  # the largest tile once more
        return done + TILE_ROWS
    if left > 4:
        done, left = done + 8, left - 8
    return done + -(-max(0, left) // 4) * 4


class Output(NamedTuple):
    """The pixels that sums of products become. bias_image: bytes from an image's bias to the next one's, 0 where all
    have one. activation: what is done last, by number (`vector.activate`, and `vector.OVER`)."""

    strides: Strides
    height: int
    width: int
    channels: int
    bias_image: int = 0
    activation: int = NONE


@inlined
def finish_row(like, c, bias, y, n, activation):
    """n channels of one pixel of y from their sums c: y = act(c + bias), or (c + bias) act'(what y was)."""
    size, v = size_of(like), 0
    while v + LANES <= n:
        total = load(FLOAT, c + 4 * v) + load(FLOAT, bias + 4 * v)
        if activation > OVER:
            total = derivative(total, load(like, y + size * v), activation - OVER)
        store(like, y + size * v, activate(total, activation))
        v += LANES
    if v < n:
        total = load(FLOAT, c + 4 * v) + load_part(FLOAT, bias + 4 * v, n - v)
        finish_part(like, total, y + size * v, n - v, activation)


class Weights(NamedTuple):
    """A tap of weights is [rows, columns] in memory; slot: what its part of the reduction, the rows of a product or the
    columns of a transposed one, is filled up to."""

    rows: int
    columns: int
    slot: int


@compiled
def pack_panels(first, last, scratch, like_w, like_b, w, shape, groups, b):
    """Panels of [reduction, columns]: each group's taps one after another. Unit: a panel of a group."""
    rows, columns, tap_slot = shape.rows, shape.columns, shape.slot
    count, size, per_group = groups.shape[1], size_of(like_w), -(-columns // PANEL)
    one_panel = count * tap_slot * size_of(like_b) * PANEL
    for unit in range(first, last):
        group, column = unit // per_group, unit % per_group * PANEL
        to = b + unit * one_panel
        for t in range(count):
            start = w + size * (groups[group, t] * rows * columns + column)
            for r in range(0, tap_slot, 2):
                at = start + size * r * columns
                prefetch(at + AHEAD * size * columns)
                prefetch(at + (AHEAD + 1) * size * columns)
                for v in range(0, PANEL, LANES):
                    n = columns - column - v
                    if same(like_w, like_b) and n >= LANES and r + 2 <= rows:
                        copy_steps(like_w, to + 4 * v, STEP, at + size * v, at + size * (columns + v))
                        continue
                    v0 = load_part(like_w, at + size * v, n * (r < rows))
                    v1 = load_part(like_w, at + size * (columns + v), n * (r + 1 < rows))
                    store_steps(like_b, to + 4 * v, STEP, v0, v1)
                to += 2 * PANEL * size_of(like_b)


@compiled
def pack_transposed(first, last, scratch, like_w, like_b, w, shape, groups, b):
    """Panels of the transposed product [columns, rows]: the reduction runs over (tap, column). Unit as above."""
    rows, columns, tap_slot = shape.rows, shape.columns, shape.slot
    count, size, per_group = groups.shape[1], size_of(like_w), -(-rows // PANEL)
    block = 4 * LANES // size_of(like_b)  # columns whose elements fill one vector register
    one_panel = count * tap_slot * size_of(like_b) * PANEL
    for unit in range(first, last):
        group, row = unit // per_group, unit % per_group * PANEL
        to = b + unit * one_panel
        for t in range(count):
            start = w + size * columns * (groups[group, t] * rows + row)
            for column in range(0, tap_slot, block):
                steps = min(LANES, (tap_slot - column) * size_of(like_b) // 4)
                for v in range(0, PANEL, LANES):
                    at = start + size * (v * columns + column)
                    if same(like_w, like_b) and row + v + LANES <= rows and column + block <= columns:
                        for r in range(LANES):
                            prefetch(at + size * (r + PANEL) * columns)  # of the next panel
                        transpose(at, size * columns, to + 4 * v, STEP)
                        continue
                    for r in range(LANES):
                        n = (columns - column) * (row + v + r < rows)
                        for part in range(0, block, LANES):
                            x = load_part(like_w, at + size * (r * columns + part), n - part)
                            store(like_b, scratch + 4 * LANES * r + size_of(like_b) * part, x)
                    transpose(scratch, 4 * LANES, scratch, 4 * LANES)
                    for k in range(steps):
                        x = load(FLOAT, scratch + 4 * LANES * k)
                        store(FLOAT, to + STEP * k + 4 * v, x)
                to += STEP * steps


def packed(w, groups, out=None, transposed=False):
    """Panels of w `[taps, rows, columns]` for each group of taps: their numbers, in the order in which a product meets
    them; `out` is reused where it fits."""
    rows, columns = w.shape[1:]
    kind = arithmetic(w.dtype)
    reduction, width = (slot(columns), rows) if transposed else (slot(rows), columns)
    per_tap = panels(width) * panel_bytes(reduction, kind)
    size = sum(map(len, groups)) * per_tap
    b = out if out is not None and out.nbytes == size else aligned((size,), np.uint8)
    kernel, shape = pack_transposed if transposed else pack_panels, Weights(rows, columns, reduction)
    where = address(b)
    for taps, alike in groupby(groups, len):
        table = np.array(list(alike), np.int64)
        launch(kernel, len(table) * panels(width), 4 * LANES * LANES, like_w=LIKE[w.dtype], like_b=LIKE[kind],
               w=address(w), shape=shape, groups=table, b=where)
        where += len(table) * taps * per_tap
    return b


class Prepared:
    """Weights and the packed forms made of them, each when it is first asked for after a refresh."""

    def __init__(self):
        self.forms, self.fresh, self.lock = {}, set(), threading.RLock()

    def refresh(self, w):
        self.w, self.fresh, self.uses = w, set(), 0
        return self

    def early_use(self):
        """True twice a refresh: for what a training step of up to two micro-batches needs, a form is not worth its
        memory."""
        with self.lock:
            self.uses += 1
            return self.uses <= 2

    def form(self, name, make):
        """`make(w, the form's old memory or None)`, once a refresh."""
        with self.lock:
            if name not in self.fresh:
                self.forms[name] = make(np.ascontiguousarray(self.w), self.forms.get(name))
                self.fresh.add(name)
            return self.forms[name]


def prepare(w, *, out=None):
    """The `prepare` of every operation with packed weights."""
    return (out or Prepared()).refresh(w)
