"""Plain array code: the global half is a product an image, added to the mid-level half by broadcasting."""

from ltbc.kernels.arrays import activate, activation_backward, array_module, sum_dtype
from ltbc.kernels.im2col import write


def prepare(w, *, out=None):
    return None


def forward(mid, global_, w, b, activation, *, out=None, prepared=None):
    n, h, width, cm = mid.shape
    cg = global_.shape[1]
    z = (mid.reshape(-1, cm) @ w[cg:]).reshape(n, h * width, -1)
    z += (global_ @ w[:cg] + b)[:, None]
    return write(out, activate(z, activation).reshape(n, h, width, -1))


def backward(dy, mid, global_, w, y, activation, *, out=(None,) * 4, prepared=None):
    n, h, width, cm = mid.shape
    cg, cout = global_.shape[1], w.shape[1]
    dz = activation_backward(dy, y, activation).reshape(n, h * width, cout)
    s = dz.sum(1, dtype=sum_dtype(dz.dtype))
    dmid, dglobal = (dz @ w[cg:].T).reshape(mid.shape), (s @ w[:cg].T).astype(mid.dtype, copy=False)
    dw = array_module(w).empty(w.shape, sum_dtype(w.dtype)) if out[2] is None else out[2]
    dw[:cg] = global_.T @ s
    dw[cg:] = mid.reshape(-1, cm).T @ dz.reshape(-1, cout)
    return write(out[0], dmid), write(out[1], dglobal), dw, write(out[3], s.sum(0))
