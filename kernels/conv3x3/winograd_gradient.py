"""The weight gradient of Winograd's convolutions, with the matrices of `winograd.py`:

    dw = G^T [sum over tiles of (B^T x B) * (A dz A^T)] G

The sum over tiles is a matrix product [Cin, tiles] x [tiles, Cout] for each of the p x p products. It is formed slice
by slice of both channels and block by block of tiles: a thread transforms its slices of a block and multiplies them
while they are in its L2 cache, where the sums stay as well. Few slices are done in splits of the tiles, added at the
end; how many depends on the shapes alone.
"""

from typing import NamedTuple

import numpy as np

from ltbc.kernels.conv3x3.winograd import ALGORITHMS, tile_of
from ltbc.kernels.conv3x3.winograd_transform import transform, transform_steps
from ltbc.kernels.cpu.buffers import address, pixel_at, workspace
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panels
from ltbc.kernels.cpu.threads import launch
from ltbc.kernels.cpu.tile import COLUMN, STEP, STEP_ROWS, tile_of_steps
from ltbc.kernels.cpu.vector import load, size_of, store
from ltbc.kernels.cpu.windows import advance

of_sums = transform([f.g.T for f in ALGORITHMS])

SLICE_ROWS, SLICE_COLUMNS = 64, 4 * PANEL  # of a slice, at most: of Cin, and of Cout
TILES_BYTES = 640 << 10  # of a block's transformed tiles
LEAST_UNITS = 8  # at least, where tiles suffice
LEAST_TILES = 256  # of a split, at least
LINE = 4 * COLUMN  # bytes of a step of the left factor
ODD = 64  # bytes that make a plane an odd number of cache lines long: planes do not compete for one set


class Slices(NamedTuple):
    """A unit is a slice of `rows` of Cin, one of `columns` of Cout, one of `splits` of the tiles, done in blocks."""

    rows: int
    columns: int
    splits: int
    block: int


@inlined
def corner(t, tiles, step, n, i, j, x, of_x, beyond):
    """Address of the first pixel of tile t, at (n, i, j), or `beyond` for one past the last."""
    return pixel_at(x, of_x, n, i * step, j * step) if t < tiles.total else beyond


def transform_tiles(matrices):
    """The function that transforms `channels` of the tiles t0 to t1 into steps of a reduction, in columns of `width`
    elements. x: the first channel of the first tile's first pixel; beyond: what is read past the last tile; step:
    pixels from tile to tile."""
    of_pair = transform_steps(matrices)

    @inlined
    def apply(variant, kind, like, x, of_x, beyond, step, channels, width, tiles, t0, t1, to, plane):
        size, per_step = size_of(like), 4 // size_of(kind)
        for e in range(0, channels, LANES):
            n, i, j = tile_of(t0, tiles)
            to_e = to + e // width * 4 * width * ((t1 - t0) // per_step) + e % width * 4
            for t in range(t0, t1, 2):
                x0 = corner(t, tiles, step, n, i, j, x + e * size, of_x, beyond)
                n, i, j = advance(n, i, j, 1, tiles.down, tiles.across)
                x1 = corner(t + 1, tiles, step, n, i, j, x + e * size, of_x, beyond)
                n, i, j = advance(n, i, j, 1, tiles.down, tiles.across)
                of_pair(variant, kind, like, x0, x1, of_x.row, of_x.pixel, to_e, plane, 4 * width)
                to_e += 2 // per_step * 4 * width

    return apply


of_input, of_gradient = (transform_tiles([getattr(f, side) for f in ALGORITHMS]) for side in ("bt", "a"))


@inlined
def transform_row(variant, side, c, plane, c_panel, n, dw, tap):
    """n elements of each tap of dw from their sums."""
    for e in range(0, n, LANES):
        at = c + e // PANEL * c_panel + e % PANEL * 4
        of_sums(variant, np.float32(0), np.float32(0), at, side * plane, plane, dw + 4 * e, tap)


@compiled
def multiply_slices(first, last, scratch, variant, like_x, kind, x, of_x, z, of_z, zeros, c, dw, cin, cout, tiles,
                    slices):
    """of_x, of_z: strides; slices: of Slices. Sums of a split, in c, or, of all tiles at once, their part of dw."""
    planes, size, per_step, across = tiles.p * tiles.p, size_of(like_x), 4 // size_of(kind), -(-cout // slices.columns)
    fours, inner, splits = (tiles.total + 3) // 4, z + of_z.row + of_z.pixel, slices.splits
    v_plane = slices.rows * slices.block * size_of(kind) + ODD
    d_plane = slices.columns * slices.block * size_of(kind) + ODD
    d, c_panel, c_plane = scratch + planes * v_plane, slices.rows * STEP, slices.rows * slices.columns * 4
    for unit in range(first, last):
        i, o, split = unit // splits // across * slices.rows, unit // splits % across * slices.columns, unit % splits
        n_rows, n_columns = min(slices.rows, cin - i), min(slices.columns, cout - o)
        begin, end, count = fours * split // splits * 4, fours * (split + 1) // splits * 4, -(-n_columns // PANEL)
        to = c + unit * planes * c_plane if splits > 1 else d + planes * d_plane
        for t0 in range(begin, end, slices.block):
            t1 = min(t0 + slices.block, end)
            steps = (t1 - t0) // per_step
            of_input(variant, kind, like_x, x + i * size, of_x, x, tiles.step, n_rows, COLUMN, tiles, t0, t1, scratch,
                     v_plane)
            of_gradient(variant, kind, like_x, inner + o * size, of_z, z + zeros, tiles.m, n_columns, PANEL, tiles, t0,
                        t1, d, d_plane)
            for plane_panel in range(planes * count):
                p, panel = plane_panel // count, plane_panel % count
                for row in range(0, n_rows, STEP_ROWS):
                    a = scratch + p * v_plane + row // COLUMN * steps * LINE + row % COLUMN * 4
                    b, at = d + p * d_plane + panel * steps * STEP, to + p * c_plane + panel * c_panel + row * STEP
                    tile_of_steps(kind, a, LINE, steps, b, at, STEP, t0 - begin)
        for row in range(n_rows if splits == 1 else 0):
            to_dw = dw + 4 * ((i + row) * cout + o)
            transform_row(variant, tiles.p, to + row * STEP, c_plane, c_panel, n_columns, to_dw, 4 * cin * cout)


@compiled
def transform_sums(first, last, scratch, variant, side, c, dw, cin, cout, slices):
    """dw from the sums of all splits, which are added to those of the first. Unit: a row of Cin."""
    across, plane = -(-cout // slices.columns), slices.rows * slices.columns * 4
    for unit in range(first, last):
        for o in range(0, cout, slices.columns):
            number, columns = unit // slices.rows * across + o // slices.columns, min(slices.columns, cout - o)
            at = c + number * slices.splits * side * side * plane + unit % slices.rows * STEP
            for p in range(side * side):
                for e in range(0, columns, LANES):
                    to = at + p * plane + e // PANEL * slices.rows * STEP + e % PANEL * 4
                    total = load(np.float32(0), to)
                    for split in range(1, slices.splits):
                        total = total + load(np.float32(0), to + split * side * side * plane)
                    store(np.float32(0), to, total)
            to_dw = dw + 4 * (unit * cout + o)
            transform_row(variant, side, at, plane, slices.rows * STEP, columns, to_dw, 4 * cin * cout)


def weight_gradient(x, dtype, of, z, zeros, y_shape, dw):
    """dw, contiguous float32; x, z: Images, z's behind a border and with zeros at the offset `zeros`."""
    (cin, cout), kind, tiles, planes = dw.shape[2:], arithmetic(dtype), of.tiles(*y_shape[:3]), of.p**2
    rows, columns = min(SLICE_ROWS, cin), min(SLICE_COLUMNS, panels(cout) * PANEL)
    count = -(-cin // rows) * -(-cout // columns)
    splits = max(1, min(LEAST_UNITS // count, tiles.total // LEAST_TILES))
    most, of_split = TILES_BYTES // (planes * (rows + columns) * kind.itemsize), -(-tiles.total // splits)
    slices = Slices(rows, columns, splits, -(-of_split // -(-of_split // most) // 4) * 4)
    c = address(workspace("product", count * splits * planes * rows * columns * 4)) if splits > 1 else 0
    scratch = planes * ((rows + columns) * slices.block * kind.itemsize + 2 * ODD + rows * columns * 4)
    launch(multiply_slices, count * splits, scratch, of.variant, LIKE[dtype], LIKE[kind], x.start,
           x.strides(cin * dtype.itemsize), z.start, z.strides(cout * dtype.itemsize), zeros, c, address(dw), cin, cout,
           tiles, slices)
    if splits > 1:
        launch(transform_sums, cin, 0, of.variant, of.p, c, address(dw), cin, cout, slices)
