"""Convolution by Winograd's minimal filtering (Lavin and Gray 2015, arXiv:1509.09308), forward and data gradient.

    Y = A^T [sum over c of (G w G^T) * (B^T x B)] A            for each tile Y of m x m outputs                  (1)

* is elementwise, so that (1) is a matrix product [tiles, Cin] x [Cin, Cout] for each of p x p products. m = 2 has
p = 4: 16 products instead of 36; m = 4 has p = 6: 36 instead of 144. dx is (1) on dz with w turned by 180 degrees and
transposed. Stride 2 splits x into even and odd pixels: taps 0 and 2 see the odd ones, two outputs of this filter of two
taps take three products, tap 1 takes two more: p = 5, 25 instead of 36. Its dx is the same with the parts exchanged:
even pixels see tap 1, odd ones taps 2 and 0.

Transforms in bfloat16 only add and halve, so that products of m = 2 are about twice as far off as the direct method's.
Float32 takes m = 4, whose error is about 12 times float32's, far below bfloat16's rounding.
"""

from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.conv3x3.winograd_transform import transform, transform_finish
from ltbc.kernels.cpu.buffers import pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import BFLOAT16, FLOAT, LANES, LEVEL, LIKE, PANEL
from ltbc.kernels.cpu.matrix import Output, arithmetic, multiply, panels, share
from ltbc.kernels.cpu.threads import forall, threads
from ltbc.kernels.cpu.tile import COLUMN, STEP, TILE_ROWS
from ltbc.kernels.cpu.vector import (
    NONE,
    OVER,
    RELU,
    activate,
    derivative,
    floor_of,
    is_floor,
    load,
    prefetch_store,
    size_of,
    splat,
    store,
)
from ltbc.kernels.cpu.windows import advance


class Algorithm(NamedTuple):
    """m x m outputs from p x p products; the tile (i, j) of x, with its border, begins at (start + i * step,
    start + j * step).

    These numbers are what kernels read of it. An algorithm is a class of its own, for Numba a type of its own, with the
    matrices of (1) in one dimension, A as [products, outputs]: see `winograd_transform.py`. error: by how much its
    transforms multiply rounding errors.
    """

    m: int
    p: int
    step: int
    start: int = 0

    def tiles(self, images, height, width):
        """Those that cover outputs of that size."""
        down, across = -(-height // self.m), -(-width // self.m)
        return Tiles(images * down * across, down, across)


class Tiles(NamedTuple):
    """`total` in all images, `down` times `across` in each."""

    total: int
    down: int
    across: int


class TwoByTwo(Algorithm):
    """F(2x2, 3x3)."""

    error = 2.0
    g = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
    bt = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    a = np.array([[1, 0], [1, 1], [1, -1], [0, -1]])


class FourByFour(Algorithm):
    """F(4x4, 3x3)."""

    error = 12.0
    g = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
    bt = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
                   [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])
    a = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]])


class Stride2(Algorithm):
    """Three products of the odd pixels, two of the even ones."""

    error = 2.0
    g = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]])
    bt = np.array([[1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, -1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]])
    a = np.array([[1, 0], [1, 1], [0, -1], [1, 0], [0, 1]])


class Stride2Dx(Algorithm):
    """Its data gradient: three products for the odd pixels of dx, two for the even ones."""

    error = 2.0
    g = np.array([[0, 0, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    bt = np.array([[1, -1, 0], [0, 1, 0], [0, 1, -1], [1, 0, 0], [0, 1, 0]])
    a = np.array([[0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, -1], [1, 0, 0, 0], [0, 0, 1, 0]])


F2, F4 = TwoByTwo(m=2, p=4, step=2), FourByFour(m=4, p=6, step=4)
STRIDE2, STRIDE2_DX = Stride2(m=2, p=5, step=4), Stride2Dx(m=4, p=5, step=2, start=1)
ALGORITHMS = (F2, F4, STRIDE2, STRIDE2_DX)

of_input = transform(lambda algorithm: algorithm.bt)
finish_tile = transform_finish(lambda algorithm: algorithm.a.T)
finish_masked = transform_finish(lambda algorithm: algorithm.a.T, masked=True)

MOST_TILES = 112  # of a block
GAP = 192  # bytes between planes: a tile's element in each of them shall not fall into one set of the L1 cache
PLANES_BYTES = 500 << 10  # of transformed inputs: they stay in the L2 cache while the filters pass through it


def algorithm_for(dtype, stride, cin, cout, n, height, width):
    """The one for that storage and n outputs of that size, or None where the direct method is as good."""
    algorithm = STRIDE2 if stride == 2 else F2 if arithmetic(dtype) == BFLOAT16 else F4
    whole = cin % COLUMN == cout % LANES == 0 and min(cin, cout) >= 32
    return algorithm if not LEVEL.tiles and whole and pays(algorithm, n, height, width) else None


def pays(algorithm, n, height, width):
    """Whether tiles are enough to make up for larger weights, and do not reach far over the edge. Measured on Zen 4:
    stride 2 gains 1.1 to 1.4, but loses on few pixels and where 7 x 7 outputs take 8 x 8; stride 1 gains 1.3 to 2."""
    pixels = n * height * width
    if algorithm is STRIDE2:
        return pixels >= 512 and algorithm.tiles(n, height, width).total * algorithm.m**2 <= 1.2 * pixels
    return pixels >= 128


class Units(NamedTuple):
    """A unit is one of `blocks` blocks, of `block` tiles at most, and one of so many groups of panels."""

    block: int
    blocks: int
    groups: int


@inlined
def tile_of(t, tiles):
    """(image, row, column) of a tile."""
    per_image = tiles.down * tiles.across
    return t // per_image, t % per_image // tiles.across, t % tiles.across


@inlined
def transform_block(algorithm, like_x, kind, x, of_x, cin, tiles, t0, rows, to, plane):
    """Inputs of `rows` tiles from t0 on, transformed: rows of every plane's left factor."""
    start, step = algorithm.start, algorithm.step
    n, i, j = tile_of(t0, tiles)
    for t in range(rows):
        corner = pixel_at(x, of_x, n, start + i * step, start + j * step)
        n, i, j = advance(n, i, j, tiles.down, tiles.across)
        for e in range(0, cin, LANES):
            at = to + (t * cin + e) * size_of(kind)
            of_input(algorithm, like_x, kind, corner + e * size_of(like_x), of_x.row, of_x.pixel, at, plane)


@inlined
def fetch_tile(m, y, of_y):
    """Asks for the lines of a tile of outputs, which are written after the products."""
    for i in range(m):
        for j in range(m):
            prefetch_store(y + i * of_y.row + j * of_y.pixel)


@inlined
def finish_part_of_tile(like_y, square, m, y, of_y, height, width, activation):
    """The pixels at y of a tile of which `height` rows and `width` columns are inside of the image, or whose last step
    is more than a floor; square: m x m vectors without it."""
    for i in range(min(m, height)):
        for j in range(min(m, width)):
            v, to = load(FLOAT, square + 4 * LANES * (i * m + j)), y + i * of_y.row + j * of_y.pixel
            if activation > OVER:
                v = derivative(v, load(like_y, to), activation - OVER)
            store(like_y, to, activate(v, activation))


@inlined
def finish_block(algorithm, like_y, c, c_plane, bias, y, out, tiles, t0, rows, panel, square):
    """Outputs of `rows` tiles and a panel from their products; `square`: memory for a tile at the edge."""
    m, c_row, of_y, (n, i, j) = algorithm.m, algorithm.p * c_plane, out.strides, tile_of(t0, tiles)
    floor = floor_of(out.activation)
    for t in range(rows):
        to = pixel_at(y, of_y, n, i * m, j * m)
        height, width = out.height - i * m, out.width - j * m
        inside = height >= m and width >= m
        n, i, j = advance(n, i, j, tiles.down, tiles.across)
        for o in range(panel * PANEL, min((panel + 1) * PANEL, out.channels), LANES):
            at_c, at_y = c + t * STEP + 4 * (o - panel * PANEL), to + o * size_of(like_y)
            b = load(FLOAT, bias + 4 * o)
            if inside and out.activation == OVER + RELU:
                finish_masked(algorithm, like_y, at_c, c_row, c_plane, b, floor, at_y, of_y.row, of_y.pixel)
            elif inside and is_floor(out.activation):
                finish_tile(algorithm, like_y, at_c, c_row, c_plane, b, floor, at_y, of_y.row, of_y.pixel)
            else:
                line = 4 * LANES
                finish_tile(algorithm, FLOAT, at_c, c_row, c_plane, b, splat(-np.inf), square, m * line, line)
                finish_part_of_tile(like_y, square, m, at_y, of_y, height, width, out.activation)


@compiled
def multiply_tiles(first, last, scratch, algorithm, like_x, kind, like_y, x, of_x, cin, u, bias, y, out, tiles, units):
    """of_x: strides; out: an Output. Unit: of `Units`; a block is whole rows of register tiles but for the last one.

    scratch: transformed inputs, a plane after another, v_plane bytes apart, and 3 rows behind them that `multiply` may
    read; then the products, c_plane bytes apart; then a tile of outputs.
    """
    m, planes, count = algorithm.m, algorithm.p * algorithm.p, -(-out.channels // PANEL)
    v_row = cin * size_of(kind)
    v_plane, c_plane = units.block * v_row + GAP, (units.block + 3) * STEP + GAP
    c = scratch + planes * v_plane + 3 * v_row
    square, steps, whole = c + planes * c_plane, v_row // 4, -(-tiles.total // TILE_ROWS)
    ahead = planes <= 4 * m * m  # outputs are fetched where they are many
    for unit in range(first, last):
        block, group = unit // units.groups, unit % units.groups
        t0 = share(whole, block, units.blocks) * TILE_ROWS
        rows = min(share(whole, block + 1, units.blocks) * TILE_ROWS, tiles.total) - t0
        transform_block(algorithm, like_x, kind, x, of_x, cin, tiles, t0, rows, scratch, v_plane)
        for panel in range(share(count, group, units.groups), share(count, group + 1, units.groups)):
            n, i, j = tile_of(t0, tiles)
            for p in range(planes):
                for _ in range(share(rows, p, planes) * ahead, share(rows, p + 1, planes) * ahead):
                    to = pixel_at(y, out.strides, n, i * m, j * m)
                    fetch_tile(m, to + panel * PANEL * size_of(like_y), out.strides)
                    n, i, j = advance(n, i, j, tiles.down, tiles.across)
                weights = u + (panel * planes + p) * steps * STEP
                multiply(kind, scratch + p * v_plane, v_row, rows, out.channels - panel * PANEL, steps, weights,
                         c + p * c_plane, accumulate=0)
            finish_block(algorithm, like_y, c, c_plane, bias, y, out, tiles, t0, rows, panel, square)


def units_of(tiles, planes, v_row, cout):
    """Blocks of tiles whose transformed inputs, v_row bytes each in every plane, stay in the L2 cache, enough of them
    for all threads."""
    whole = -(-tiles.total // TILE_ROWS)  # rows of register tiles
    fit = max(1, PLANES_BYTES // (planes * v_row * TILE_ROWS))
    blocks = -(-whole // min(MOST_TILES // TILE_ROWS, fit))
    if blocks < 4 * threads():  # as many for each
        blocks = min(whole, -(-blocks // threads()) * threads())
    return Units(-(-whole // blocks) * TILE_ROWS, blocks, min(panels(cout), -(-threads() // blocks)))


def convolve(x, algorithm, u, bias, y, activation=NONE):
    """y = act(bias + x * w), equation (1); x: an Image, u: from `winograd_filters`."""
    n, height, width, cout = y.shape
    kind, tiles, planes = arithmetic(x.dtype), algorithm.tiles(n, height, width), algorithm.p**2
    v_row = x.channels * kind.itemsize
    units = units_of(tiles, planes, v_row, cout)
    inputs, products = units.block * v_row + GAP, (units.block + 3) * STEP + GAP  # bytes of a plane
    scratch = planes * (inputs + products) + 3 * v_row + algorithm.m**2 * 4 * LANES
    forall(multiply_tiles, units.blocks * units.groups, scratch, algorithm=algorithm, like_x=LIKE[x.dtype],
           kind=LIKE[kind], like_y=LIKE[y.dtype], x=x.start, of_x=x.strides, cin=x.channels, u=address(u),
           bias=address(bias), y=address(y), out=Output(strides(y), height, width, cout, activation=activation),
           tiles=tiles, units=units)
