"""Planted errors of the programs: what colorize, train and nn do with files, seeds, figures and sizes in turn."""

from tests.tools.mutations import Mutation


def of(file: str, test: str, *rows: tuple[str, ...]) -> list[Mutation]:
    """Rows (name, old, new[, another test]) for one file."""
    return [Mutation(name, file, old, new, *(other or [test])) for name, old, new, *other in rows]


METADATA, TIFF = "tests/colorize/test_metadata.py::", "tests/colorize/test_tiff.py::"
MUTATIONS = [
    *of(
        "colorize/deep.py", TIFF + "test_strips_make_up_the_picture",
        ("rows a strip as if there were one", "278: numbers(LONG, order, rows)", "278: numbers(LONG, order, height)"),
        ("the first strip only", "range(0, height, rows)]", "range(0, rows, rows)]"),
        ("16-bit white of fewer bits", "(1 << bits) - 1", "65535", TIFF + "test_white_is_the_largest_code_of_the_bits"),
        ("premultiplied colors as they are", "alpha is not None and extras[0] == PREMULTIPLIED", "False",
         TIFF + "test_each_kind_of_alpha"),
        ("any extra sample is alpha", "extras and extras[0] in (PREMULTIPLIED, ALPHA)", "extras",
         TIFF + "test_each_kind_of_alpha"),
        ("what is written is called premultiplied", "SHORT, order, ALPHA)", "SHORT, order, PREMULTIPLIED)",
         TIFF + "test_each_kind_of_alpha"),
    ),
    *of(
        "colorize/tags.py", "tests/colorize/test_tags.py::test_what_is_read_and_written_is_what_was_there",
        ("four bytes taken for a place", "if size > 4:", "if size >= 4:"),
        ("four bytes written elsewhere", "if len(data) <= 4:", "if len(data) < 4:"),
        ("values at odd places", "data + bytes(len(data) % 2)", "data"),
        ("entries out of order", "in sorted(directory.items())", "in reversed(directory.items())"),
        ("signed rationals cut short", "9: 4, 10: 8", "9: 4, 10: 4"),
    ),
    *of(
        "colorize/metadata.py", METADATA + "test_resolution_is_kept_across_and_down",
        ("x and y resolution swapped in TIFF", "zip((X_RESOLUTION, Y_RESOLUTION)", "zip((Y_RESOLUTION, X_RESOLUTION)"),
        ("x and y resolution swapped", "return (x, y) if", "return (y, x) if"),
        ("resolution in whole dots", "round(value * 1000), 1000)", "round(value), 1)"),
        ("EXIF of older PNG files dropped", 'if "exif" in info or not isinstance(raw, str):', "if True:",
         METADATA + "test_exif_of_older_png_files_is_kept"),
        ("color space left as it was", "(COLOR_SPACE, SHORT, 1)", "(COLOR_SPACE, SHORT, 0xFFFF)",
         METADATA + "test_size_and_color_space_stated_in_exif_are_the_new_ones"),
        ("profile of floats in color ignored", "metadata.profile, metadata.xmp = value(exif, PROFILE_TIFF_TAG)",
         "metadata.profile, metadata.xmp = None",
         METADATA + "test_a_tiff_that_pillow_does_not_know_keeps_profile_and_xmp"),
    ),
    *of(
        "colorize/luminance.py", TIFF + "test_ink_goes_through_its_profile",
        ("ink in parts for percent", "pixels = pixels * 100", "pixels = pixels * 1"),
        ("profiles of ink ignored", 'b"CMYK": ("cmyk", 4)', 'b"CMYX": ("cmyk", 4)'),
    ),
    *of(
        "colorize/join.py", "tests/colorize/test_upsampling.py::test_the_colorizer_upsamples_by_the_guide",
        ("bilinear always", "(bilinear if chroma.guide is None else guided)", "bilinear"),
    ),
    *of(
        "colorize/experiments/upsampling.py", "tests/colorize/test_upsampling.py::test_figures_of_upsampling_are_those_of_the_definition",
        ("mean squares printed as roots", "np.sqrt(np.mean([e[name, block] for e in errors], 0))",
         "np.mean([e[name, block] for e in errors], 0)"),
        ("mean of roots for the root of the mean", "np.sqrt(np.mean([e[name, block] for e in errors], 0))",
         "np.mean(np.sqrt([e[name, block] for e in errors]), 0)"),
        ("the two figures swapped", "{c[0]:.3f} ({c[1]:.3f})", "{c[1]:.3f} ({c[0]:.3f})"),
        ("the steepest half for the steepest tenth", "np.quantile(steepness, 0.9)", "np.quantile(steepness, 0.5)"),
        ("L* and a* for a* and b*", "rgb_to_lab(pixels / 255)[..., 1:]", "rgb_to_lab(pixels / 255)[..., :2]"),
    ),
    *of(
        "train/pictures/stream.py", "tests/train/test_stream.py::test_order_crops_and_flips_are_what_a_checkpoint_relies_on",
        ("crops and flips of seed 0", "[random_bits(seed, use, epochs, at)", "[random_bits(0, use, epochs, at)"),
        ("flips of seed 0", "[random_bits(seed, use, epochs", "[random_bits(seed * (use != FLIP), use, epochs"),
        ("the same crops and flips every epoch", "[random_bits(seed, use, epochs", "[random_bits(seed, use, 0"),
        ("rows and columns of one number", "ORDER, TOP, LEFT, FLIP, SHARDS = range(5)",
         "ORDER, TOP, LEFT, FLIP, SHARDS = 0, 1, 1, 3, 4"),
        ("shards in the order of seed 0", "random_bits(seed, SHARDS, epoch", "random_bits(0, SHARDS, epoch",
         "tests/train/test_stream.py::test_order_of_shards_is_what_a_checkpoint_relies_on"),
    ),
    *of(
        "train/distributed.py", "tests/train/test_distributed.py::test_what_processes_agree_on_is_the_same_in_each",
        ("the sum of the losses", "sum(row[i] for row in rows) / self.size", "sum(row[i] for row in rows)"),
        ("signals to other processes unnoticed", "int(max(row[2] for row in rows))", "int(rows[0][2])"),
        ("the first one's wait only", "max(row[1] for row in rows)", "rows[0][1]"),
        ("different weights unnoticed", 'zlib.crc32(host.view("uint8"))', "host.size",
         "tests/train/test_distributed.py::test_the_smallest_difference_of_weights_is_seen"),
        ("two different processes are one too few", "> 1:\n            raise TrainError(\"the processes", "> 2:\n"
         "            raise TrainError(\"the processes",
         "tests/train/test_distributed.py::test_the_smallest_difference_of_weights_is_seen"),
    ),
    *of(
        "train/quality.py", "tests/train/test_quality.py::test_each_picture_is_measured_against_itself",
        ("SSIM's windows wider", '"sigma": 1.5', '"sigma": 2.5',
         "tests/train/test_quality.py::test_ssim_has_gaussian_windows_of_sigma_one_and_a_half"),
        ("SSIM's windows flat", '"gaussian_weights": True', '"gaussian_weights": False',
         "tests/train/test_quality.py::test_ssim_has_gaussian_windows_of_sigma_one_and_a_half"),
        ("SSIM of samples", '"use_sample_covariance": False', '"use_sample_covariance": True',
         "tests/train/test_quality.py::test_ssim_has_gaussian_windows_of_sigma_one_and_a_half"),
        ("structure of the first picture", "ssim(true[i], one)", "ssim(true[0], one)"),
        ("colors of the first picture", "ciede2000(labs[i],", "ciede2000(labs[0],"),
        ("labels of the first batch", "known[len(ranks) : len(ranks) + len(squares)]", "known[: len(squares)]"),
        ("root mean square of CIEDE2000", "deltaE_ciede2000(lab, other).mean()",
         "np.sqrt((deltaE_ciede2000(lab, other) ** 2).mean())", "tests/train/test_quality.py::test_ciede2000_is_a_mean"),
        ("codes cut off", "np.rint(255 * np.clip", "np.floor(255 * np.clip",
         "tests/train/test_quality.py::test_grey_is_painted_with_its_own_codes"),
        ("the mean of the roots", 'np.sqrt(values["chroma_mse"].mean())', 'np.sqrt(values["chroma_mse"]).mean()',
         "tests/train/test_quality.py::test_means_are_taken_by_the_protocol"),
    ),
    *of(
        "nn/network.py", "tests/nn/test_network_buffers.py::test_training_on_two_sizes_in_turns",
        ("training's buffers whatever the size", "self.training.use_for((shapes, parts))", "self.training.use_for(1)"),
        ("features that the next call overwrites", "return self.xp.array(vector), self.xp.array(logits)",
         "return vector, logits", "tests/nn/test_network_buffers.py::test_results_are_the_callers_own"),
        ("buffers of large pictures kept", "CACHED_PIXELS else shapes)", "CACHED_PIXELS * 99 else shapes)",
         "tests/nn/test_network_buffers.py::test_a_large_picture_gives_its_buffers_back"),
    ),
    *of(
        "nn/layers.py", "tests/nn/test_network_buffers.py::test_training_on_two_sizes_in_turns",
        ("buffers of the first size for all", "if inputs != self.inputs:", "if self.inputs is None:"),
    ),
    *of(
        "train/pictures/packing.py", "tests/train/test_packing.py::test_the_borderline_sheet_shows_the_nearest_on_both_sides",
        ("the greyest for the nearest to the limit", "sorted(grey)[-SHEET:]", "sorted(grey)[:SHEET]"),
        ("the most colorful for the nearest", "kept[:SHEET]", "kept[-SHEET:]"),
        ("pictures of other rows", "self.names[row[0]]) for row in rows)",
         "self.names[k]) for k, row in enumerate(rows))"),
        ("old shards left after --force", 'in self.out.glob("[0-9]*.tar"):', "in ():",
         "tests/train/test_packing.py::test_packing_anew_leaves_nothing_of_before"),
        ("shards that others cannot read", "0o644", "0o600",
         "tests/train/test_packing.py::test_shards_are_mixed_and_readable_by_all"),
    ),
    *of(
        "colorize/paths.py", "tests/colorize/test_colorize_program.py::test_one_photograph_named_in_several_ways_is_one",
        ("one photograph named in two ways is two", "found.setdefault(file.resolve()", "found.setdefault(file"),
    ),
]
FIRST = list({m.test: m for m in reversed(MUTATIONS)}.values())  # of each test one, which shows that it can fail
REST = [m for m in MUTATIONS if m not in FIRST]
