"""The weight gradient of Winograd's convolutions, with the matrices of `winograd.py`:

    dw = G^T [sum over tiles of (B^T x B) * (A dz A^T)] G

The sum over tiles is a matrix product [Cin, tiles] x [tiles, Cout] for each of the p x p products. It is formed slice
by slice of both channels and block by block of tiles: a thread transforms its slices of a block and multiplies them
while they are in its L2 cache, where the sums stay as well. Few slices are done in splits of the tiles, added at the
end; how many depends on the shapes alone.
"""

from typing import NamedTuple

from ltbc.kernels.arrays import address
from ltbc.kernels.conv3x3.winograd import tile_of
from ltbc.kernels.conv3x3.winograd_transform import transform, transform_steps
from ltbc.kernels.cpu.buffers import own_memory, pixel_at
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import FLOAT, LANES, LIKE, PANEL
from ltbc.kernels.cpu.matrix import arithmetic, panels, share
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.tile import COLUMN, STEP, STEP_ROWS, tile_of_steps
from ltbc.kernels.cpu.vector import load, size_of, store
from ltbc.kernels.cpu.windows import advance

of_sums = transform(lambda algorithm: algorithm.g.T)

SLICE_ROWS, SLICE_COLUMNS = 64, 4 * PANEL  # of a slice, at most: of Cin, and of Cout
TILES_BYTES = 640 << 10  # of a block's transformed tiles
LEAST_UNITS = 8  # at least, where tiles suffice
LEAST_TILES = 256  # of a split, at least
LINE = 4 * COLUMN  # bytes of a step of the left factor
ODD = 64  # bytes that make a plane an odd number of cache lines long: planes do not compete for one set


class Slices(NamedTuple):
    """A unit is a slice of `rows` of Cin, one of `columns` of Cout, one of `splits` of the tiles, done in blocks of
    `block` tiles. across: slices of Cout."""

    rows: int
    columns: int
    across: int
    splits: int
    block: int


@inlined
def slice_of(unit, slices):
    """(its first row of Cin, its first column of Cout, its split of the tiles)."""
    number, split = unit // slices.splits, unit % slices.splits
    return number // slices.across * slices.rows, number % slices.across * slices.columns, split


@inlined
def element_at(base, e, width, column):
    """Where element e lies: columns of `width` elements of 4 bytes, `column` bytes apart."""
    return base + e // width * column + e % width * 4


@inlined
def corner(t, tiles, step, n, i, j, x, of_x, beyond):
    """Address of the first pixel of tile t, at (n, i, j), or `beyond` for one past the last."""
    return pixel_at(x, of_x, n, i * step, j * step) if t < tiles.total else beyond


def transform_tiles(matrix_of):
    """The function that transforms `channels` of the tiles t0 to t1 into steps of a reduction, in columns of `width`
    elements. x: the first channel of the first tile's first pixel; beyond: what is read past the last tile; step:
    pixels from tile to tile."""
    of_pair = transform_steps(matrix_of)

    @inlined
    def apply(algorithm, kind, like, x, of_x, beyond, step, channels, width, tiles, t0, t1, to, plane):
        size, per_step = size_of(like), 4 // size_of(kind)
        line, steps = 4 * width, (t1 - t0) // per_step
        for e in range(0, channels, LANES):
            n, i, j = tile_of(t0, tiles)
            to_e = element_at(to, e, width, line * steps)
            for t in range(t0, t1, 2):
                x0 = corner(t, tiles, step, n, i, j, x + e * size, of_x, beyond)
                n, i, j = advance(n, i, j, tiles.down, tiles.across)
                x1 = corner(t + 1, tiles, step, n, i, j, x + e * size, of_x, beyond)
                n, i, j = advance(n, i, j, tiles.down, tiles.across)
                of_pair(algorithm, kind, like, x0, x1, of_x.row, of_x.pixel, to_e, plane, line)
                to_e += 2 // per_step * line

    return apply


of_input = transform_tiles(lambda algorithm: algorithm.bt)
of_gradient = transform_tiles(lambda algorithm: algorithm.a)


@inlined
def transform_row(algorithm, c, plane, c_panel, n, dw, tap):
    """n elements of each tap of dw, `tap` bytes apart, from their sums: panels c_panel bytes apart."""
    for e in range(0, n, LANES):
        at = element_at(c, e, PANEL, c_panel)
        of_sums(algorithm, FLOAT, FLOAT, at, algorithm.p * plane, plane, dw + 4 * e, tap)


@inlined
def multiply_block(kind, planes, rows, columns, steps, v, v_plane, d, d_plane, c, c_plane, c_panel, accumulate):
    """Adds the products of a block of transformed tiles, v of x and d of dz, to all planes of c; overwrites it where
    `accumulate` is 0."""
    count = -(-columns // PANEL)
    for plane_panel in range(planes * count):
        p, panel = plane_panel // count, plane_panel % count
        b, to = d + p * d_plane + panel * steps * STEP, c + p * c_plane + panel * c_panel
        for row in range(0, rows, STEP_ROWS):
            a = element_at(v + p * v_plane, row, COLUMN, LINE * steps)
            tile_of_steps(kind, a, LINE, steps, b, to + row * STEP, STEP, accumulate)


@compiled
def multiply_slices(first, last, scratch, algorithm, like_x, kind, x, of_x, dz, of_dz, zeros, c, dw, cin, cout, tiles,
                    slices):
    """of_x, of_dz: strides; zeros: an address behind dz's last pixel. Unit: of `Slices`: its sums, in c, or, where it
    has all tiles, its part of dw.

    scratch: transformed tiles of x, a plane after another, then those of dz, then, if not in c, the sums.
    """
    planes, size, per_step, splits = algorithm.p * algorithm.p, size_of(like_x), 4 // size_of(kind), slices.splits
    v_plane = slices.rows * slices.block * size_of(kind) + ODD
    d_plane = slices.columns * slices.block * size_of(kind) + ODD
    c_panel, c_plane = slices.rows * STEP, slices.rows * slices.columns * 4
    v, d = scratch, scratch + planes * v_plane
    fours, pixels = (tiles.total + 3) // 4, dz + of_dz.row + of_dz.pixel  # of dz, behind the border
    for unit in range(first, last):
        i, o, split = slice_of(unit, slices)
        rows, columns = min(slices.rows, cin - i), min(slices.columns, cout - o)
        begin, end = share(fours, split, splits) * 4, share(fours, split + 1, splits) * 4
        sums = c + unit * planes * c_plane if splits > 1 else d + planes * d_plane
        for t0 in range(begin, end, slices.block):
            t1 = min(t0 + slices.block, end)
            of_input(algorithm, kind, like_x, x + i * size, of_x, beyond=x, step=algorithm.step, channels=rows,
                     width=COLUMN, tiles=tiles, t0=t0, t1=t1, to=v, plane=v_plane)
            of_gradient(algorithm, kind, like_x, pixels + o * size, of_dz, beyond=zeros, step=algorithm.m,
                        channels=columns, width=PANEL, tiles=tiles, t0=t0, t1=t1, to=d, plane=d_plane)
            multiply_block(kind, planes, rows, columns, (t1 - t0) // per_step, v, v_plane, d, d_plane, c=sums,
                           c_plane=c_plane, c_panel=c_panel, accumulate=t0 - begin)
        for row in range(rows if splits == 1 else 0):
            to_dw = dw + 4 * ((i + row) * cout + o)
            transform_row(algorithm, sums + row * STEP, c_plane, c_panel, columns, to_dw, 4 * cin * cout)


@compiled
def transform_sums(first, last, scratch, algorithm, c, dw, cin, cout, slices):
    """dw from the sums of all splits, which are added to those of the first. Unit: a row of Cin."""
    planes, c_panel, c_plane = algorithm.p * algorithm.p, slices.rows * STEP, slices.rows * slices.columns * 4
    for unit in range(first, last):
        for o in range(0, cout, slices.columns):
            number, columns = unit // slices.rows * slices.across + o // slices.columns, min(slices.columns, cout - o)
            at = c + number * slices.splits * planes * c_plane + unit % slices.rows * STEP
            for p in range(planes):
                for e in range(0, columns, LANES):
                    to = element_at(at + p * c_plane, e, PANEL, c_panel)
                    total = load(FLOAT, to)
                    for split in range(1, slices.splits):
                        total = total + load(FLOAT, to + split * planes * c_plane)
                    store(FLOAT, to, total)
            to_dw = dw + 4 * (unit * cout + o)
            transform_row(algorithm, at, c_plane, c_panel, columns, to_dw, 4 * cin * cout)


def slices_of(tiles, planes, cin, cout, itemsize):
    """Enough units for some threads, and blocks as equal as can be whose tiles take TILES_BYTES at most."""
    rows, columns = min(SLICE_ROWS, cin), min(SLICE_COLUMNS, panels(cout) * PANEL)
    down, across = -(-cin // rows), -(-cout // columns)
    splits = max(1, min(LEAST_UNITS // (down * across), tiles.total // LEAST_TILES))
    of_split = -(-tiles.total // splits)
    fit = TILES_BYTES // (planes * (rows + columns) * itemsize)
    blocks = -(-of_split // fit)
    block = -(-of_split // blocks // 4) * 4
    return down * across * splits, Slices(rows, columns, across, splits, block)


def filter_gradient(x, dz, algorithm, y_shape, dw):
    """dw, contiguous float32; x, dz: Images, rows of zeros behind dz's last one."""
    (cin, cout), kind, planes = dw.shape[2:], arithmetic(x.dtype), algorithm.p**2
    tiles = algorithm.tiles(*y_shape[:3])
    units, slices = slices_of(tiles, planes, cin, cout, kind.itemsize)
    sums = planes * slices.rows * slices.columns * 4  # bytes of a unit's
    c = address(own_memory("product", units * sums)) if slices.splits > 1 else 0
    scratch = planes * ((slices.rows + slices.columns) * slices.block * kind.itemsize + 2 * ODD) + sums
    zeros = dz.start + y_shape[0] * dz.strides.image  # where the images end
    forall(multiply_slices, units, scratch, algorithm=algorithm, like_x=LIKE[x.dtype], kind=LIKE[kind], x=x.start,
           of_x=x.strides, dz=dz.start, of_dz=dz.strides, zeros=zeros, c=c, dw=address(dw), cin=cin, cout=cout,
           tiles=tiles, slices=slices)
    if slices.splits > 1:
        forall(transform_sums, cin, 0, algorithm=algorithm, c=c, dw=address(dw), cin=cin, cout=cout, slices=slices)
