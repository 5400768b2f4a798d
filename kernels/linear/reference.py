"""Plain array code: one matrix product forward, two backward."""

from ltbc.kernels.arrays import activate, activation_backward, sum_dtype
from ltbc.kernels.im2col import write


def prepare(w, *, out=None):
    return None


def forward(x, w, b, activation, *, out=None, prepared=None):
    z = x @ w
    z += b
    return write(out, activate(z, activation))


def backward(dy, x, w, y, activation, *, needs_dx=True, needs_dw=True, out=(None, None, None), prepared=None):
    dz = activation_backward(dy, y, activation)
    dx = write(out[0], dz @ w.T) if needs_dx else None
    if not needs_dw:
        return dx, None, None
    dw, db = (x.T @ dz).astype(sum_dtype(x.dtype), copy=False), dz.sum(0, dtype=sum_dtype(x.dtype))
    return dx, write(out[1], dw), write(out[2], db)
