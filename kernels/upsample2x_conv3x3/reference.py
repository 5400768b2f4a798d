"""Plain array code: for each of the four output phases a 2x2 convolution of x, as in `conv3x3/reference.py`."""

from itertools import product

from ltbc.kernels.arrays import activate, activation_backward, array_module, sum_dtype
from ltbc.kernels.im2col import add_col2im, bands, im2col, pad, write
from ltbc.kernels.upsample2x_conv3x3 import ROW_SETS


def prepare(w, *, out=None):
    return None


def forward(x, w, b, activation, *, out=None, prepared=None):
    xp, (n, h, width, cin), cout = array_module(x), x.shape, w.shape[3]
    y = xp.empty((n, 2 * h, 2 * width, cout), x.dtype) if out is None else out
    padded = pad(x)
    for p, q in product((0, 1), repeat=2):
        matrix = phase_weights(w, p, q).reshape(4 * cin, cout)
        for images, rows in bands(n, h, width * 4 * cin * x.itemsize):
            z = im2col(padded, images, rows, width, size=2, start=(p, q)) @ matrix
            z += b
            phase = z.reshape(-1, rows.stop - rows.start, width, cout)
            y[images, 2 * rows.start + p : 2 * rows.stop : 2, q::2] = activate(phase, activation)
    return y


def backward(dy, x, w, y, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"):
    xp, (n, h, width, cin), cout = array_module(x), x.shape, w.shape[3]
    padded = pad(x)
    dpadded = xp.zeros_like(padded) if needs_dx else None
    dw, db = xp.zeros(w.shape, sum_dtype(x.dtype)), xp.zeros(cout, sum_dtype(x.dtype))
    for p, q in product((0, 1), repeat=2):
        matrix = phase_weights(w, p, q).reshape(4 * cin, cout)
        dphase = xp.zeros(matrix.shape, sum_dtype(x.dtype))
        for images, rows in bands(n, h, width * 4 * cin * x.itemsize):
            at = images, slice(2 * rows.start + p, 2 * rows.stop, 2), slice(q, None, 2)
            dz = activation_backward(dy[at], y[at], activation).reshape(-1, cout)
            columns = im2col(padded, images, rows, width, size=2, start=(p, q))
            dphase += columns.T @ dz
            db += dz.sum(0, dtype=db.dtype)
            if dpadded is not None:
                xp.matmul(dz, matrix.T, out=columns)  # from here on columns holds its own gradient
                add_col2im(dpadded, columns, images, rows, width, size=2, start=(p, q))
        add_phase_gradient(dw, dphase.reshape(2, 2, cin, cout), p, q)
    dx = None
    if dpadded is not None:
        dx = write(out[0], activation_backward(dpadded[:, 1:-1, 1:-1], x, through))
    return dx, write(out[1], dw), write(out[2], db)


def phase_weights(w, p, q):
    """v_pq of equation (2), [2, 2, Cin, Cout]."""
    v = array_module(w).empty((2, 2, *w.shape[2:]), w.dtype)
    for a, c in product((0, 1), repeat=2):
        v[a, c] = sum(w[r, s] for r in ROW_SETS[p][a] for s in ROW_SETS[q][c])
    return v


def add_phase_gradient(dw, dv, p, q):
    """Equation (6): each 2x2 gradient goes to every weight that was summed into it."""
    for a, c in product((0, 1), repeat=2):
        for r, s in product(ROW_SETS[p][a], ROW_SETS[q][c]):
            dw[r, s] += dv[a, c]
