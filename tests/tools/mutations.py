"""Planted errors: small changes of the sources, each of which a named test must catch. `test_mutations` holds it.

`old` occurs exactly once in the file, so that no entry outlives the code that it is about.
"""
# ruff: noqa: E501

from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    test: str


def of(file: str, *rows: tuple[str, str, str, str]) -> list[Mutation]:
    """Rows (name, old, new, test) for one file; a test without a path is that of all operations, for this one."""
    op = file.split("/")[1]
    return [Mutation(name, file, old, new, test if "::" in test else f"{OPERATIONS}{test}[{op}]")
            for name, old, new, test in rows]


OPERATIONS = "tests/kernels/test_operations.py::"
MICRO = "tests/nn/test_network.py::test_micro_batches_sum_to_the_whole_batch"
MUTATIONS = [
    *of(
        "kernels/arrays.py",
        ("relu's derivative forgotten", "return dy * (y > 0)", "return dy", f"{OPERATIONS}test_slopes[conv3x3]"),
        ("half of sigmoid's derivative", "dy * (y * (1 - y))", "dy * y", f"{OPERATIONS}test_slopes[linear]"),
        ("a sigmoid that is a tanh", "        z += 1\n", "", f"{OPERATIONS}test_torch[fusion]"),
        ("derivative of relu from z >= 0", "(y > 0)", "(y >= 0)", f"{OPERATIONS}test_torch[linear]"),
    ),
    *of(
        "kernels/im2col.py",
        ("dropped tap forward", "        columns[:, :, :, tap] = padded[images, i, j]",
         "        columns[:, :, :, tap] = padded[images, i, j] * (tap > 0)", f"{OPERATIONS}test_loops[conv3x3]"),
        ("dropped tap backward", "padded[images, i, j] += columns[:, :, :, tap]",
         "padded[images, i, j] += columns[:, :, :, tap] * (tap < 8)", f"{OPERATIONS}test_slopes[conv3x3]"),
        ("windows overwrite each other", "padded[images, i, j] += columns", "padded[images, i, j] = columns",
         f"{OPERATIONS}test_loops[conv3x3]"),
        ("stride of a band's start forgotten", "slice(rows.start * stride + r,", "slice(rows.start + r,",
         f"{OPERATIONS}test_bands_do_not_change_results"),
        ("last band cut short", "min(r + rows_a_band, rows))", "min(r + rows_a_band, rows - 1))",
         f"{OPERATIONS}test_torch[upsample2x_conv3x3]"),
        ("border not zeroed", ".zeros((n, h + 2, k + 2, c)", ".empty((n, h + 2, k + 2, c)",
         f"{OPERATIONS}test_torch[conv3x3]"),
        ("out ignored", "    out[...] = value\n    return out", "    return value",
         f"{OPERATIONS}test_out[linear]"),
    ),
    *of(
        "kernels/conv3x3/reference.py",
        ("wrong stride remainder", "-(-h // stride)", "h // stride", "test_torch"),
        ("transposed kernel", "dmatrix.reshape(w.shape)", "dmatrix.reshape(w.shape).swapaxes(0, 1)", "test_slopes"),
        ("weights of the last band only", "dmatrix += columns.T @ dz", "dmatrix = columns.T @ dz", "test_torch"),
        ("forgotten bias gradient", "        db += dz.sum(0, dtype=db.dtype)\n", "", "test_slopes"),
        ("bias gradient in 16 bits", "dz.sum(0, dtype=db.dtype)", "dz.sum(0)", f"{OPERATIONS}test_dtypes[conv3x3-float16]"),
        ("bias added twice", "z += b", "z += 2 * b", "test_loops"),
        ("gradients from a stale activation", "dz = activation_backward(dy[images, rows], y[images, rows], activation)",
         "dz = activation_backward(dy[images, rows], dy[images, rows], activation)", "test_torch"),
        ("dx left unwritten at the border", "dpadded = xp.zeros_like(padded)", "dpadded = xp.empty_like(padded)",
         "test_torch"),
        ("dx computed in spite of needs_dx", "    dx = None\n", "    dx = padded\n",
         f"{OPERATIONS}test_left_out[conv3x3-needs_dx]"),
        ("dx not taken through", "1:-1, 1:-1], x, through)", '1:-1, 1:-1], x, "none")',
         "tests/kernels/test_through.py::test_reference[boxes-relu]"),
    ),
    *of(
        "kernels/upsample2x_conv3x3/__init__.py",
        ("phase weights wrong, in both directions alike", "(((0,), (1, 2)), ((0, 1), (2,)))",
         "(((0, 1), (2,)), ((0,), (1, 2)))", "test_torch"),
    ),
    *of(
        "kernels/upsample2x_conv3x3/reference.py",
        ("phase gradient to the wrong columns", "product(ROW_SETS[p][a], ROW_SETS[q][c])", "product(ROW_SETS[p][a], ROW_SETS[p][c])",
         "test_slopes"),
        ("phase gradients overwrite each other", "dw[r, s] += dv[a, c]", "dw[r, s] = dv[a, c]", "test_loops"),
        ("dx of a phase put into another", "add_col2im(dpadded, columns, images, rows, width, size=2, start=(p, q))",
         "add_col2im(dpadded, columns, images, rows, width, size=2, start=(q, p))", "test_slopes"),
        ("phases mixed up in y", "2 * rows.stop : 2, q::2] = activate", "2 * rows.stop : 2, 1 - q :: 2] = activate",
         "test_loops"),
    ),
    *of(
        "kernels/upsample2x/reference.py",
        ("one of four pixels forgotten", " + dy[:, 1::2, 1::2])", ")", "test_slopes"),
        ("one of four pixels unwritten", "for q in (0, 1):\n", "for q in (0, 1 - p):\n", "test_torch"),
    ),
    *of(
        "kernels/linear/reference.py",
        ("mean for sum", "dz.sum(0,", "dz.mean(0,", "test_slopes"),
        ("dx by the transposed weights of a square layer", "dz @ w.T", "dz @ (w if w.shape[0] == w.shape[1] else w.T)",
         "test_torch"),
    ),
    *of(
        "kernels/fusion/reference.py",
        ("halves swapped forward", "mid.reshape(-1, cm) @ w[cg:]", "mid.reshape(-1, cm) @ w[:cm]", "test_torch"),
        ("halves swapped backward", "dz @ w[cg:].T", "dz @ w[:cm].T", "test_slopes"),
        ("global gradient of one pixel", "s @ w[:cg].T", "dz[:, 0] @ w[:cg].T", "test_slopes"),
        ("global weights by the mean over pixels", "dz.sum(1,", "dz.mean(1,", "test_loops"),
    ),
    *of(
        "kernels/chroma_loss/reference.py",
        ("sum for mean", ".mean()", ".sum()", "test_torch"),
        ("mean over images only", "scale * 2 / y.size", "scale * 2 / y.shape[0]", "test_slopes"),
        ("factor 2 of the square forgotten", "scale * 2 / y.size", "scale / y.size", "test_loops"),
        ("scale forgotten", "scale * 2 / y.size", "2 / y.size", "test_torch"),
    ),
    *of(
        "kernels/class_loss/reference.py",
        ("gradient without /N", "p *= scale / n", "p *= scale", "test_slopes"),
        ("true class not subtracted", "    p[true] -= 1\n", "", "test_slopes"),
        ("logarithm that overflows", "xp.maximum(z_sum, 0) + xp.log1p(xp.exp(-xp.abs(z_sum)))",
         "xp.log(1 + xp.exp(z_sum))", "tests/kernels/test_class_loss.py::test_extreme_logits"),
        ("largest logit not subtracted", "        z_sum -= z_sum.max(1, keepdims=True)\n", "", "tests/kernels/test_class_loss.py::test_extreme_logits"),
        ("mean over classes", "z_sum[true].sum()) / n", "z_sum[true].sum()) / z.size", "test_torch"),
    ),
    *of(
        "kernels/adadelta/reference.py",
        ("eps outside the root", "xp.sqrt((ed[at] + eps) / (eg[at] + eps))",
         "(xp.sqrt(ed[at]) + eps) / (xp.sqrt(eg[at]) + eps)", "tests/kernels/test_adadelta.py::test_torch"),
        ("gradient not squared", "(1 - rho) * g[at] * g[at]", "(1 - rho) * xp.abs(g[at])", "test_loops"),
        ("learning rate in the average", "(1 - rho) * d * d", "(1 - rho) * lr * d * lr * d", "tests/kernels/test_adadelta.py::test_torch"),
        ("copy from before the update", "low[at] = p[at]", "low[at] = p[at] + lr * d", "tests/kernels/test_adadelta.py::test_low_precision_copy"),
        ("last block left out", "range(0, p.size, BLOCK)", "range(0, p.size - BLOCK + 1, BLOCK)",
         "tests/kernels/test_adadelta.py::test_more_than_a_block"),
    ),
    *of(
        "kernels/color/reference.py",
        ("a* and b* swapped", "500 * (x - y), 200 * (y - z)", "200 * (y - z), 500 * (x - y)",
         "tests/kernels/test_color.py::test_lab_of_scikit_image"),
        ("decode's scale is not encode's", "chroma * 220 - 110", "chroma * 200 - 100", "tests/kernels/test_color.py::test_there_and_back"),
        ("encode's scale is not the contract's", "(lab[..., 1:] + 110) / 220", "(lab[..., 1:] + 100) / 200",
         "test_loops"),
        ("mirrored one pixel off", "w - 1 - j", "(w - j) % w", "tests/kernels/test_color.py::test_a_crop_of_the_codes_is_the_crop_of_the_result"),
        ("left corner ignored", "j = left[:, None] + j", "j = 0 * left[:, None] + j", "test_loops"),
        ("one pixel for the mean of four", "chroma[:, 1::2, 1::2]) / 4", "chroma[:, ::2, ::2]) / 4", "test_loops"),
        ("16-bit codes taken for 8-bit", "rgb.dtype == np.uint8 else 65535", "rgb.dtype == np.uint8 else 255",
         "tests/kernels/test_color.py::test_there_and_back"),
        ("U and V swapped", "rgb_to_yuv(chroma)[..., :1]", "rgb_to_yuv(chroma)[..., 1:2]",
         "tests/kernels/test_color.py::test_decode_keeps_the_luminance"),
        ("16-bit codes in float16", "size), sum_dtype(dtype))", "size), dtype)", f"{OPERATIONS}test_dtypes[color-float16]"),
        ("scikit-image's white", "RGB_TO_XYZ / WHITE[:, None]", "RGB_TO_XYZ / np.array([[0.95047], [1], [1.08883]])",
         "tests/kernels/test_color.py::test_grey_has_no_chroma"),
    ),
    *of(
        "nn/network.py",
        ("forgotten branch gradient: class scores", "dhidden += self.class_.backward(dlogits, micro, done=done)",
         "self.class_.backward(dlogits, micro, done=done)",
         "tests/nn/test_network.py::test_loss_and_every_gradient_equal_autograd"),
        ("forgotten branch gradient: global features", "dispatch.add(dlow, dcopy, self.backend)", "dcopy",
         "tests/nn/test_network.py::test_loss_and_every_gradient_equal_autograd"),
        ("forgotten branch gradient: the copy's weights", "adds=not self.shared", "adds=False",
         "tests/nn/test_network.py::test_gradients_with_a_foreign_global_input"),
        ("class gradient without alpha", "alpha * scale * micro", "scale * micro",
         "tests/nn/test_network.py::test_ten_steps_equal_torch"),
        ("class gradient leaks into mid", "dlow = self.mid.backward(dmid, micro, done=done)",
         "dmid += 0 if dlogits is None else dlogits.mean()\n        dlow = self.mid.backward(dmid, micro, done=done)",
         "tests/nn/test_network.py::test_class_gradient_stays_out_of_the_color_branch"),
        ("class scores from the global vector's layer", "self.class_.forward(hidden, buffers, keep)",
         "self.class_.forward(hidden * 0.5, buffers, keep)",
         "tests/nn/test_network.py::test_loss_and_every_gradient_equal_autograd"),
        ("the picture for its copy", "copy = resize(luminance, *size) if global_input is None else global_input",
         "copy = resize(luminance, *size)", "tests/nn/test_network.py::test_gradients_with_a_foreign_global_input"),
        ("micro-batches as if each were the batch", "predicted, target, scale * micro.share",
         "predicted, target, scale", MICRO),
        ("labels of the first micro-batch for all", "labels[micro.rows]", "labels[:micro.stop - micro.start]", MICRO),
        ("losses of micro-batches not weighted", "sum(micro.share * mean", "sum(mean / len(parts)", MICRO),
    ),
    *of(
        "nn/layers.py",
        ("gradients of the last micro-batch only", "if not adds:", "if True:", MICRO),
        ("gradients of earlier micro-batches added twice", "if x is not total:", "if True:", MICRO),
        ("fully connected layers see the last micro-batch only", "whole[micro.rows] = a",
         "whole[:] = 0\n            whole[micro.rows] = a", MICRO),
        ("a layer is done before its last micro-batch", "if done and micro.last:", "if done:", MICRO),
    ),
]
