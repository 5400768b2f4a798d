"""Products over windows of an image that are read where they lie: a row of a window is a run of neighboring elements,
and the runs of neighboring pixels lie one stride apart, as the rows of a matrix do.

`windows.multiply_over_windows` takes this way where rows of anchors fill register tiles, else it gathers windows first.
"""

from ltbc.kernels.cpu.buffers import pixel_at
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import LEVEL, PANEL
from ltbc.kernels.cpu.matrix import finish_row, multiply
from ltbc.kernels.cpu.tile import STEP, TILE_ROWS
from ltbc.kernels.cpu.vector import size_of

PIXELS = 112  # anchors of a block: its pixels stay in the L1 and L2 caches for all panels
WASTE = 1.15  # rows of register tiles an anchor, at most


def fills_tiles(width):
    """Whether `multiply` computes few rows more than the `width` of a row of anchors."""
    left = width % TILE_ROWS
    tail = TILE_ROWS if left > TILE_ROWS - 4 else 8 * (left > 4) + -(-max(0, left - 8 * (left > 4)) // 4) * 4
    return not LEVEL.tiles and width >= TILE_ROWS and width - left + tail <= WASTE * width


def block_rows(rows, width, least):
    """Rows of anchors a unit: as many as PIXELS allow, but no fewer than `least` units."""
    return max(1, min(PIXELS // width, rows // least))


@inlined
def finish_pixels(like, c, bias, y, y_step, count, n, activation):
    """`count` pixels of a row of y from their sums."""
    for t in range(count):
        finish_row(like, c + t * STEP, bias, y + t * y_step, n, activation)


@compiled
def multiply_in_place(first, last, scratch, like, like_y, x, of_x, b, bias, y, out, grid, units, phases, pieces):
    """of_x: strides; out: an Output; units: of rows of anchors."""
    rows, count, scale = grid.images * grid.height, -(-out.channels // PANEL), grid.scale
    for unit in range(first, last):
        r0, group = unit // units.groups * units.block, unit % units.groups
        for panel in range(group * count // units.groups, (group + 1) * count // units.groups):
            o = panel * PANEL
            left = out.channels - o
            for phase in range(phases.shape[0]):
                p, q, where, panel_size = phases[phase, 0], phases[phase, 1], phases[phase, 2], phases[phase, 3]
                for r in range(r0, min(r0 + units.block, rows)):
                    n, i = r // grid.height, r % grid.height
                    weights = b + where + panel * panel_size
                    corner = pixel_at(x, of_x, n, i * grid.stride + grid.start, grid.start)
                    for s in range(pieces.shape[1]):
                        row, column, steps = pieces[phase, s, 0], pieces[phase, s, 1], pieces[phase, s, 2]
                        if steps:
                            at, a_row = corner + row * of_x.row + column * of_x.pixel, grid.stride * of_x.pixel
                            multiply(like, at, a_row, grid.width, left, steps, weights, scratch, s)
                            weights += steps * STEP
                    if i * scale + p < out.height:
                        to = pixel_at(y, out.strides, n, i * scale + p, q) + o * size_of(like_y)
                        finish_pixels(like_y, scratch, bias + n * out.bias_image + 4 * o, to,
                                      scale * out.strides.pixel, (out.width - q + scale - 1) // scale,
                                      min(PANEL, left), out.activation)
