"""Fully connected layer with activation.

    y = act(x w + b)                                      (1)
    dz = dy * act'(z), the derivative taken from y        (2)
    dx = dz w^T      dw = x^T dz      db = sum_n dz       (3)

    x [N, Cin]      w [Cin, Cout]      b [Cout]      y [N, Cout], act one of none, relu, sigmoid

dtypes and errors as in `conv3x3`. Source: the paper, section 3.2.2 (global features) and 3.3 (classes).
"""

from ltbc.kernels.arrays import Array, bind, buffers, check_activation, check_dtypes, check_flags, check_out
from ltbc.kernels.dispatch import check_prepared, implementation, prepared_weights

OP = "linear"


def prepare(w: Array, *, out: object = None, backend: str = "reference") -> object:
    """Weights in the form in which the backend's kernels read them; see `conv3x3.prepare`."""
    bind(OP, w=(w, "Cin Cout"))
    return prepared_weights(OP, backend, w, out)


def forward(
    x: Array, w: Array, b: Array, activation: str = "relu",
    *, out: Array | None = None, prepared: object = None, backend: str = "reference",
) -> Array:
    """y, equation (1). `out` receives y where given (and decides its dtype)."""
    check_activation(OP, activation)
    sizes = bind(OP, x=(x, "N Cin"), w=(w, "Cin Cout"), b=(b, "Cout"))
    check_dtypes(OP, {"x": x, "w": w}, {"b": b})
    check_out(OP, {"x": x, "w": w, "b": b}, y=(out, (sizes["N"], sizes["Cout"])))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, x).forward(x, w, b, activation, out=out, prepared=prepared)


def backward(
    dy: Array, x: Array, w: Array, y: Array, activation: str = "relu",
    *, needs_dx: bool = True, needs_dw: bool = True, out: tuple[Array | None, ...] | None = None,
    prepared: object = None, backend: str = "reference",
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dw, db), equations (2) and (3); `out` are buffers for the three.

    dx is None where `needs_dx` is false, dw and db are None where `needs_dw` is.
    """
    check_activation(OP, activation)
    bind(OP, x=(x, "N Cin"), w=(w, "Cin Cout"), dy=(dy, "N Cout"), y=(y, "N Cout"))
    check_dtypes(OP, {"x": x, "w": w}, {"dy": dy, "y": y})
    check_flags(OP, needs_dx=needs_dx, needs_dw=needs_dw)
    dx, dw, db = buffers(OP, out, "dx", "dw", "db")
    check_out(OP, {"dy": dy, "x": x, "w": w, "y": y}, dx=(dx, x.shape), dw=(dw, w.shape), db=(db, w.shape[1:]))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, x).backward(
        dy, x, w, y, activation, needs_dx=needs_dx, needs_dw=needs_dw, out=(dx, dw, db), prepared=prepared
    )
