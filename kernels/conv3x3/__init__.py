"""3x3 convolution with bias and activation, padding 1, stride 1 or 2.

    z[n,i,j,o] = b[o] + sum over r, s in 0..2 and c of  x[n, i*stride + r - 1, j*stride + s - 1, c] * w[r,s,c,o]
    y = act(z), act one of none, relu, sigmoid; x counts as 0 outside the image                              (1)

    dz = dy * act'(z), the derivative taken from y                                                           (2)
    dx[n,h,k,c] = sum over r, s, o with h = i*stride + r - 1, k = j*stride + s - 1 of  dz[n,i,j,o] w[r,s,c,o] (3)
    dw[r,s,c,o] = sum over n, i, j of  x[n, i*stride + r - 1, j*stride + s - 1, c] dz[n,i,j,o]               (4)
    db[o]       = sum over n, i, j of  dz[n,i,j,o]                                                           (5)

    x  [N, H, W, Cin]      w [3, 3, Cin, Cout]      b [Cout]      y [N, ceil(H/stride), ceil(W/stride), Cout]

dtypes: x and w share one (the storage dtype); y and dy have it too, or float32; b, dw, db have it, or float32
where storage is 16 bits wide, and sums are kept in that. Source: the paper, section 3.2, all convolutions.

Errors: ValueError for a wrong shape, stride or activation, TypeError for a wrong dtype or array type.
"""

from typing import Any, NamedTuple

from ltbc.kernels.arrays import (
    ACTIVATIONS,
    Array,
    bind,
    buffers,
    check_activation,
    check_choice,
    check_dtypes,
    check_flags,
    check_out,
    is_integer,
    shown,
)
from ltbc.kernels.dispatch import check_prepared, implementation, prepared_weights

OP = "conv3x3"


class Method(NamedTuple):
    """How a backend computes y, dx and dw of a layer: sums of products as they stand, or of transformed factors.

    transforms: what multiplies the rounding errors of the results that are "winograd", and its algorithm.
    """

    y: str = "sums"
    dx: str = "sums"
    dw: str = "sums"
    transforms: Any = None

    def error(self, result: str) -> float:
        """By how much the rounding errors of "y", "dx", "dw" or "db" are larger than those of plain sums."""
        return self.transforms.error if getattr(self, result, "") == "winograd" else 1.0


def output_shape(x_shape: tuple[int, ...], filters: int, stride: int = 1) -> tuple[int, int, int, int]:
    """Shape of y for x of shape `[N, H, W, Cin]`."""
    n, h, w, _ = x_shape
    return n, -(-h // stride), -(-w // stride), filters


def method(
    dtype: Any, stride: int, cin: int, cout: int, shape: tuple[int, ...], *, backend: str = "reference"
) -> Method:
    """The method of that backend for x and w of a dtype and y of the shape `[N, H, W]`."""
    return implementation(OP, backend).method(dtype, stride, cin, cout, shape) if backend == "cpu" else Method()


def prepare(w: Array, *, out: object = None, backend: str = "reference") -> object:
    """Weights in the form in which the backend's kernels read them, refreshed into `out` where given.

    Hand the result to `forward` and `backward` as `prepared`; it is stale once w changes. None: w is read as it is.
    """
    bind(OP, w=(w, "3 3 Cin Cout"))
    return prepared_weights(OP, backend, w, out)


def forward(
    x: Array, w: Array, b: Array, stride: int = 1, activation: str = "relu",
    *, out: Array | None = None, prepared: object = None, backend: str = "reference",
) -> Array:
    """y = act(b + x * w), equation (1). `out` receives y where given (and decides its dtype)."""
    check_settings(stride, activation)
    bind(OP, x=(x, "N H W Cin"), w=(w, "3 3 Cin Cout"), b=(b, "Cout"))
    check_dtypes(OP, {"x": x, "w": w}, {"b": b})
    check_out(OP, {"x": x, "w": w, "b": b}, y=(out, output_shape(x.shape, w.shape[3], stride)))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, x).forward(x, w, b, stride, activation, out=out, prepared=prepared)


def backward(
    dy: Array, x: Array, w: Array, y: Array, stride: int = 1, activation: str = "relu",
    *, needs_dx: bool = True, out: tuple[Array | None, ...] | None = None, prepared: object = None,
    through: str = "none", backend: str = "reference",
) -> tuple[Array | None, Array, Array]:
    """(dx, dw, db), equations (2) to (5). dx is None where `needs_dx` is false; `out` are buffers for the three.

    through: the activation that made x. dx is times its derivative, so that the layer before takes it for its dz (dy
    with activation "none"), and may go over x: out[0] may be x itself.
    """
    check_settings(stride, activation)
    bind(OP, x=(x, "N H W Cin"), w=(w, "3 3 Cin Cout"))
    shape = output_shape(x.shape, w.shape[3], stride)
    for name, g in (("dy", dy), ("y", y)):
        bind(OP, x=(x, "N H W Cin"), **{name: (g, " ".join(map(str, shape)))})
    check_dtypes(OP, {"x": x, "w": w}, {"dy": dy, "y": y})
    check_flags(OP, needs_dx=needs_dx)
    check_choice(OP, "through", through, ACTIVATIONS)
    dx, dw, db = buffers(OP, out, "dx", "dw", "db")
    check_out(OP, {"dy": dy, "x": x, "w": w, "y": y}, over=x,
              dx=(dx, x.shape), dw=(dw, w.shape), db=(db, w.shape[3:]))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, x).backward(
        dy, x, w, y, stride, activation, needs_dx=needs_dx, out=(dx, dw, db), prepared=prepared,
        through=through,
    )


def check_settings(stride: int, activation: str) -> None:
    """Raises what the contract promises for a wrong stride or activation."""
    if not is_integer(stride) or stride not in (1, 2):
        raise ValueError(f"{OP}: stride must be 1 or 2, got {shown(stride)}")
    check_activation(OP, activation)
