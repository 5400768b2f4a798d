"""Products over windows of an image that are read where they lie: a run of a window is a row of a matrix, and the runs
of neighboring anchors lie one stride apart, as the rows of a matrix do.

`windows.multiply_over_windows` takes this way where rows of anchors fill register tiles, else it gathers windows first.
"""

from ltbc.kernels.cpu.buffers import pixel_at
from ltbc.kernels.cpu.compiler import compiled, inlined
from ltbc.kernels.cpu.machine import LEVEL, PANEL
from ltbc.kernels.cpu.matrix import finish_row, multiply, rows_computed, share
from ltbc.kernels.cpu.tile import STEP, TILE_ROWS
from ltbc.kernels.cpu.vector import size_of

PIXELS = 112  # anchors of a block: its pixels stay in the L1 and L2 caches for all panels
WASTE = 1.15  # rows of register tiles an anchor, at most


def fills_tiles(width):
    """Whether `multiply` computes few rows more than the `width` of a row of anchors."""
    return not LEVEL.tiles and width >= TILE_ROWS and rows_computed(width) <= WASTE * width


def block_rows(rows, width, least):
    """Rows of anchors a unit: as many as PIXELS allow, but no fewer than `least` units."""
    return max(1, min(PIXELS // width, rows // least))


@inlined
def finish_pixels(like, c, bias, y, y_step, count, n, activation):
    """`count` pixels of a row of y from their sums."""
    for t in range(count):
        finish_row(like, c + t * STEP, bias, y + t * y_step, n, activation)


@compiled
def multiply_in_place(first, last, scratch, like, like_y, x, of_x, b, bias, y, out, grid, units, phases, runs):
    """of_x: strides; out: an Output; phases, runs: a `phase_table` and a `run_table`. Unit: of `Units`, of rows of
    anchors."""
    rows, count, scale = grid.images * grid.height, -(-out.channels // PANEL), grid.scale
    c, a_row = scratch, grid.stride * of_x.pixel
    for unit in range(first, last):
        block, group = unit // units.groups, unit % units.groups
        first_row = block * units.block
        for panel in range(share(count, group, units.groups), share(count, group + 1, units.groups)):
            o = panel * PANEL
            left = out.channels - o
            for phase in range(phases.shape[0]):
                p, q, where, panel_size = phases[phase, 0], phases[phase, 1], phases[phase, 2], phases[phase, 3]
                for r in range(first_row, min(first_row + units.block, rows)):
                    n, i = r // grid.height, r % grid.height
                    weights = b + where + panel * panel_size
                    corner = pixel_at(x, of_x, n, i * grid.stride + grid.start, grid.start)
                    for number in range(runs.shape[1]):
                        row, column, steps = runs[phase, number, 0], runs[phase, number, 1], runs[phase, number, 2]
                        if steps:
                            at = corner + row * of_x.row + column * of_x.pixel
                            multiply(like, at, a_row, grid.width, left, steps, weights, c, accumulate=number)
                            weights += steps * STEP
                    if i * scale + p < out.height:
                        to = pixel_at(y, out.strides, n, i * scale + p, q) + o * size_of(like_y)
                        finish_pixels(like_y, c, bias + n * out.bias_image + 4 * o, to, scale * out.strides.pixel,
                                      -(-(out.width - q) // scale), min(PANEL, left), out.activation)
