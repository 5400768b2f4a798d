"""The weight gradient of Winograd's convolutions, with the matrices of `winograd.py`:

    dw = G^T [sum over tiles of (B^T x B) * (A dz A^T)] G

The sum over tiles is a matrix product [Cin, tiles] x [tiles, Cout] for each of the p x p products. It is formed slice
by slice of both channels and block by block of tiles: a thread transforms its slices of a block and multiplies them
while they are in its L2 cache, where the sums stay as well. Few slices are done in parts of the tiles, added at the
end; how many depends on the shapes alone.
"""

import numpy as np

from kernels.conv3x3.winograd import ALGORITHMS
from kernels.simd import LANES, LIKE, PANEL, address, launch, workspace
from kernels.simd_compiler import compiled, inlined
from kernels.simd_matrix import arithmetic, panels
from kernels.simd_tile import STEP, STEP_ROWS, tile_of_steps
from kernels.simd_transform import transform, transform_steps
from kernels.simd_vector import load, size_of, store
from kernels.simd_windows import advance

of_sums = transform([f.g.T for f in ALGORITHMS])

ROWS, COLUMNS = 64, 4 * PANEL  # of a slice, at most: of Cin, and of Cout
TILES_BYTES = 640 << 10  # of a block's transformed tiles
UNITS = 8  # at least, where tiles suffice
TILES = 256  # of a part, at least
LINE = 4 * LANES  # bytes of a vector


@inlined
def corner(t, tiles, n, i, j, start, image, row, pixel, beyond):
    """Address of the first pixel of tile t, at (n, i, j), or `beyond` for one past the last."""
    return start + n * image + i * row + j * pixel if t < tiles else beyond


def transform_tiles(matrices):
    """The function that transforms `channels` of the tiles t0 to t1 into steps of a reduction, in columns of `width`
    elements. x: the first channel of the first tile's first pixel; beyond: what is read past the last tile."""
    of_pair = transform_steps(matrices)

    @inlined
    def apply(variant, kind, like, x, beyond, step, image, row, pixel, channels, width, grid, t0, t1, to, plane):
        down, across, tiles = grid
        size, per_step, first_n, at = size_of(like), 4 // size_of(kind), t0 // (down * across), t0 % (down * across)
        for e in range(0, channels, LANES):
            start, n, i, j = x + e * size, first_n, at // across, at % across
            to_e = to + e // width * 4 * width * ((t1 - t0) // per_step) + e % width * 4
            for t in range(t0, t1, 2):
                x0 = corner(t, tiles, n, i, j, start, image, step * row, step * pixel, beyond)
                n, i, j = advance(n, i, j, 1, down, across)
                x1 = corner(t + 1, tiles, n, i, j, start, image, step * row, step * pixel, beyond)
                n, i, j = advance(n, i, j, 1, down, across)
                of_pair(variant, kind, like, x0, x1, row, pixel, to_e, plane, 4 * width)
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
def multiply_slices(first, last, scratch, variant, like_x, kind, x, z, c, dw, plan):
    """Unit: a slice of Cin, one of Cout and a part of the tiles: their sums, or of all tiles their part of dw."""
    (m, step, side, down, across, tiles, cin, cout, x_image, x_row, z_image, z_row, zeros, rows, columns, parts,
     block) = plan
    planes, size, per_step, grid = side * side, size_of(like_x), 4 // size_of(kind), (down, across, tiles)
    x_pixel, z_pixel, fours, slices = cin * size, cout * size, (tiles + 3) // 4, -(-cout // columns)
    inner = z + z_row + z_pixel
    v_plane = (rows // LANES * block // per_step + 1) * LINE  # odd numbers of lines: planes do not compete for one set
    d_plane = (columns // PANEL * block // per_step * 2 + 1) * LINE
    d, c_panel, c_plane = scratch + planes * v_plane, rows * STEP, rows * columns * 4
    for unit in range(first, last):
        i, o, part = unit // parts // slices * rows, unit // parts % slices * columns, unit % parts
        n_rows, n_columns, from_x, from_z = min(rows, cin - i), min(columns, cout - o), x + i * size, inner + o * size
        begin, end, count = fours * part // parts * 4, fours * (part + 1) // parts * 4, -(-n_columns // PANEL)
        to = c + unit * planes * c_plane if parts > 1 else d + planes * d_plane
        for t0 in range(begin, end, block):
            t1 = min(t0 + block, end)
            steps = (t1 - t0) // per_step
            of_input(variant, kind, like_x, from_x, x, step, x_image, x_row, x_pixel, n_rows, LANES, grid, t0, t1,
                     scratch, v_plane)
            of_gradient(variant, kind, like_x, from_z, z + zeros, m, z_image, z_row, z_pixel, n_columns, PANEL, grid,
                        t0, t1, d, d_plane)
            for plane_panel in range(planes * count):
                p, panel = plane_panel // count, plane_panel % count
                for row in range(0, n_rows, STEP_ROWS):
                    a = scratch + p * v_plane + row // LANES * steps * LINE + row % LANES * 4
                    b, at = d + p * d_plane + panel * steps * STEP, to + p * c_plane + panel * c_panel + row * STEP
                    tile_of_steps(kind, a, LINE, steps, b, at, STEP, t0 - begin)
        for row in range(n_rows if parts == 1 else 0):
            to_dw = dw + 4 * ((i + row) * cout + o)
            transform_row(variant, side, to + row * STEP, c_plane, c_panel, n_columns, to_dw, 4 * cin * cout)


@compiled
def transform_sums(first, last, scratch, variant, side, c, dw, plan):
    """dw from the sums of all parts, which are added to those of the first. Unit: a row of Cin."""
    cin, cout, rows, columns, parts = plan
    slices, plane = -(-cout // columns), rows * columns * 4
    for unit in range(first, last):
        for o in range(0, cout, columns):
            at = c + (unit // rows * slices + o // columns) * parts * side * side * plane + unit % rows * STEP
            for p in range(side * side):
                for e in range(0, min(columns, cout - o), LANES):
                    to = at + p * plane + e // PANEL * rows * STEP + e % PANEL * 4
                    total = load(np.float32(0), to)
                    for part in range(1, parts):
                        total = total + load(np.float32(0), to + part * side * side * plane)
                    store(np.float32(0), to, total)
            to_dw = dw + 4 * (unit * cout + o)
            transform_row(variant, side, at, plane, rows * STEP, min(columns, cout - o), to_dw, 4 * cin * cout)


def weight_gradient(x, dtype, of, z, zeros, y_shape, dw):
    """dw, contiguous float32; x, z: Images, z's behind a border and with zeros at the offset `zeros`."""
    (cin, cout), kind, (down, across) = dw.shape[2:], arithmetic(dtype), of.grid(*y_shape[1:3])
    tiles, planes = y_shape[0] * down * across, of.p**2
    rows, columns = min(ROWS, cin), min(COLUMNS, panels(cout) * PANEL)
    slices = -(-cin // rows) * -(-cout // columns)
    parts = max(1, min(UNITS // slices, tiles // TILES))
    most, count = TILES_BYTES // (planes * (rows + columns) * kind.itemsize), -(-tiles // parts)
    block = -(-count // -(-count // most) // 4) * 4
    c = address(workspace("product", slices * parts * planes * rows * columns * 4)) if parts > 1 else 0
    plan = np.array([of.m, of.step, of.p, down, across, tiles, cin, cout, x.image, x.row, z.image, z.row, zeros,
                     rows, columns, parts, block], np.int64)
    scratch = planes * ((rows + columns) * block * kind.itemsize + 2 * LINE + rows * columns * 4)
    launch(multiply_slices, slices * parts, scratch, of.variant, LIKE[dtype], LIKE[kind], x.start, z.start, c,
           address(dw), plan)
    if parts > 1:
        plan = np.array([cin, cout, rows, columns, parts], np.int64)
        launch(transform_sums, cin, 0, of.variant, of.p, c, address(dw), plan)
