"""Nearest-neighbor upsampling by two and a 3x3 convolution (stride 1, padding 1), in one.

    y = act(b + conv(upsample2x(x), w)), computed as four 2x2 convolutions of x, one for each output phase (p, q):

    z[n, 2i+p, 2j+q, o] = b[o] + sum over u, t in {0, 1} and c of  x[n, i+p+u-1, j+q+t-1, c] * v_pq[u,t,c,o]   (1)
    v_pq[u,t] = sum over r in R[p][u], s in R[q][t] of w[r,s]                                                  (2)
    R[0] = {0}, {1, 2}      R[1] = {0, 1}, {2}

Of the three rows that a 3x3 window covers in the upsampled image, two are copies of the same row of x: their
weights are summed beforehand. 4 * 4 products a pixel of x instead of 4 * 9.

    dz = dy * act'(z), the derivative taken from y                                                             (3)
    dx[n,h,k,c]   = sum over p, q, u, t, o with h = i+p+u-1, k = j+q+t-1 of  dz[n,2i+p,2j+q,o] v_pq[u,t,c,o]   (4)
    dv_pq[u,t,c,o] = sum over n, i, j of  x[n, i+p+u-1, j+q+t-1, c] dz[n,2i+p,2j+q,o]                          (5)
    dw[r,s]       = sum over p, q of  dv_pq[u,t] with r in R[p][u], s in R[q][t]                               (6)
    db[o]         = sum over n, i, j, p, q of  dz[n,2i+p,2j+q,o]                                               (7)

    x [N, H, W, Cin]      w [3, 3, Cin, Cout]      b [Cout]      y [N, 2H, 2W, Cout]

dtypes and errors as in `conv3x3`. Source: the paper, section 3.2.5.
"""

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
)
from ltbc.kernels.dispatch import check_prepared, implementation, prepared_weights

OP = "upsample2x_conv3x3"

ROW_SETS = (((0,), (1, 2)), ((0, 1), (2,)))  # R[p][u] of equation (2)


def output_shape(x_shape: tuple[int, ...], filters: int) -> tuple[int, int, int, int]:
    """Shape of y for x of shape `[N, H, W, Cin]`."""
    n, h, w, _ = x_shape
    return n, 2 * h, 2 * w, filters


def prepare(w: Array, *, out: object = None, backend: str = "reference") -> object:
    """Weights in the form that the backend reads (the sums of equation (2)); see `conv3x3.prepare`."""
    bind(OP, w=(w, "3 3 Cin Cout"))
    return prepared_weights(OP, backend, w, out)


def forward(
    x: Array, w: Array, b: Array, activation: str = "relu",
    *, out: Array | None = None, prepared: object = None, backend: str = "reference",
) -> Array:
    """y, equations (1) and (2). `out` receives y where given (and decides its dtype)."""
    check_activation(OP, activation)
    bind(OP, x=(x, "N H W Cin"), w=(w, "3 3 Cin Cout"), b=(b, "Cout"))
    check_dtypes(OP, {"x": x, "w": w}, {"b": b})
    check_out(OP, {"x": x, "w": w, "b": b}, y=(out, output_shape(x.shape, w.shape[3])))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, x).forward(x, w, b, activation, out=out, prepared=prepared)


def backward(
    dy: Array, x: Array, w: Array, y: Array, activation: str = "relu",
    *, needs_dx: bool = True, out: tuple[Array | None, ...] | None = None, prepared: object = None,
    through: str = "none", backend: str = "reference",
) -> tuple[Array | None, Array, Array]:
    """(dx, dw, db), equations (3) to (7). dx is None where `needs_dx` is false; `out` are buffers for the three.

    through: the activation that made x. dx is times its derivative, so that the layer before takes it for its dz (dy
    with activation "none"), and may go over x: out[0] may be x itself.
    """
    check_activation(OP, activation)
    bind(OP, x=(x, "N H W Cin"), w=(w, "3 3 Cin Cout"))
    shape = output_shape(x.shape, w.shape[3])
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
        dy, x, w, y, activation, needs_dx=needs_dx, out=(dx, dw, db), prepared=prepared,
        through=through,
    )
