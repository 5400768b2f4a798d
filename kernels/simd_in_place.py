"""Products over windows of an image that are read where they lie: a row of a window is a run of neighboring elements,
and the runs of neighboring pixels lie one stride apart, as the rows of a matrix do.

`simd_windows.convolve` takes this way where rows of anchors fill register tiles, else it gathers windows first.
"""

from kernels.simd import LEVEL, PANEL
from kernels.simd_compiler import compiled, inlined
from kernels.simd_matrix import finish_row, multiply
from kernels.simd_tile import ROWS, STEP
from kernels.simd_vector import size_of

PIXELS = 112  # anchors of a block: its pixels stay in the L1 and L2 caches for all panels
WASTE = 1.15  # rows of register tiles an anchor, at most


def fills_tiles(width):
    """Whether `multiply` computes few rows more than the `width` of a row of anchors."""
    left = width % ROWS
    tail = ROWS if left > ROWS - 4 else 8 * (left > 4) + -(-max(0, left - 8 * (left > 4)) // 4) * 4
    return LEVEL != "amx" and width >= ROWS and width - left + tail <= WASTE * width


def block_rows(rows, width, least):
    """Rows of anchors a unit: as many as PIXELS allow, but no fewer than `least` units."""
    return max(1, min(PIXELS // width, rows // least))


@inlined
def finish_pixels(like, c, bias, y, y_step, count, n, activation):
    """`count` pixels of a row of y from their sums."""
    for t in range(count):
        finish_row(like, c + t * STEP, bias, y + t * y_step, n, activation)


@compiled
def multiply_in_place(first, last, scratch, like, like_y, x, b, bias, y, plan, phases, pieces):
    """Unit: a block of rows of anchors and a group of panels."""
    (images, height, width, size, stride, start, scale, pixel, x_image, x_row, block, outputs, groups, y_image, y_row,
     y_pixel, y_height, y_width, bias_image, activation) = plan
    rows, count = images * height, -(-outputs // PANEL)
    for unit in range(first, last):
        r0, group = unit // groups * block, unit % groups
        for panel in range(group * count // groups, (group + 1) * count // groups):
            o = panel * PANEL
            for phase in range(phases.shape[0]):
                p, q, where, panel_size = phases[phase, 0], phases[phase, 1], phases[phase, 2], phases[phase, 3]
                for r in range(r0, min(r0 + block, rows)):
                    n, i = r // height, r % height
                    weights = b + where + panel * panel_size
                    corner = x + n * x_image + (i * stride + start) * x_row + start * pixel
                    for s in range(pieces.shape[1]):
                        row, column, steps = pieces[phase, s, 0], pieces[phase, s, 1], pieces[phase, s, 2]
                        if steps:
                            at = corner + row * x_row + column * pixel
                            multiply(like, at, stride * pixel, width, outputs - o, steps, weights, scratch, s)
                            weights += steps * STEP
                    if i * scale + p < y_height:
                        to = y + n * y_image + (i * scale + p) * y_row + q * y_pixel + o * size_of(like_y)
                        finish_pixels(like_y, scratch, bias + n * bias_image + 4 * o, to, scale * y_pixel,
                                      (y_width - q + scale - 1) // scale, min(PANEL, outputs - o), activation)
