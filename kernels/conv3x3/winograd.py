"""Convolution with stride 1 by Winograd's minimal filtering (Lavin and Gray 2015, arXiv:1509.09308).

    Y = A^T [sum over c of (G w G^T) * (B^T x B)] A     for each tile of m x m outputs, from (m+2) x (m+2) inputs   (1)
    dw = G^T [sum over tiles of (B^T x B) * (A dz A^T)] G                                                          (2)

* is elementwise, so that (1) is (m+2)^2 matrix products of [tiles, Cin] with [Cin, Cout]: m = 2 needs 16/36 of the
plain method's, m = 4 36/144. dx is (1) on dz with w turned by 180 degrees and transposed. Products in bfloat16
take m = 2, whose transforms only add and halve: their error is about twice the direct method's. Those in float32 take
m = 4, whose error is about 12 times float32's, far below bfloat16's rounding.
"""

import numpy as np

from kernels.simd import (
    BFLOAT16,
    FLOAT32,
    LANES,
    LEVEL,
    LIKE,
    PANEL,
    address,
    compiled,
    inlined,
    launch,
    threads,
    workspace,
)
from kernels.simd_matrix import arithmetic, multiply, packed, panels
from kernels.simd_tile import STEP, STEP_ROWS, tile_of_steps
from kernels.simd_vector import activate, load, size_of, splat, store, transform, transform_finish, transform_steps
from kernels.simd_windows import advance, row_bytes

G2 = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
B2 = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
A2 = np.array([[1, 0], [1, 1], [1, -1], [0, -1]])
G4 = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
B4 = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
               [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])
A4 = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]])

of_filter, of_input, finish_tile = transform((G2, G4)), transform((B2, B4)), transform_finish((A2.T, A4.T))
of_input_steps, of_gradient_steps, of_filter_gradient = (
    transform_steps((B2, B4)), transform_steps((A2, A4)), transform((G2.T, G4.T)))

BLOCK = {BFLOAT16: 56, FLOAT32: 28}  # tiles whose transforms stay in the L2 cache, whole register tiles
REDUCTION_BYTES = 16 << 20  # of transformed tiles in a block of the weight gradient


def tile(kind):
    """Side m of an output tile."""
    return 2 if kind == BFLOAT16 else 4


def pays(x_shape, cout, dtype):
    """Where whole vectors of channels and enough tiles make up for the transforms; on AMX the direct method wins."""
    n, h, width, cin = x_shape
    tiles = n * -(-h // 2) * -(-width // 2)
    return LEVEL != "amx" and cin % LANES == cout % LANES == 0 and min(cin, cout) >= 32 and tiles >= 32


@inlined
def side(kind):
    return 2 if size_of(kind) == 2 else 4


@compiled
def transform_filters(first, last, scratch, like_w, kind, w, tap, step, elements, u):
    """U = G w G^T, plane after plane. Unit: LANES weights of each tap; `tap`: the first, `step`: +1, or -1 turns."""
    plane, size = elements * size_of(kind), size_of(like_w)
    for unit in range(first, last):
        at = w + size * (tap * elements + unit * LANES)
        pixel = step * elements * size
        of_filter(kind, like_w, kind, at, 3 * pixel, pixel, u + unit * LANES * size_of(kind), plane)


def filters(w, old, turned):
    """Panels of U for the forward pass, or of the turned and transposed one for dx."""
    cin, cout = w.shape[2:]
    kind, planes = arithmetic(w.dtype), (tile(arithmetic(w.dtype)) + 2) ** 2
    u = workspace("filters", planes * cin * cout * kind.itemsize).view(kind).reshape(planes, cin, cout)
    launch(transform_filters, cin * cout // LANES, 0, LIKE[w.dtype], LIKE[kind], address(w), 8 if turned else 0,
           -1 if turned else 1, cin * cout, address(u))
    return packed(u, [[p] for p in range(planes)], old, transposed=turned)


@compiled
def multiply_tiles(first, last, scratch, like_x, kind, like_y, x, u, bias, y, plan):
    """Unit: a block of tiles and a group of panels."""
    (height, width, cin, cout, x_image, x_row, block, tiles, groups, y_image, y_row, y_pixel, activation) = plan
    m = side(kind)
    planes, across = (m + 2) ** 2, -(-width // m)
    per_image, count = -(-height // m) * across, -(-cout // PANEL)
    steps, v_row = cin * size_of(kind) // 4, row_bytes(cin * size_of(kind))
    v_plane, c_plane = block * v_row, (block + 3) * 4 * PANEL + 128
    c, pixel = scratch + planes * v_plane + 3 * v_row, cin * size_of(like_x)
    square, line, floor = c + planes * c_plane, 4 * LANES, splat(0.0 if activation == 1 else -np.inf)
    for unit in range(first, last):
        t0, group = unit // groups * block, unit % groups
        rows = min(block, tiles - t0)
        first_n, at = t0 // per_image, t0 % per_image
        first_i, first_j = at // across * m, at % across * m
        n, i, j = first_n, first_i, first_j
        for t in range(rows):
            corner = x + n * x_image + i * x_row + j * pixel
            n, i, j = advance(n, i, j, m, height, width)
            for e in range(0, cin, LANES):
                to = scratch + t * v_row + e * size_of(kind)
                of_input(kind, like_x, kind, corner + e * size_of(like_x), x_row, pixel, to, v_plane)
        for panel in range(group * count // groups, (group + 1) * count // groups):
            for p in range(planes):
                weights = u + (p * count + panel) * steps * STEP
                multiply(kind, scratch + p * v_plane, v_row, rows, steps, weights, c + p * c_plane, 0)
            n, i, j = first_n, first_i, first_j
            for t in range(rows):
                whole = i + m <= height and j + m <= width and activation != 2
                to = y + n * y_image + i * y_row + j * y_pixel
                for o in range(panel * PANEL, min((panel + 1) * PANEL, cout), LANES):
                    from_c, b = c + t * 4 * PANEL + 4 * (o - panel * PANEL), load(np.float32(0), bias + 4 * o)
                    at_y = to + o * size_of(like_y)
                    if whole:
                        finish_tile(kind, like_y, from_c, (m + 2) * c_plane, c_plane, b, floor, at_y, y_row, y_pixel)
                        continue
                    finish_tile(kind, np.float32(0), from_c, (m + 2) * c_plane, c_plane, b, splat(-np.inf), square,
                                m * line, line)
                    for di in range(min(m, height - i)):
                        for dj in range(min(m, width - j)):
                            z = load(np.float32(0), square + line * (di * m + dj))
                            store(like_y, at_y + di * y_row + dj * y_pixel, activate(z, activation))
                n, i, j = advance(n, i, j, m, height, width)


def convolve(x, dtype, shape, u, bias, y, activation=0):
    """y `[N, H, W, Cout]` = act(bias + x * w), equation (1); x an Image of that shape, u from `filters`."""
    (n, h, width, cin), cout, kind = shape, y.shape[3], arithmetic(dtype)
    m = tile(kind)
    tiles, planes = n * -(-h // m) * -(-width // m), (m + 2) ** 2
    blocks = -(-tiles // BLOCK[kind])
    if blocks < 4 * threads():
        blocks = -(-blocks // threads()) * threads()
    block = -(-tiles // blocks)
    blocks = -(-tiles // block)
    groups = min(panels(cout), -(-threads() // blocks))
    plan = np.array([h, width, cin, cout, x.image, x.row, block, tiles, groups, *y.strides[:3], activation], np.int64)
    v_row = row_bytes.py_func(cin * kind.itemsize)
    scratch = planes * (block * v_row + (block + 3) * 4 * PANEL + 128) + 3 * v_row + m * m * 4 * LANES
    launch(multiply_tiles, blocks * groups, scratch, LIKE[dtype], LIKE[kind], LIKE[y.dtype], x.start, address(u),
           address(bias), address(y), plan)


@inlined
def corner(t, tiles, across, per_image, m, start, image, row, pixel, beyond):
    """Address of the tile's first pixel, or `beyond` for one past the last."""
    n, at = t // per_image, t % per_image
    return start + n * image + at // across * m * row + at % across * m * pixel if t < tiles else beyond


@compiled
def transform_tiles(first, last, scratch, like_x, kind, x, z, v, d, plan):
    """Both factors of equation (2) for a block of tiles, as steps of a reduction. Unit: two tiles."""
    height, width, cin, cout, x_image, x_row, z_image, z_row, t0, tiles, steps, zeros = plan
    m, size, line = side(kind), size_of(like_x), 4 * LANES
    across, x_pixel, z_pixel = -(-width // m), cin * size, cout * size
    per_image, v_plane, d_plane = -(-height // m) * across, steps * 4 * cin, -(-cout // PANEL) * steps * STEP
    inner = z + z_row + z_pixel
    for unit in range(first, last):
        t, k = t0 + 2 * unit, 2 * unit * size_of(kind) // 4
        x0 = corner(t, tiles, across, per_image, m, x, x_image, x_row, x_pixel, x)
        x1 = corner(t + 1, tiles, across, per_image, m, x, x_image, x_row, x_pixel, x)
        z0 = corner(t, tiles, across, per_image, m, inner, z_image, z_row, z_pixel, z + zeros)
        z1 = corner(t + 1, tiles, across, per_image, m, inner, z_image, z_row, z_pixel, z + zeros)
        for c in range(0, cin, LANES):
            to = v + c * 4 * steps + k * line
            of_input_steps(kind, like_x, x0 + c * size, x1 + c * size, x_row, x_pixel, to, v_plane, line)
        for o in range(0, cout, LANES):
            to = d + o // PANEL * steps * STEP + k * STEP + o % PANEL * 4
            of_gradient_steps(kind, like_x, z0 + o * size, z1 + o * size, z_row, z_pixel, to, d_plane, STEP)


@compiled
def multiply_planes(first, last, scratch, kind, v, d, c, plan):
    """The sums of equation (2), [planes, Cin, Cout filled up to panels]. Unit: LANES rows of a plane."""
    cin, count, steps, c_row, accumulate = plan
    line = 4 * LANES
    for unit in range(first, last):
        p, row = unit * LANES // cin, unit * LANES % cin
        a, to = v + 4 * steps * (p * cin + row), c + (p * cin + row) * c_row
        for panel in range(count):
            weights = d + (p * count + panel) * steps * STEP
            for m in range(0, LANES, STEP_ROWS):
                at = to + m * c_row + 4 * PANEL * panel
                tile_of_steps(kind, a + 4 * m, line, steps, weights, at, c_row, accumulate)


@compiled
def transform_sums(first, last, scratch, kind, c, dw, cin, cout, c_row):
    """dw = G^T (sums) G. Unit: a row of every plane."""
    m = side(kind)
    for unit in range(first, last):
        for o in range(0, cout, LANES):
            at, to = c + unit * c_row + 4 * o, dw + 4 * (unit * cout + o)
            plane = cin * c_row
            of_filter_gradient(kind, np.float32(0), np.float32(0), at, (m + 2) * plane, plane, to, 4 * cin * cout)


def weight_gradient(x, dtype, shape, z, zeros, dw):
    """dw, equation (2), contiguous float32; x, z: Images, x of that shape, `zeros`: offset of zeros behind z."""
    (n, h, width, cin), cout, kind = shape, dw.shape[3], arithmetic(dtype)
    m = tile(kind)
    tiles, planes, filled = n * -(-h // m) * -(-width // m), (m + 2) ** 2, panels(cout) * PANEL
    per_tile = planes * (cin + filled) * kind.itemsize
    block = min(-(-tiles // 4), max(14, REDUCTION_BYTES // per_tile // 4)) * 4
    v, d = (address(workspace(name, planes * c * block * kind.itemsize)) for name, c in (("v", cin), ("d", filled)))
    c = address(workspace("product", planes * cin * filled * 4))
    for t0 in range(0, tiles, block):
        count = -(-min(block, tiles - t0) // 4) * 4
        steps = count * kind.itemsize // 4
        plan = np.array([h, width, cin, cout, x.image, x.row, z.image, z.row, t0, min(tiles, t0 + block), steps, zeros],
                        np.int64)
        launch(transform_tiles, count // 2, 0, LIKE[dtype], LIKE[kind], x.start, z.start, v, d, plan)
        plan = np.array([cin, filled // PANEL, steps, 4 * filled, t0], np.int64)
        launch(multiply_planes, planes * cin // LANES, 0, LIKE[kind], v, d, c, plan)
    launch(transform_sums, cin, 0, LIKE[kind], c, address(dw), cin, cout, 4 * filled)
