"""Planted errors of the gpu backend's loops and splits: a trip forgotten, left out, doubled or rounded; see `mutations.py`.
Each test named here runs under Triton's interpreter."""
# ruff: noqa: E501

from tests.tools.mutations import of

T = "tests/kernels/test_gpu_trips.py::"
CONV, STRIDE_2, UP = T + "test_conv3x3[boxes]", T + "test_conv3x3[boxes-stride-2]", T + "test_upsample2x_conv3x3[boxes]"
FEW_INPUTS, FEW_OUTPUTS = T + "test_conv3x3[few-inputs]", T + "test_conv3x3[few-outputs]"
FILLED_FEW, REAL = T + "test_conv3x3[few-outputs-filled]", T + "test_channels_of_a_real_layer[linear-sizes4-settings4]"
LINEAR, EQUAL = T + "test_linear[shorter-last]", T + "test_linear[equal]"
LARGE, MANY = T + "test_fusion[large]", T + "test_fusion[many]"
LOSS = "tests/kernels/test_gpu_chroma_loss.py::test_more_programs_than_the_second_pass_takes_at_once"

MUTATIONS = [
    *of(
        "kernels/gpu/fragments.py",
        ("each split forgets those before", "total += tl.load(row, mask=k < K + KB", "total = tl.load(row, mask=k < K + KB",
         CONV),
        ("the first split is added again", "        row += K + KB\n", "        row += (_ > 0) * (K + KB)\n", CONV),
    ),
    *of(
        "kernels/conv3x3/gpu_kernels.py",
        ("dw of the last box only", "gradients.T, pixels, sums, input", "gradients.T, pixels, input",
         CONV),
        ("dw rounded at each box", "sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION)",
         "sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)",
         CONV),
        ("db of the last box only", "column += load_pixels", "column = load_pixels", CONV),
        ("db rounded at each box", "            ).to(tl.float32)\n",
         "            ).to(tl.float32)\n            column = column.to(tl.bfloat16).to(tl.float32)\n", CONV),
        ("dw without a split's last box", "# [BLOCK_O, BLOCK_C]\n    for t in range(first, last)",
         "# [BLOCK_O, BLOCK_C]\n    for t in range(first, last - (last - first > 1))", CONV),
        ("db without a split's last box", "        for t in range(first, last)",
         "        for t in range(first, last - (last - first > 1))", CONV),
        ("the first box twice", "    sums = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)  # [BLOCK_O, BLOCK_C]\n"
         "    for t in range(first, last):\n        n0, i0, j0 = box_corner(t,",
         "    sums = tl.zeros((BLOCK_O, BLOCK_C), tl.float32)  # [BLOCK_O, BLOCK_C]\n"
         "    for u in range(first - 1, last):\n        t = tl.maximum(first, u)\n        n0, i0, j0 = box_corner(t,",
         CONV),
        ("a stale sum of dw", "        sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION)\n"
         "    at = split", "        stale = sums\n"
         "        sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION)\n"
         "    if last - first > 1:\n        sums = stale\n    at = split", CONV),
        ("y of the last trip only", "z = tl.dot(weights.T, pixels.T, z, ", "z = tl.dot(weights.T, pixels.T, 0 * z, ",
         CONV),
        ("y rounded at each trip", "z = tl.dot(weights.T, pixels.T, z, input_precision=PRECISION)",
         "z = tl.dot(weights.T, pixels.T, z, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)", CONV),
        ("a trip less where channels fill their blocks", "range(9 * C_TILES)", "range(9 * C_TILES - (CIN % BLOCK_C == 0))",
         CONV),
        ("dx of the last trip only", "weights, pixels.T, sums, input_precision=PRECISION)",
         "weights, pixels.T, 0 * sums, input_precision=PRECISION)", CONV),
        ("dx a trip less where channels fill their blocks", "range(taps * O_TILES)",
         "range(taps * O_TILES - (COUT % BLOCK_O == 0))", CONV),
        ("dx without its last channels", "tap, o0 = k // O_TILES, k % O_TILES * BLOCK_O",
         "tap, o0 = k // O_TILES, 0 * BLOCK_O", STRIDE_2),
    ),
    *of(
        "kernels/conv3x3/gpu_few.py",
        ("dw of few channels: the last block only", "other.to(dtype), sums, input_precision", "other.to(dtype), input_precision",
         FEW_INPUTS),
        ("dw of few channels rounded at each block", "other.to(dtype), sums, input_precision=PRECISION)",
         "other.to(dtype), sums, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)", FEW_INPUTS),
        ("db of few inputs: the last block only", "bias += tl.sum(other", "bias = tl.sum(other", FEW_INPUTS),
        ("db of few outputs: the last block only", "bias += tl.sum(columns", "bias = tl.sum(columns", FEW_OUTPUTS),
        ("few channels without a split's last block", "tl.minimum(split * BLOCKS_A_SPLIT + BLOCKS_A_SPLIT, BLOCKS)",
         "tl.minimum(split * BLOCKS_A_SPLIT + BLOCKS_A_SPLIT, BLOCKS) - 1", FEW_OUTPUTS),
        ("few channels: the first block twice", "pixel = block * BLOCK_P + tl.arange(0, BLOCK_P)",
         "pixel = tl.maximum(block - 1, split * BLOCKS_A_SPLIT) * BLOCK_P + tl.arange(0, BLOCK_P)", FEW_INPUTS),
        ("y of few outputs: the last trip only", "tl.dot(pixels, weights, z, ", "tl.dot(pixels, weights, 0 * z, ",
         FEW_OUTPUTS),
        ("y of few outputs: a trip less where channels fill their blocks", "for k in range(9 * C_TILES):",
         "for k in range(9 * C_TILES - (CIN % BLOCK_C == 0)):", FILLED_FEW),
    ),
    *of(
        "kernels/upsample2x_conv3x3/gpu_kernels.py",
        ("dv of the last box only", "gradients.T, pixels, sums, input", "gradients.T, pixels, input",
         UP),
        ("dv rounded at each box", "sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION)",
         "sums = tl.dot(gradients.T, pixels, sums, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)",
         UP),
        ("db of the last phase only", "column += load_pixels", "column = load_pixels", UP),
        ("dv without a split's last box", "for t in range(first, last)", "for t in range(first, last - (last - first > 1))",
         UP),
        ("db of all phases without a split's last box", "range(first * 4, last * 4)", "range(first * 4, last * 4 - 4 * (last - first > 1))",
         UP),
        ("upsampled y of the last trip only", "z = tl.dot(weights.T, pixels.T, z, ",
         "z = tl.dot(weights.T, pixels.T, 0 * z, ", UP),
        ("dx of upsampling, of the last trip only", "weights, pixels.T, sums, input_precision=PRECISION)",
         "weights, pixels.T, 0 * sums, input_precision=PRECISION)", UP),
        ("upsampled y a trip less where channels fill their blocks", "range(4 * C_TILES)",
         "range(4 * C_TILES - (CIN % BLOCK_C == 0))", UP),
        ("dx of upsampling a trip less where channels fill their blocks", "range(16 * O_TILES)",
         "range(16 * O_TILES - (COUT % BLOCK_O == 0))", UP),
        ("fold forgets the splits before", "        total += tl.load(row + 7 * SIZE + k, mask=of_b, other=0.0)",
         "        total = tl.load(row + 7 * SIZE + k, mask=of_b, other=total)", UP),
        ("fold of the first split again", "        row += 16 * SIZE + COUT\n", "        row += (_ > 0) * (16 * SIZE + COUT)\n",
         UP),
    ),
    *of(
        "kernels/gpu/matrices.py",
        ("dw of a layer's last rows only", "rows.T, gradients, total, input", "rows.T, gradients, input", LINEAR),
        ("dw of a layer rounded at each trip", "rows.T, gradients, total, input_precision=PRECISION)",
         "rows.T, gradients, total, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)", LINEAR),
        ("db of a layer's last rows only", "column += load_tile", "column = load_tile", LINEAR),
        ("dx of a layer's last outputs only", "weights.T, total, input", "weights.T, input", LINEAR),
        ("dx of a layer rounded at each trip", "weights.T, total, input_precision=PRECISION)",
         "weights.T, total, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)", LINEAR),
        ("dx a trip less where outputs fill their blocks", "for o0 in range(0, COUT, BLOCK_O):",
         "for o0 in range(0, COUT - BLOCK_O * (COUT % BLOCK_O == 0), BLOCK_O):",
         REAL),
        ("dw without a split's last rows", "# [BLOCK_C, BLOCK_O]\n    for r0 in range(first, end, BLOCK_P)",
         "# [BLOCK_C, BLOCK_O]\n    for r0 in range(first, end - BLOCK_P * (end - first > BLOCK_P), BLOCK_P)", EQUAL),
    ),
    *of(
        "kernels/linear/gpu.py",
        ("a layer's last inputs only", "weights, z, input_precision", "weights, 0 * z, input_precision", LINEAR),
        ("a layer's sum rounded at each trip", "weights, z, input_precision=PRECISION)",
         "weights, z, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)", LINEAR),
        ("a trip less where inputs fill the splits", "tl.minimum(first + STEPS * BLOCK_C, CIN), BLOCK_C)",
         "tl.minimum(first + STEPS * BLOCK_C, CIN - BLOCK_C * (CIN % (STEPS * BLOCK_C) == 0)), BLOCK_C)", EQUAL),
        ("inputs of a split's first block twice", "rows = load_tile(x, n0, c0,",
         "c0 = tl.maximum(c0 - BLOCK_C, first)\n        rows = load_tile(x, n0, c0,", LINEAR),
    ),
    *of(
        "kernels/fusion/gpu.py",
        ("the last mid-level channels only", "weights, z, input_precision", "weights, 0 * z, input_precision", LARGE),
        ("fusion's sum rounded at each trip", "weights, z, input_precision=PRECISION)",
         "weights, z, input_precision=PRECISION).to(tl.bfloat16).to(tl.float32)", LARGE),
        ("the last global channels only", "products += vector", "products = vector", LARGE),
        ("an image's last tile only", "total += tl.load(sums", "total = tl.load(sums", LARGE),
        ("dglobal of the last outputs only", "weights.T, dvector, ", "weights.T, 0 * dvector, ", LARGE),
        ("global dw of the last images only", "tl.dot(vectors.T, s, total,", "tl.dot(vectors.T, s, 0 * total,", MANY),
        ("mid-level channels: a trip less where they fill their blocks", "range(0, CM, BLOCK_C)",
         "range(0, CM - BLOCK_C * (CM % BLOCK_C == 0), BLOCK_C)", LARGE),
    ),
    *of(
        "kernels/gpu/total.py",
        ("the last parts of a loss only", "sums += tl.load", "sums = tl.load",
         LOSS),
    ),
]
