"""The fusion layer: one global vector an image joins the mid-level features at every pixel.

    y[n,i,j,o] = act(b[o] + sum over k of global_[n,k] w[k,o] + sum over c of mid[n,i,j,c] w[Cg+c,o])           (1)

The first sum is the same at every pixel: it is computed once an image.

    dz = dy * act'(z), the derivative taken from y                                                              (2)
    s[n,o] = sum over i, j of dz[n,i,j,o]                                                                       (3)
    dmid[n,i,j,c] = sum over o of dz[n,i,j,o] w[Cg+c,o]          dglobal[n,k] = sum over o of s[n,o] w[k,o]     (4)
    dw[Cg+c,o] = sum over n, i, j of mid[n,i,j,c] dz[n,i,j,o]    dw[k,o] = sum over n of global_[n,k] s[n,o]    (5)
    db[o] = sum over n of s[n,o]                                                                                (6)

    mid [N, H, W, Cm]      global_ [N, Cg]      w [Cg + Cm, Cout]      b [Cout]      y [N, H, W, Cout]

Neither the broadcast vector nor the concatenation [global ; mid] is ever formed. act is sigmoid (the summary's
formula, default), relu or none. dtypes and errors as in `conv3x3`. Source: the paper, section 3.2.4, equation (4).
"""

from ltbc.kernels.arrays import Array, bind, buffers, check_activation, check_dtypes, check_out
from ltbc.kernels.dispatch import check_prepared, implementation, prepared_weights

OP = "fusion"


def prepare(w: Array, *, out: object = None, backend: str = "reference") -> object:
    """Weights in the form in which the backend's kernels read them; see `conv3x3.prepare`."""
    bind(OP, w=(w, "Cg+Cm Cout"))
    return prepared_weights(OP, backend, w, out)


def forward(
    mid: Array, global_: Array, w: Array, b: Array, activation: str = "sigmoid",
    *, out: Array | None = None, prepared: object = None, backend: str = "reference",
) -> Array:
    """y, equation (1). `out` receives y where given (and decides its dtype)."""
    shape = check(mid, global_, w, activation)
    bind(OP, w=(w, "Cg+Cm Cout"), b=(b, "Cout"))
    check_dtypes(OP, {"mid": mid, "global_": global_, "w": w}, {"b": b})
    check_out(OP, {"mid": mid, "global_": global_, "w": w, "b": b}, y=(out, shape))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, mid).forward(mid, global_, w, b, activation, out=out, prepared=prepared)


def backward(
    dy: Array, mid: Array, global_: Array, w: Array, y: Array, activation: str = "sigmoid",
    *, out: tuple[Array | None, ...] | None = None, prepared: object = None, backend: str = "reference",
) -> tuple[Array, Array, Array, Array]:
    """(dmid, dglobal, dw, db), equations (2) to (6); `out` are buffers for the four."""
    shape = check(mid, global_, w, activation)
    bind(OP, mid=(mid, "N H W Cm"), dy=(dy, " ".join(map(str, shape))), y=(y, " ".join(map(str, shape))))
    check_dtypes(OP, {"mid": mid, "global_": global_, "w": w}, {"dy": dy, "y": y})
    dmid, dglobal, dw, db = buffers(OP, out, "dmid", "dglobal", "dw", "db")
    check_out(OP, {"dy": dy, "mid": mid, "global_": global_, "w": w, "y": y},
              dmid=(dmid, mid.shape), dglobal=(dglobal, global_.shape),
              dw=(dw, w.shape), db=(db, w.shape[1:]))
    check_prepared(OP, backend, w, prepared)
    return implementation(OP, backend, mid).backward(
        dy, mid, global_, w, y, activation, out=(dmid, dglobal, dw, db), prepared=prepared
    )


def check(mid: Array, global_: Array, w: Array, activation: str) -> tuple[int, int, int, int]:
    """Raises what the contract promises for wrong arguments; returns the shape of y."""
    check_activation(OP, activation)
    sizes = bind(OP, mid=(mid, "N H W Cm"), global_=(global_, "N Cg"), w=(w, "Cg+Cm Cout"))
    if sizes["Cg+Cm"] != sizes["Cg"] + sizes["Cm"]:
        wanted = f"[{sizes['Cg']} + {sizes['Cm']}, Cout] (channels of global_, then of mid)"
        raise ValueError(f"{OP}: w must be {wanted}, got {list(w.shape)}")
    return sizes["N"], sizes["H"], sizes["W"], sizes["Cout"]
