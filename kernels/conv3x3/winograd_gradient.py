"""The weight gradient of Winograd's convolutions, with the matrices of `winograd.py`:

    dw = G^T [sum over tiles of (B^T x B) * (A dz A^T)] G

The sum over tiles is a matrix product [Cin, tiles] x [tiles, Cout] for each of the p x p products.
"""

import numpy as np

from kernels.conv3x3.winograd import ALGORITHMS
from kernels.simd import LANES, LIKE, PANEL, address, compiled, inlined, launch, workspace
from kernels.simd_matrix import arithmetic, panels
from kernels.simd_tile import STEP, STEP_ROWS, tile_of_steps
from kernels.simd_vector import size_of, transform, transform_steps

of_input, of_gradient = transform_steps([f.bt for f in ALGORITHMS]), transform_steps([f.a for f in ALGORITHMS])
of_sums = transform([f.g.T for f in ALGORITHMS])

BLOCK_BYTES = 16 << 20  # of the transformed tiles of a block, which live in the L3 cache,
SMALL_BYTES = 4 << 20  # or less where the sums themselves stay in the L2 cache from block to block


@inlined
def corner(t, tiles, across, per_image, step, start, image, row, pixel, beyond):
    """Address of the tile's first pixel, or `beyond` for one past the last."""
    n, at = t // per_image, t % per_image
    return start + n * image + at // across * step * row + at % across * step * pixel if t < tiles else beyond


@compiled
def transform_tiles(first, last, scratch, variant, like_x, kind, x, z, v, d, plan):
    """Both factors of a block of tiles, as steps of a reduction. Unit: two tiles."""
    m, step, down, across, cin, cout, x_image, x_row, z_image, z_row, t0, tiles, steps, zeros = plan
    size, line, per_image = size_of(like_x), 4 * LANES, down * across
    x_pixel, z_pixel, v_plane, d_plane = cin * size, cout * size, steps * 4 * cin, -(-cout // PANEL) * steps * STEP
    inner = z + z_row + z_pixel
    for unit in range(first, last):
        t, k = t0 + 2 * unit, 2 * unit * size_of(kind) // 4
        x0 = corner(t, tiles, across, per_image, step, x, x_image, x_row, x_pixel, x)
        x1 = corner(t + 1, tiles, across, per_image, step, x, x_image, x_row, x_pixel, x)
        z0 = corner(t, tiles, across, per_image, m, inner, z_image, z_row, z_pixel, z + zeros)
        z1 = corner(t + 1, tiles, across, per_image, m, inner, z_image, z_row, z_pixel, z + zeros)
        for c in range(0, cin, LANES):
            to = v + c * 4 * steps + k * line
            of_input(variant, kind, like_x, x0 + c * size, x1 + c * size, x_row, x_pixel, to, v_plane, line)
        for o in range(0, cout, LANES):
            to = d + o // PANEL * steps * STEP + k * STEP + o % PANEL * 4
            of_gradient(variant, kind, like_x, z0 + o * size, z1 + o * size, z_row, z_pixel, to, d_plane, STEP)


@compiled
def multiply_planes(first, last, scratch, kind, v, d, c, plan):
    """The sums over tiles, [planes, Cin, Cout filled up to panels]. Unit: LANES rows of a plane."""
    cin, count, steps, c_row, accumulate = plan
    line = 4 * LANES
    for unit in range(first, last):
        p, row = unit * LANES // cin, unit * LANES % cin
        a, to = v + 4 * steps * (p * cin + row), c + (p * cin + row) * c_row
        for panel in range(count):
            weights = d + (p * count + panel) * steps * STEP
            for m in range(0, LANES, STEP_ROWS):
                at = to + m * c_row + STEP * panel
                tile_of_steps(kind, a + 4 * m, line, steps, weights, at, c_row, accumulate)


@compiled
def transform_sums(first, last, scratch, variant, side, c, dw, cin, cout, c_row):
    """dw = G^T (sums) G. Unit: a row of every plane."""
    for unit in range(first, last):
        for o in range(0, cout, LANES):
            at, to, plane = c + unit * c_row + 4 * o, dw + 4 * (unit * cout + o), cin * c_row
            of_sums(variant, np.float32(0), np.float32(0), at, side * plane, plane, to, 4 * cin * cout)


def weight_gradient(x, dtype, of, z, zeros, y_shape, dw):
    """dw, contiguous float32; x, z: Images, z's behind a border and with zeros at the offset `zeros`."""
    (cin, cout), kind, (down, across) = dw.shape[2:], arithmetic(dtype), of.grid(*y_shape[1:3])
    tiles, planes, filled = y_shape[0] * down * across, of.p**2, panels(cout) * PANEL
    per_tile = planes * (cin + filled) * kind.itemsize
    limit = SMALL_BYTES if planes * cin * filled * 4 <= 1 << 20 else BLOCK_BYTES
    block = min(-(-tiles // 4), max(14, limit // per_tile // 4)) * 4
    v, d = (address(workspace(name, planes * c * block * kind.itemsize)) for name, c in (("v", cin), ("d", filled)))
    c = address(workspace("product", planes * cin * filled * 4))
    for t0 in range(0, tiles, block):
        count = -(-min(block, tiles - t0) // 4) * 4
        steps = count * kind.itemsize // 4
        plan = np.array([of.m, of.step, down, across, cin, cout, x.image, x.row, z.image, z.row, t0,
                         min(tiles, t0 + block), steps, zeros], np.int64)
        launch(transform_tiles, count // 2, 0, of.variant, LIKE[dtype], LIKE[kind], x.start, z.start, v, d, plan)
        plan = np.array([cin, filled // PANEL, steps, 4 * filled, t0], np.int64)
        launch(multiply_planes, planes * cin // LANES, 0, LIKE[kind], v, d, c, plan)
    launch(transform_sums, cin, 0, of.variant, of.p, c, address(dw), cin, cout, 4 * filled)
