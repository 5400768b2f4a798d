"""Planted errors of the programs: what colorize, train and nn do with files, seeds, figures and sizes in turn."""
# ruff: noqa: E501

from tests.tools.mutations import Mutation


def of(file: str, test: str, *rows: tuple[str, ...]) -> list[Mutation]:
    """Rows (name, old, new[, another test]) for one file."""
    return [Mutation(name, file, old, new, *(other or [test])) for name, old, new, *other in rows]


METADATA, TIFF = "tests/colorize/test_metadata.py::", "tests/colorize/test_tiff.py::"
PAGES, ARCHIVE = "tests/colorize/test_pages.py::", "tests/colorize/test_archive.py::"
MUTATIONS = [
    *of(
        "colorize/deep.py", TIFF + "test_strips_make_up_the_picture",
        ("rows a strip as if there were one", "278: numbers(LONG, order, rows)", "278: numbers(LONG, order, height)"),
        ("the first strip only", "range(0, height, rows))):", "range(0, rows, rows))):"),
        ("16-bit white of fewer bits", "Planes(pixels, alpha, (1 << bits) - 1)", "Planes(pixels, alpha, 65535)", TIFF + "test_white_is_the_largest_code_of_the_bits"),
        ("premultiplied colors as they are", "alpha is not None and extras[0] == PREMULTIPLIED", "False",
         TIFF + "test_each_kind_of_alpha"),
        ("any extra sample is alpha", "extras and extras[0] in (PREMULTIPLIED, ALPHA)", "extras",
         TIFF + "test_each_kind_of_alpha"),
        ("what is written is called premultiplied", "SHORT, order, ALPHA)", "SHORT, order, PREMULTIPLIED)",
         TIFF + "test_each_kind_of_alpha"),
    ),
    *of(
        "colorize/tags.py", "tests/colorize/test_tags.py::test_what_is_read_and_written_is_what_was_there",
        ("four bytes taken for a place", "if size > len(data):", "if size >= len(data):"),
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
        "colorize/xmp.py", ARCHIVE + "test_what_the_coloring_makes_untrue_is_replaced",
        ("sizes of the old pixels kept", "for prefix, names in UNTRUE.items() for key", "for prefix, names in () for key"),
        ("attributes kept", "                element.removeAttributeNS(namespace, name)", "                pass"),
        ("what it was before forgotten", "if text and text != ENHANCED", "if not text"),
        ("a history of its own beside the old one", "if not sequences:", "if True:",
         ARCHIVE + "test_the_history_grows_and_tells_how_to_make_it_again"),
    ),
    *of(
        "colorize/iptc.py", ARCHIVE + "test_captions_and_by_lines_are_kept",
        ("captions forgotten", '120: "dc:description", ', ""),
        ("old thumbnails kept", "KEPT = (0x03ED,", "KEPT = (0x03ED, 0x040C,"),
        ("encodings guessed wrong", '(encoding or "utf-8", "cp1252")', '("cp1252", "utf-8")'),
    ),
    *of(
        "colorize/pages.py", PAGES + "test_the_full_picture_is_colored_and_not_its_preview",
        ("previews taken for pages", "reduced = bits & 1", "reduced = bits & 2"),
        ("what lies below unread", "for inner in tags.integers(directory, BELOW", "for inner in tags.integers(directory, 0"),
        ("sensors taken for pictures", "SENSOR = (32803, 34892)", "SENSOR = ()",
         PAGES + "test_raw_files_are_named_as_such"),
    ),
    *of(
        "colorize/scale.py", PAGES + "test_white_is_told_by_evidence_and_overshoot_clipped",
        ("the least scale that holds all", "FEW, FAR, NEAR = 0.01, 1.0, 0.1", "FEW, FAR, NEAR = 0, 0, 0"),
        ("what the file states forgotten", "if white is None and stated in whites", "if False and stated in whites"),
        ("overshoot kept", "    if beyond:\n", "    if False:\n"),
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
        ("rows and columns of one number", "FLIP, SHARDS, CLASSES, CLASS_ORDER = range(7)",
         "FLIP, SHARDS, CLASSES, CLASS_ORDER = 0, 1, 1, 3, 4, 5, 6"),
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
MORE = [  # planted in the slow run only
    *of(
        "train/checkpoint.py", "tests/train/test_telling.py::test_a_checkpoint_holds_what_its_names_say",
        ("Adadelta's averages under each other's name", '"adadelta.eg": optimizer.eg, "adadelta.ed": optimizer.ed',
         '"adadelta.eg": optimizer.ed, "adadelta.ed": optimizer.eg'),
        ("another precision taken over", "array.dtype != into.dtype", "False",
         "tests/train/test_telling.py::test_a_run_goes_on_in_its_own_precision_and_classes"),
    ),
    *of(
        "train/leavings.py", "tests/train/test_telling.py::test_starting_anew_forgets_the_old_checkpoint_at_once",
        ("an old checkpoint outlives --force", "for file in old_files(run) if new else ():", "for file in ():"),
    ),
    *of(
        "train/__main__.py", "tests/train/test_telling.py::test_held_out_pictures_are_measured_unless_in_a_hurry",
        ("measured after a signal too", "if not signal:\n                keeper.measure()", "if True:\n                keeper.measure()"),
    ),
    *of(
        "train/interruption.py", "tests/train/test_telling.py::test_a_second_signal_counts_after_a_second",
        ("a second signal never counts", "if self.signal in IMPATIENT and", "if False and"),
        ("the terminal's signal counts twice", "> self.at + 1:", "> self.at:"),
    ),
    *of(
        "train/journal.py", "tests/train/test_telling.py::test_the_bar_tells_means_and_what_is_left",
        ("means of everything", "max(0.05, 1 / self.count)", "1 / self.count"),
        ("time left as if all steps were of this session", "max(done - self.first, 1e-9)", "max(done, 1e-9)"),
    ),
    *of(
        "train/options.py", "tests/train/test_telling.py::test_the_length_is_the_one_that_was_given_last",
        ("an old length outlives another", "given[length] for length in LENGTHS}",
         "given[length] for length in LENGTHS if given[length] is not None}"),
    ),
    *of(
        "train/__main__.py", "tests/train/test_telling.py::test_totals_are_those_of_the_steps",
        ("twice the pictures a second", 'metrics.step(progress, losses, settings["batch"] / seconds',
         'metrics.step(progress, losses, 2 * settings["batch"] / seconds'),
        ("batches told as epochs", "progress.position / len(run.pictures)", "progress.position / len(run.folder.name)"),
        ("other names of classes taken over", "if old and (old.classes,", "if old and (pictures.classes,",
         "tests/train/test_packing.py::test_a_run_goes_on_with_the_same_names_of_classes_only"),
    ),
    *of(
        "train/source.py", "tests/train/test_telling.py::test_held_out_pictures_are_measured_unless_in_a_hurry",
        ("each process takes all memory", 'settings["memory"] / world.local_size', 'settings["memory"]',
         "tests/train/test_distributed.py::test_a_machine_s_processes_share_its_memory"),
        ("held-out pictures larger than trained on", 'Path(held_out), settings["crop"]', "Path(held_out), 24"),
    ),
    *of(
        "train/pack.py", "tests/train/test_pack.py::test_a_jpeg_of_that_size_goes_in_as_it_is",
        ("a camera's metadata packed", "set(file.info) <= PLAIN", "True"),
        ("near-grey whatever the option says", "spread(pixels)) < near_grey", "spread(pixels)) < NEAR_GREY",
         "tests/train/test_packing.py::test_near_grey_is_what_the_option_says"),
        ("shards of one class", 'np.argsort(random_bits(0, len(names), np.arange(len(names))), kind="stable")',
         "np.arange(len(names))", "tests/train/test_packing.py::test_shards_are_mixed_and_readable_by_all"),
    ),
    *of(
        "train/pictures/packing.py", "tests/train/test_packing.py::test_the_fingerprint_is_of_pictures_and_their_classes",
        ("a fingerprint without classes", 'digests.encode() + index["label"].tobytes()', "digests.encode()"),
    ),
    *of(
        "nn/layers.py", "tests/nn/test_network.py::test_chroma_and_logits_are_not_rounded_to_the_activations_dtype",
        ("colors in steps", "sum_dtype(w.dtype) if spec.name in OUTPUTS else w.dtype", "w.dtype"),
    ),
    *of(
        "nn/parameters.py", "tests/nn/test_network.py::test_same_seed_same_parameters_other_seed_others",
        ("one bit of the seed", "default_rng(seed)", "default_rng(seed % 2)"),
    ),
    *of(
        "train/score.py", "tests/train/test_quality.py::test_colors_outside_of_srgb_are_clipped_before_they_are_measured",
        ("colors that no screen shows", "xp.clip(color.decode(half, chroma, space, backend=backend), 0, 1)",
         "color.decode(half, chroma, space, backend=backend)"),
    ),
    *of(
        "train/sheet.py", "tests/train/test_quality.py::test_the_sheet_shows_best_median_and_worst",
        ("the worst for the best", "np.argsort(-gain", "np.argsort(gain"),
        ("ours without the saturation", "saturation * quality.to_numpy(ab)", "quality.to_numpy(ab)"),
    ),
    *of(
        "colorize/images.py", "tests/colorize/test_colorize_telling.py::test_a_jpeg_tells_its_loss_and_is_as_good_as_stated",
        ("no loss is told", "change = deviation(", "change = 0 * deviation("),
        ("colors at half the size", '"subsampling": 0', '"subsampling": 2'),
        ("colors under transparency dropped", '"lossless": True, "exact": True', '"lossless": True',
         "tests/colorize/test_colorize_telling.py::test_colors_under_full_transparency_stay"),
        ("segments that are too long", 'len(options.get(name, b"")) > JPEG_SEGMENT:', 'len(options.get(name, b"")) > 99_000:',
         "tests/colorize/test_colorize_telling.py::test_long_xmp_and_jpeg"),
    ),
    *of(
        "colorize/decode.py", "tests/colorize/test_colorize_telling.py::test_a_camera_s_previews_are_no_frames",
        ("a camera's previews told as frames", 'return 1 if image.format == "MPO" else getattr', "return getattr"),
    ),
    *of(
        "colorize/tags.py", "tests/colorize/test_tags.py::test_values_beyond_what_a_file_may_ask_for_are_left_out",
        ("values without end", "0 < size <= self.left", "0 < size"),
    ),
    *of(
        "colorize/luminance.py", TIFF + "test_colors_that_srgb_lacks_are_cut_off",
        ("colors that no screen shows count", "return np.clip(srgb, 0, 1)", "return srgb"),
    ),
    *of(
        "colorize/files.py", "tests/colorize/test_colorize_telling.py::test_what_is_told_of_a_photograph_is_so",
        ("a third of the forced pixels", "forced / (height * width)", "forced / (3 * height * width)"),
        ("notes on the input kept back", "notes = picture.notes + images.write(", "notes = images.write("),
        ("blend forgotten", "style, saturation, blend, wishes.hints", "style, saturation, hints=wishes.hints",
         "tests/colorize/test_colorize_telling.py::test_style_and_blend_reach_file_and_preview"),
        ("twice the memory", "and needed > colorizer.max_memory:", "and needed > 2 * colorizer.max_memory:",
         "tests/colorize/test_colorize_telling.py::test_memory_over_the_limit_by_little_is_refused"),
    ),
    *of(
        "colorize/hints.py", "tests/colorize/test_hints.py::test_ways_are_the_shortest",
        ("upwards to the wrong side", "self.down_left[i - 1], self.down_right[i - 1]",
         "self.down_right[i - 1], self.down_left[i - 1]"),
        ("a step of the next row", "self.down[min(row, onto)]", "self.down[max(row, onto) - 2]"),
        ("grain counts as edges", "change - self.grain", "change",
         "tests/colorize/test_hints.py::test_a_texture_is_no_edge_and_a_hint_fades_in_the_end"),
        ("x and y changed about", "(2 * hint.x + 1) * width // (2 * size[1])", "(2 * hint.y + 1) * width // (2 * size[1])",
         "tests/colorize/test_hints.py::test_the_command_counts_in_the_upright_photograph"),
    ),
    *of(
        "colorize/memory.py", "tests/colorize/test_colorize_telling.py::test_what_the_machine_gives_is_what_is_free",
        ("memory that others use", 'startswith("MemAvailable:")', 'startswith("MemTotal:")'),
    ),
    *of(
        "colorize/session.py", "tests/colorize/test_colorize_telling.py::test_the_page_shows_and_saves_what_is_chosen",
        ("another blend shows the old colors", "self.style, choice.blend if self.style else 1", "self.style"),
        ("the file without the saturation", "files.Wishes(style, choice.saturation", "files.Wishes(style, 1"),
    ),
    *of(
        "colorize/colorizer.py", "tests/colorize/test_colorize_telling.py::test_the_page_shows_and_saves_what_is_chosen",
        ("room for a tile where none is needed", "if side < least and pixels * each > room:", "if side < least:",
         "tests/colorize/test_colorize_telling.py::test_a_small_picture_needs_no_room_for_a_tile"),
        ("scenes of the style", " foreign, _ = self.look(", " foreign, probabilities = self.look("),
        ("black beyond the edges", 'np.pad(part, beyond, mode="edge")', "np.pad(part, beyond)",
         "tests/colorize/test_colorize_telling.py::test_odd_sizes_are_seen_whole_with_their_edges_repeated"),
        ("sizes cut off", "max(1, round(width * scale))", "max(1, int(width * scale))",
         "tests/colorize/test_colorize_telling.py::test_what_the_network_sees_keeps_its_proportions"),
    ),
]
FIRST = list({m.test: m for m in reversed(MUTATIONS)}.values())  # of each test one, which shows that it can fail
REST = [m for m in MUTATIONS if m not in FIRST] + MORE
