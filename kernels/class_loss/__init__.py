"""Cross entropy of scene classes, and its gradient in the same pass. K classes, labels l[n].

    softmax:  loss = 1/N sum_n -log p[n,l[n]],  p[n] = softmax(z[n])                                          (1)
              dz   = scale/N (p - onehot)                                                                     (2)
    sigmoid:  loss = 1/N sum_n sum_c -(t log p + (1-t) log(1-p)),  p = sigmoid(z[n,c]), t = onehot[n,c]       (3)
              dz   = scale/N (p - t)                                                                          (4)

    z (logits) [N, K]      labels l [N] of an integer dtype, 0 <= label < K      loss: array of shape []      dz as z

The loss is float32, or float64 for float64. `scale` multiplies the gradient only. Source: the paper, section 3.3,
equation (5) writes the softmax form; the summary speaks of a sigmoid output, which is the second form: one cross
entropy a class, summed. Errors: ValueError for wrong shapes, kinds and (where it costs nothing to look: NumPy)
labels, TypeError for a wrong dtype or array type.
"""

import numpy as np

from ltbc.kernels.arrays import Array, bind, check_choice, check_dtypes, check_number, check_out, sum_dtype
from ltbc.kernels.dispatch import implementation

OP = "class_loss"
KINDS = ("softmax", "sigmoid")


def value_and_gradient(
    z: Array, labels: Array, scale: float = 1.0, kind: str = "softmax",
    *, out: Array | None = None, backend: str = "reference",
) -> tuple[Array, Array]:
    """(loss, dz), equations (1) and (2) or (3) and (4); `out` is a buffer for dz."""
    check_choice(OP, "kind", kind, KINDS)
    classes = bind(OP, z=(z, "N K"), labels=(labels, "N"))["K"]
    check_dtypes(OP, {"z": z})
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{OP}: labels must be integers, got {labels.dtype}")
    if isinstance(labels, np.ndarray) and not (0 <= labels.min() and labels.max() < classes):
        raise ValueError(f"{OP}: labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    check_number(OP, "scale", scale, sum_dtype(z.dtype))
    check_out(OP, {"z": z, "labels": labels}, dz=(out, z.shape))
    return implementation(OP, backend, z).value_and_gradient(z, labels, scale, kind, out=out)
