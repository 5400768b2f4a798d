"""Planted errors of cpu kernels, each caught by one small test; at the level of `ENVIRONMENT`, so on every CPU alike.

What is compiled of an edited file is compiled anew each time, hence few sizes a test and little optimization.
"""
# ruff: noqa: E501

from ltbc.kernels.cpu.machine import available
from tests.tools.mutations import Mutation

ENVIRONMENT = {"LTBC_CPU": next(level.name for level in available() if level.name in ("avx2", "generic")), "NUMBA_OPT": "0"}

L, S = "tests/kernels/test_cpu_layers.py::", "tests/kernels/test_cpu_sizes.py::"
V, P = "tests/kernels/test_cpu_values.py::", "tests/kernels/test_cpu_pointwise.py::"
CONV, UP, FUSION = (f"{L}test_large[{case}-float32]" for case in
                    ("conv3x3-sizes0", "upsample2x_conv3x3-sizes7", "fusion-sizes10"))
FEW_INPUTS, FEW_OUTPUTS, LONG_FEW = (f"{L}test_large[conv3x3-sizes{i}-float32]" for i in (1, 2, 5))
FEW_ROWS = f"{L}test_large[linear-sizes9-float32]"
WINOGRAD, PARTS = f"{L}test_winograd_in_blocks[1-float32]", f"{S}test_more_than_a_slice_of_winograds_sums[sizes1-1-float32]"
MANY_ROWS, LONG_ROWS = (f"{S}test_more_than_a_block[linear-sizes{i}-options{i}-float32]" for i in (0, 1))
MANY_WINDOWS = f"{S}test_more_than_a_block[conv3x3-sizes4-options4-float32]"
EVERY_ROW, WIDTHS = f"{S}test_every_number_of_rows[float32]", f"{S}test_every_width[float32]"
OVER_RELU = f"{L}test_gradients_through_the_activation_before[conv3x3-sizes0-options0-relu-float32]"
CONVERSIONS, SIGMOID = f"{V}test_conversions[float32-bfloat16-21]", f"{V}test_ends_of_activations[sigmoid-3-float32]"


def of(file: str, *rows: tuple[str, str, str, str]) -> list[Mutation]:
    """Rows (name, old, new, test) for one file."""
    return [Mutation(name, f"kernels/{file}.py", old, new, test) for name, old, new, test in rows]


MUTATIONS = [
    *of(
        "linear/cpu",
        ("weights of dx as they are", '"backward", lambda w, old: packed(w[None], [[0]], old, transposed=True)',
         '"backward", lambda w, old: packed(w[None], [[0]], old)', MANY_ROWS),
        ("windows of linear behind a border", "x.dtype, border=False)", "x.dtype)", MANY_ROWS),
    ),
    *of(
        "cpu/rows",
        ("the last part of a reduction only", "rows, cout - p * PANEL, steps, scratch, c, accumulate=r)",
         "rows, cout - p * PANEL, steps, scratch, c, accumulate=0)", f"{L}test_large[linear-sizes8-float32]"),
        ("the first panel's bias", "bias + 4 * p * PANEL", "bias", FEW_ROWS),
        ("rows filled up with what follows", "channels - e)", "filled - e)", FEW_ROWS),
    ),
    *of(
        "cpu/matrix",
        ("blocks of a reduction overwrite each other", "0, accumulate + start", "0, accumulate", LONG_ROWS),
        ("rows left over", "while m < rows:", "while m + 3 < rows:", EVERY_ROW),
        ("the last of odd channels", "    if v < n:\n", "    if v < n - 1:\n",
         f"{S}test_more_than_a_block[conv3x3-sizes6-options6-float32]"),
    ),
    *of(
        "cpu/packing",
        ("a row behind the weights", "n * (r + 1 < rows))", "n)", MANY_ROWS),
        ("groups of taps in one place", "len(table) * taps * per_tap", "len(table) * per_tap", CONV),
    ),
    *of(
        "cpu/windows",
        ("windows filled up with what follows", "* size_of(like_x), row.channels - c)", "* size_of(like_x), row.slot - c)",
         f"{V}test_nan_stays_within_its_windows[5-7-float32]"),
        ("rows of phases beyond an odd side", "if y_i < out.height and y_j", "if y_j", CONV),
        ("the second segment only", "weights, c, accumulate=1)", "weights, c, accumulate=0)", CONV),
        ("an image too long", "if i >= height:", "if i > height:", CONV),
        ("each image with the first one's bias", "bias.strides[0] if bias.ndim == 2 else 0", "0", FUSION),
        ("columns of later rows", "(run.row, run.column, ", "(run.row, 0, ", WIDTHS),
    ),
    *of(
        "cpu/in_place",
        ("a pixel too many of an odd width", "-(-(out.width - q) // scale)", "-(-out.width // scale)", WIDTHS),
        ("a row too many of an odd height", "if i * scale + p < out.height:", "if True:", WIDTHS),
        ("rows behind the last block", "range(first_row, min(first_row + units.block, rows))", "range(first_row, first_row + units.block)", WIDTHS),
        ("parts of a window overwrite each other", "weights, c, accumulate=number)", "weights, c, accumulate=0)", WIDTHS),
    ),
    *of(
        "cpu/gradient",
        ("the last block of windows only", "narrow_tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, block.t0)", "narrow_tile_of_steps(like_a, a, LINE, steps, weights, to, c_row, 0)", MANY_WINDOWS),
        ("half a panel", "if outputs - panel * PANEL > LANES:", "if outputs - panel * PANEL > PANEL:", UP),
        ("every phase's gradient is the first one's", "at = dz + phases[phase]", "at = dz", UP),
    ),
    *of(
        "cpu/elementwise",
        ("no border below", "clear(dz + (size.height + 1) * of_dz.row, of_dz.image - (size.height + 1) * of_dz.row)", "pass", CONV),
        ("no zeros behind the last image", "clear(dz + size.images * of_dz.image, SPARE_ROWS * of_dz.row)", "pass", PARTS),
        ("the last lanes of few channels", "range(0, LANES, channels)", "range(0, LANES - channels, channels)",
         FEW_OUTPUTS),
        ("sums from the border on", "pixel_at(dz, of_dz, n, i + 1, 1) + c",
         "pixel_at(dz, of_dz, n, i, 1) + c",
         f"{L}test_dz_in_a_border_is_read_where_it_lies[conv3x3-sizes2-options2-float32]"),
    ),
    *of(
        "cpu/vector",
        ("halves up", "constant(0x7FFF, INTS)", "constant(0x8000, INTS)", CONVERSIONS),
        ("NaN of a low payload is infinite", "builder.or_(bits, constant(0x400000, INTS))", "bits", CONVERSIONS),
        ("an exponential beyond float32", "splat(-88.0)", "splat(-200.0)", SIGMOID),
        ("sigmoid of NaN is a number", "larger(splat(-87.0), x)", "larger(x, splat(-87.0))", SIGMOID),
        ("a lane too many", '"<", ir.Constant(INTS, list(range(LANES))), n)',
         '"<=", ir.Constant(INTS, list(range(LANES))), n)', CONVERSIONS),
        ("relu's derivative at 0 is 1, written over", '">", old, constant(0.0)', '">=", old, constant(0.0)', OVER_RELU),
        ("relu's derivative at 0 is 1", '">", c, constant(0.0)', '">=", c, constant(0.0)', CONV),
    ),
    *of(
        "conv3x3/winograd",
        ("a sign of F(2x2)", "[0, -1, 1, 0], [0, 1, 0, -1]])", "[0, 1, 1, 0], [0, 1, 0, -1]])",
         f"{V}test_winograds_algorithms_are_identities"),
        ("a factor of F(4x4)", "[1, 2, 4, 8]", "[1, 2, 4, 6]", f"{V}test_winograds_algorithms_are_identities"),
        ("a tap of dx of stride 2", "[[0, 0, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]]",
         "[[1, 0, 0], [1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]]",
         f"{V}test_winograds_data_gradient_of_stride_2_is_an_identity"),
        ("tiles into the border", "inside = height >= m and width >= m", "inside = width >= m", WINOGRAD),
        ("tiles into the border on the right", "inside = height >= m and width >= m", "inside = height >= m", WINOGRAD),
    ),
    *of("conv3x3/winograd_filters", ("taps of dx not turned", "(8, -1) if turned else (0, 1)", "(0, 1)", WINOGRAD)),
    *of(
        "conv3x3/winograd_gradient",
        ("a part of the tiles left out", "range(1, slices.splits)", "range(1, slices.splits - 1)", PARTS),
        ("a tile behind the last", "if t < tiles.total else beyond", "if t <= tiles.total else beyond", PARTS),
        ("the last block of tiles only", "accumulate=t0 - begin)", "accumulate=0)", PARTS),
    ),
    *of(
        "conv3x3/cpu_few",
        ("taps of few outputs turned", "c[:, ::-1].transpose(1, 2, 0)", "c.transpose(1, 2, 0)", FEW_OUTPUTS),
        ("parts of vectors where they cannot be masked", "(LEVEL.masked or inputs % LANES == 0)", "True",
         f"{V}test_nan_stays_within_its_windows[20-2-float32]"),
    ),
    *of(
        "conv3x3/few_outputs",
        ("pixels behind a row", "pixels * few - e, out.activation)", "LANES, out.activation)", FEW_OUTPUTS),
        ("the last channels only", "dots_2(like_x, x_v, of_x.row, of_x.pixel, x_step, left, w_v, w_row, c, accumulate=v,",
         "dots_2(like_x, x_v, of_x.row, of_x.pixel, x_step, left, w_v, w_row, c, accumulate=0,", FEW_OUTPUTS),
    ),
    *of(
        "conv3x3/few_inputs",
        ("a window too short", "((pixels - 1) * stride + 3) * few", "((pixels - 1) * stride + 2) * few", FEW_INPUTS),
        ("later segments without stride", "i * stride + r, j * stride)", "i * stride + r, j)", LONG_FEW),
    ),
    *of(
        "conv3x3/few",
        ("rows left out", "height * (band + 1) // bands", "height // bands * (band + 1)", FEW_INPUTS),
        ("the next pixel whatever the stride", "thin_step=step * of_thin.pixel", "thin_step=of_thin.pixel", FEW_INPUTS),
    ),
    *of(
        "upsample2x_conv3x3/cpu",
        ("taps of dx in another order", "(1, 1), (0, 1), (1, 0), (0, 0)", "(1, 1), (1, 0), (0, 1), (0, 0)", UP),
        ("what lay in dx's buffer", 'if through != "none" and dx is not x:', "if False:",
         f"{L}test_gradients_through_the_activation_before[upsample2x_conv3x3-sizes6-options6-relu-float32]"),
    ),
    *of("fusion/cpu", ("the other half's weights", '"dmid", lambda w, old: packed(w[None, cg:]',
                       '"dmid", lambda w, old: packed(w[None, :cm]', FUSION)),
    *of("upsample2x/cpu", ("whole vectors at the end", "store_part(like_y, place, v, left)", "store(like_y, place, v)",
                           f"{L}test_large[upsample2x-sizes11-float32]")),
    *of(
        "adadelta/cpu",
        ("units done twice", "min(last * UNIT, size)", "size", f"{P}test_adadelta_of_several_units[7-3]"),
    ),
    *of("chroma_loss/cpu", ("a target behind the last", "e * size_of(like_target), left)", "e * size_of(like_target), LANES)",
                            f"{P}test_chroma_loss")),
    *of(
        "class_loss/cpu",
        ("the true class in float32", "- (k == labels[n]))", ")\n            dz[n, labels[n]] -= factor",
         f"{P}test_class_loss[softmax]"),
        ("the true class as any", "-1.0 if k == labels[n] else 1.0", "1.0", f"{P}test_class_loss[sigmoid]"),
    ),
    *of("color/cpu", ("mirrored one pixel off", "2 * width - 1 - j if flip", "2 * width - j if flip", f"{P}test_color")),
    *of("cpu/elementwise", ("whole vectors of a sum", "left, to_c = channels - c,", "left, to_c = LANES,",
                      f"{P}test_gradients_of_a_fork_add_up_like_numpy")),
]
