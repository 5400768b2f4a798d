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

from kernels.simd import (
    BFLOAT16,
    LANES,
    LEVEL,
    LIKE,
    PANEL,
    address,
    launch,
    threads,
)
from kernels.simd_compiler import compiled, inlined
from kernels.simd_matrix import arithmetic, multiply, panels
from kernels.simd_tile import ROWS, STEP
from kernels.simd_transform import transform, transform_finish
from kernels.simd_vector import (
    OVER,
    activate,
    derivative,
    load,
    prefetch_store,
    size_of,
    splat,
    store,
)
from kernels.simd_windows import advance


class Algorithm(NamedTuple):
    """The matrices of (1) in one dimension, A as [products, outputs]; where in x, with its border, the tiles lie."""

    variant: np.generic  # its type names the algorithm in kernels: `simd_transform.VARIANTS`
    g: np.ndarray
    bt: np.ndarray
    a: np.ndarray
    step: int  # pixels of x from tile to tile
    start: int = 0

    @property
    def m(self):
        return self.a.shape[1]

    @property
    def p(self):
        return self.a.shape[0]

    def grid(self, height, width):
        """Tiles that cover an output of that size."""
        return -(-height // self.m), -(-width // self.m)


F2 = Algorithm(
    np.int8(0), np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
    np.array([[1, 0], [1, 1], [1, -1], [0, -1]]), step=2)
F4 = Algorithm(
    np.int16(0), np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
    np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
              [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]),
    np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]]), step=4)
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
    whole = cin % LANES == cout % LANES == 0 and min(cin, cout) >= 32
    return of if LEVEL != "amx" and whole and pays(of, n, height, width) else None


def pays(of, n, height, width):
    """Whether tiles are enough to make up for larger weights, and do not reach far over the edge. Measured on Zen 4:
    stride 2 gains 1.1 to 1.4, but loses on few pixels and where 7 x 7 outputs take 8 x 8; stride 1 gains 1.3 to 2."""
    pixels, (down, across) = n * height * width, of.grid(height, width)
    if of is STRIDE2:
        return pixels >= 512 and n * down * across * of.m**2 <= 1.2 * pixels
    return pixels >= 128


@inlined
def fetch_tile(m, y, y_row, y_pixel):
    """Asks for the lines of a tile of outputs, which are written after the products."""
    for i in range(m):
        for j in range(m):
            prefetch_store(y + i * y_row + j * y_pixel)


@compiled
def multiply_tiles(first, last, scratch, variant, like_x, kind, like_y, x, u, bias, y, plan):
    """Unit: a block of tiles, whole rows of register tiles but for the last one, and a group of panels."""
    (side, m, step, start, down, across, height, width, cin, cout, x_image, x_row, block, blocks, tiles, groups,
     y_image, y_row, y_pixel, activation) = plan
    planes, per_image, count, pixel = side * side, down * across, -(-cout // PANEL), cin * size_of(like_x)
    steps, v_row = cin * size_of(kind) // 4, cin * size_of(kind)
    v_plane, c_plane = block * v_row + GAP, (block + 3) * STEP + GAP
    c = scratch + planes * v_plane + 3 * v_row
    square, line, floor = c + planes * c_plane, 4 * LANES, splat(0.0 if activation == 1 else -np.inf)
    ahead = planes <= 4 * m * m  # outputs are fetched where they are many
    for unit in range(first, last):
        number, group, whole = unit // groups, unit % groups, -(-tiles // ROWS)
        t0, t1 = whole * number // blocks * ROWS, whole * (number + 1) // blocks * ROWS
        rows, first_n, at = min(t1, tiles) - t0, t0 // per_image, t0 % per_image
        n, i, j = first_n, at // across, at % across
        for t in range(rows):
            corner = x + n * x_image + (i * step + start) * x_row + (j * step + start) * pixel
            n, i, j = advance(n, i, j, 1, down, across)
            for e in range(0, cin, LANES):
                to = scratch + t * v_row + e * size_of(kind)
                of_input(variant, like_x, kind, corner + e * size_of(like_x), x_row, pixel, to, v_plane)
        for panel in range(group * count // groups, (group + 1) * count // groups):
            n, i, j = first_n, at // across, at % across
            for p in range(planes):
                for _ in range(rows * p // planes * ahead, rows * (p + 1) // planes * ahead):
                    to = y + n * y_image + i * m * y_row + j * m * y_pixel
                    fetch_tile(m, to + panel * PANEL * size_of(like_y), y_row, y_pixel)
                    n, i, j = advance(n, i, j, 1, down, across)
                weights = u + (panel * planes + p) * steps * STEP
                multiply(kind, scratch + p * v_plane, v_row, rows, cout - panel * PANEL, steps, weights,
                         c + p * c_plane, 0)
            n, i, j = first_n, at // across, at % across
            for t in range(rows):
                to, left, low = y + n * y_image + i * m * y_row + j * m * y_pixel, width - j * m, height - i * m
                n, i, j = advance(n, i, j, 1, down, across)
                for o in range(panel * PANEL, min((panel + 1) * PANEL, cout), LANES):
                    from_c, b = c + t * STEP + 4 * (o - panel * PANEL), load(np.float32(0), bias + 4 * o)
                    at_y = to + o * size_of(like_y)
                    if left >= m and low >= m and activation == OVER + 1:
                        finish_masked(variant, like_y, from_c, side * c_plane, c_plane, b, floor, at_y, y_row, y_pixel)
                        continue
                    if left >= m and low >= m and activation < 2:
                        finish_tile(variant, like_y, from_c, side * c_plane, c_plane, b, floor, at_y, y_row, y_pixel)
                        continue
                    finish_tile(variant, np.float32(0), from_c, side * c_plane, c_plane, b, splat(-np.inf), square,
                                m * line, line)
                    for di in range(min(m, low)):
                        for dj in range(min(m, left)):
                            z = load(np.float32(0), square + line * (di * m + dj))
                            to_y = at_y + di * y_row + dj * y_pixel
                            if activation > OVER:
                                z = derivative(z, load(like_y, to_y), activation - OVER)
                            store(like_y, to_y, activate(z, activation))


def convolve(x, dtype, cin, of, u, bias, y, activation=0):
    """y = act(bias + x * w), equation (1) of that algorithm; x an Image of cin channels, u from `winograd_filters`."""
    (n, height, width, cout), kind, (down, across) = y.shape, arithmetic(dtype), of.grid(*y.shape[1:3])
    tiles, planes, v_row = n * down * across, of.p**2, cin * kind.itemsize
    whole = -(-tiles // ROWS)
    blocks = -(-whole // min(112 // ROWS, max(1, PLANES_BYTES // (planes * v_row * ROWS))))
    if blocks < 4 * threads():
        blocks = min(whole, -(-blocks // threads()) * threads())
    block = -(-whole // blocks) * ROWS
    groups = min(panels(cout), -(-threads() // blocks))
    plan = np.array([of.p, of.m, of.step, of.start, down, across, height, width, cin, cout, x.image, x.row, block,
                     blocks, tiles, groups, *y.strides[:3], activation], np.int64)
    scratch = planes * (block * v_row + (block + 3) * STEP + 2 * GAP) + 3 * v_row + of.m**2 * 4 * LANES
    launch(multiply_tiles, blocks * groups, scratch, of.variant, LIKE[dtype], LIKE[kind], LIKE[y.dtype], x.start,
           address(u), address(bias), address(y), plan)
