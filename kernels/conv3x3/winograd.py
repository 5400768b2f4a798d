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

from ltbc.kernels.conv3x3.winograd_transform import transform, transform_finish
from ltbc.kernels.cpu.buffers import address, pixel_at, strides
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import BFLOAT16, LANES, LEVEL, LIKE, PANEL
from ltbc.kernels.cpu.matrix import Output, arithmetic, multiply, panels
from ltbc.kernels.cpu.threads import launch, threads
from ltbc.kernels.cpu.tile import COLUMN, STEP, TILE_ROWS
from ltbc.kernels.cpu.vector import OVER, activate, derivative, load, prefetch_store, size_of, splat, store
from ltbc.kernels.cpu.windows import advance


class Tiles(NamedTuple):
    """Where an algorithm's tiles lie: `total` in all images, `down` times `across` in each; the rest as `Algorithm`."""

    total: int
    down: int
    across: int
    step: int
    start: int
    m: int
    p: int


class Algorithm(NamedTuple):
    """The matrices of (1) in one dimension, A as [products, outputs]; where in x, with its border, the tiles lie."""

    variant: np.generic  # its type names the algorithm in kernels: `winograd_transform.VARIANTS`
    g: np.ndarray
    bt: np.ndarray
    a: np.ndarray
    step: int  # pixels of x from tile to tile
    start: int = 0
    error: float = 2.0  # by how much the transforms multiply rounding errors

    @property
    def m(self):
        return self.a.shape[1]

    @property
    def p(self):
        return self.a.shape[0]

    def tiles(self, images, height, width):
        """Those that cover outputs of that size."""
        down, across = -(-height // self.m), -(-width // self.m)
        return Tiles(images * down * across, down, across, self.step, self.start, self.m, self.p)


F2 = Algorithm(
    np.int8(0), np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    np.array([[1, 0], [1, 1], [1, -1], [0, -1]]), step=2)
F4 = Algorithm(
    np.int16(0), np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
    np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
              [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]),
    np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]]),
    step=4, error=12.0)
STRIDE2 = Algorithm(
    np.int32(0), np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]]),
    np.array([[1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, -1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]),
    np.array([[1, 0], [1, 1], [0, -1], [1, 0], [0, 1]]), step=4)
STRIDE2_DX = Algorithm(
    np.uint8(0), np.array([[0, 0, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]]),
    np.array([[1, -1, 0], [0, 1, 0], [0, 1, -1], [1, 0, 0], [0, 1, 0]]),
    np.array([[0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, -1], [1, 0, 0, 0], [0, 0, 1, 0]]), step=2, start=1)
ALGORITHMS = (F2, F4, STRIDE2, STRIDE2_DX)  # in the order of VARIANTS

of_input = transform([f.bt for f in ALGORITHMS])
finish_tile = transform_finish([f.a.T for f in ALGORITHMS])
finish_masked = transform_finish([f.a.T for f in ALGORITHMS], masked=True)

GAP = 192  # bytes between planes: a tile's element in each of them shall not fall into one set of the L1 cache
PLANES_BYTES = 500 << 10  # of transformed inputs: they stay in the L2 cache while the filters pass through it


def algorithm(dtype, stride, cin, cout, n, height, width):
    """The one for that storage and n outputs of that size, or None where the direct method is as good."""
    of = STRIDE2 if stride == 2 else F2 if arithmetic(dtype) == BFLOAT16 else F4
    whole = cin % COLUMN == cout % LANES == 0 and min(cin, cout) >= 32
    return of if not LEVEL.tiles and whole and pays(of, n, height, width) else None


def pays(of, n, height, width):
    """Whether tiles are enough to make up for larger weights, and do not reach far over the edge. Measured on Zen 4:
    stride 2 gains 1.1 to 1.4, but loses on few pixels and where 7 x 7 outputs take 8 x 8; stride 1 gains 1.3 to 2."""
    pixels = n * height * width
    if of is STRIDE2:
        return pixels >= 512 and of.tiles(n, height, width).total * of.m**2 <= 1.2 * pixels
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
def transform_block(variant, like_x, kind, x, of_x, cin, tiles, t0, rows, to, plane):
    """Inputs of `rows` tiles from t0 on, transformed: rows of every plane's left factor."""
    n, i, j = tile_of(t0, tiles)
    for t in range(rows):
        corner = pixel_at(x, of_x, n, i * tiles.step + tiles.start, j * tiles.step + tiles.start)
        n, i, j = advance(n, i, j, 1, tiles.down, tiles.across)
        for e in range(0, cin, LANES):
            at = to + (t * cin + e) * size_of(kind)
            of_input(variant, like_x, kind, corner + e * size_of(like_x), of_x.row, of_x.pixel, at, plane)


@inlined
def fetch_tile(m, y, of_y):
    """Asks for the lines of a tile of outputs, which are written after the products."""
    for i in range(m):
        for j in range(m):
            prefetch_store(y + i * of_y.row + j * of_y.pixel)


@inlined
def finish_block(variant, like_y, c, c_plane, bias, y, out, tiles, t0, rows, panel, square):
    """Outputs of `rows` tiles and a panel from their products; `square`: memory for a tile at the edge."""
    (n, i, j), of_y, line = tile_of(t0, tiles), out.strides, 4 * LANES
    floor = splat(0.0 if out.activation == 1 else -np.inf)
    for t in range(rows):
        to = pixel_at(y, of_y, n, i * tiles.m, j * tiles.m)
        low, left = out.height - i * tiles.m, out.width - j * tiles.m
        inside = low >= tiles.m and left >= tiles.m
        n, i, j = advance(n, i, j, 1, tiles.down, tiles.across)
        for o in range(panel * PANEL, min((panel + 1) * PANEL, out.channels), LANES):
            at_c, at_y = c + t * STEP + 4 * (o - panel * PANEL), to + o * size_of(like_y)
            b, c_row = load(np.float32(0), bias + 4 * o), tiles.p * c_plane
            if inside and out.activation == OVER + 1:
                finish_masked(variant, like_y, at_c, c_row, c_plane, b, floor, at_y, of_y.row, of_y.pixel)
                continue
            if inside and out.activation < 2:
                finish_tile(variant, like_y, at_c, c_row, c_plane, b, floor, at_y, of_y.row, of_y.pixel)
                continue
            finish_tile(variant, np.float32(0), at_c, c_row, c_plane, b, splat(-np.inf), square, tiles.m * line, line)
            for di in range(min(tiles.m, low)):
                for dj in range(min(tiles.m, left)):
                    z = load(np.float32(0), square + line * (di * tiles.m + dj))
                    to_y = at_y + di * of_y.row + dj * of_y.pixel
                    if out.activation > OVER:
                        z = derivative(z, load(like_y, to_y), out.activation - OVER)
                    store(like_y, to_y, activate(z, out.activation))


@compiled
def multiply_tiles(first, last, scratch, variant, like_x, kind, like_y, x, of_x, cin, u, bias, y, out, tiles, units):
    """of_x: strides; out: an Output. A block is whole rows of register tiles but for the last one."""
    planes, count, whole = tiles.p * tiles.p, -(-out.channels // PANEL), -(-tiles.total // TILE_ROWS)
    steps, v_row = cin * size_of(kind) // 4, cin * size_of(kind)
    v_plane, c_plane = units.block * v_row + GAP, (units.block + 3) * STEP + GAP
    c = scratch + planes * v_plane + 3 * v_row
    ahead = planes <= 4 * tiles.m * tiles.m  # outputs are fetched where they are many
    for unit in range(first, last):
        number, group = unit // units.groups, unit % units.groups
        t0, t1 = whole * number // units.blocks * TILE_ROWS, whole * (number + 1) // units.blocks * TILE_ROWS
        rows = min(t1, tiles.total) - t0
        transform_block(variant, like_x, kind, x, of_x, cin, tiles, t0, rows, scratch, v_plane)
        for panel in range(group * count // units.groups, (group + 1) * count // units.groups):
            n, i, j = tile_of(t0, tiles)
            for p in range(planes):
                for _ in range(rows * p // planes * ahead, rows * (p + 1) // planes * ahead):
                    to = pixel_at(y, out.strides, n, i * tiles.m, j * tiles.m)
                    fetch_tile(tiles.m, to + panel * PANEL * size_of(like_y), out.strides)
                    n, i, j = advance(n, i, j, 1, tiles.down, tiles.across)
                weights = u + (panel * planes + p) * steps * STEP
                multiply(kind, scratch + p * v_plane, v_row, rows, out.channels - panel * PANEL, steps, weights,
                         c + p * c_plane, 0)
            finish_block(variant, like_y, c, c_plane, bias, y, out, tiles, t0, rows, panel, c + planes * c_plane)


def convolve(x, dtype, cin, of, u, bias, y, activation=0):
    """y = act(bias + x * w), equation (1) of that algorithm; x an Image of cin channels, u from `winograd_filters`."""
    n, height, width, cout = y.shape
    kind, tiles, planes = arithmetic(dtype), of.tiles(n, height, width), of.p**2
    v_row, whole = cin * kind.itemsize, -(-tiles.total // TILE_ROWS)
    blocks = -(-whole // min(112 // TILE_ROWS, max(1, PLANES_BYTES // (planes * v_row * TILE_ROWS))))
    if blocks < 4 * threads():
        blocks = min(whole, -(-blocks // threads()) * threads())
    units = Units(-(-whole // blocks) * TILE_ROWS, blocks, min(panels(cout), -(-threads() // blocks)))
    scratch = planes * (units.block * v_row + (units.block + 3) * STEP + 2 * GAP) + 3 * v_row + of.m**2 * 4 * LANES
    launch(multiply_tiles, blocks * units.groups, scratch, of.variant, LIKE[dtype], LIKE[kind], LIKE[y.dtype], x.start,
           x.strides(cin * dtype.itemsize), cin, address(u), address(bias), address(y),
           Output(strides(y), height, width, cout, 0, activation), tiles, units)
