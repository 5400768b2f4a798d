"""Mean of squared differences between predicted and true chroma, and its gradient in the same pass.

    loss = 1/K sum over all K elements of (y - target)^2        (1)
    dy   = scale * 2/K (y - target)                             (2)

    y, target [N, H, W, C]      loss: array of shape []      dy as y

y and dy have one float dtype, target has it or float32; the sum and the loss are float32, or float64 for float64.
`scale` multiplies the gradient only. Source: the paper, section 3.2.5 and equation (6), first term: it writes the
Frobenius norm; ours is divided by the number of elements (`nn/PAPER.md`).
Errors: ValueError for shapes that differ, TypeError for a wrong dtype or array type.
"""

from ltbc.kernels.arrays import Array, bind, check_dtypes, check_number, check_out, sum_dtype
from ltbc.kernels.dispatch import implementation

OP = "chroma_loss"


def value_and_gradient(
    y: Array, target: Array, scale: float = 1.0, *, out: Array | None = None, backend: str = "reference"
) -> tuple[Array, Array]:
    """(loss, dy), equations (1) and (2); `out` is a buffer for dy."""
    bind(OP, y=(y, "N H W C"), target=(target, "N H W C"))
    check_dtypes(OP, {"y": y}, {"target": target})
    check_number(OP, "scale", scale, sum_dtype(y.dtype))
    check_out(OP, {"y": y, "target": target}, dy=(out, y.shape))
    return implementation(OP, backend, y).value_and_gradient(y, target, scale, out=out)
