"""Matrix products over packed panels, and what becomes of their sums.

A panel holds PANEL columns of B, step after step of the reduction (`tile`), `panel_bytes` in all; B is its panels
one after another (`packing.py`).
"""

from typing import NamedTuple

from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.cpu.buffers import Strides
from ltbc.kernels.cpu.compiler import inlined
from ltbc.kernels.cpu.machine import ARITHMETIC, BFLOAT16, CHANNEL_STEP, FLOAT, LANES, LEVEL, PANEL
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
    derivative,
    finish_part,
    load,
    load_part,
    size_of,
    store,
)

TILES = LEVEL.tiles  # kernels see numbers
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
