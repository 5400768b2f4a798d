"""Nearest-neighbor upsampling by two: each pixel becomes a 2x2 block.

    y[n, 2i+p, 2j+q, c] = x[n,i,j,c]                     p, q in {0, 1}        (1)
    dx[n,i,j,c] = sum over p, q of dy[n, 2i+p, 2j+q, c]                        (2)

    x [N, H, W, C]      y [N, 2H, 2W, C], one float dtype

The network uses `upsample2x_conv3x3`, which never writes y; this operation is for study and comparison.
Source: the paper, section 3.2.5. Errors: ValueError for a wrong shape, TypeError for a wrong dtype or array type.
"""

from ltbc.kernels.arrays import Array, bind, check_dtypes, check_out
from ltbc.kernels.dispatch import implementation

OP = "upsample2x"


def forward(x: Array, *, out: Array | None = None, backend: str = "reference") -> Array:
    """y, equation (1)."""
    sizes = bind(OP, x=(x, "N H W C"))
    check_dtypes(OP, {"x": x})
    check_out(OP, {"x": x}, y=(out, (sizes["N"], 2 * sizes["H"], 2 * sizes["W"], sizes["C"])))
    return implementation(OP, backend, x).forward(x, out=out)


def backward(dy: Array, *, out: Array | None = None, backend: str = "reference") -> Array:
    """dx, equation (2)."""
    sizes = bind(OP, dy=(dy, "N H W C"))
    check_dtypes(OP, {"dy": dy})
    if sizes["H"] % 2 or sizes["W"] % 2:
        raise ValueError(f"{OP}: dy must have even height and width, got {list(dy.shape)}")
    check_out(OP, {"dy": dy}, dx=(out, (sizes["N"], sizes["H"] // 2, sizes["W"] // 2, sizes["C"])))
    return implementation(OP, backend, dy).backward(dy, out=out)
