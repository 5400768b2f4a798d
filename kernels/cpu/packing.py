"""Packing of weights into panels, the form in which products read them (`matrix.py`).

Weights come as [taps, rows, columns]; their reduction index is (tap, row), or (tap, column) for the transposed product
of the backward pass, each tap filled with zeros up to a multiple of CHANNEL_STEP.
"""

import threading
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import aligned
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import FLOAT, LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panel_bytes, panels, slot
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.tile import STEP
from ltbc.kernels.cpu.vector import (
    copy_steps,
    load,
    load_part,
    prefetch,
    same,
    size_of,
    store,
    store_steps,
    transpose,
)

AHEAD = 48  # rows of weights that are fetched before their turn: no CPU foresees strides of kilobytes


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
        forall(kernel, len(table) * panels(width), 4 * LANES * LANES, like_w=LIKE[w.dtype], like_b=LIKE[kind],
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
