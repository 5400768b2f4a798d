"""Plain array code: the windows of a band of output rows as a matrix, and one matrix product a band."""

from ltbc.kernels.arrays import activate, activation_backward, array_module, sum_dtype
from ltbc.kernels.im2col import add_col2im, bands, im2col, pad, write


def prepare(w, *, out=None):
    return None


def forward(x, w, b, stride, activation, *, out=None, prepared=None):
    (n, ho, wo), (cin, cout) = output_size(x, stride), w.shape[2:]
    y = array_module(x).empty((n, ho, wo, cout), x.dtype) if out is None else out
    padded, matrix = pad(x), w.reshape(9 * cin, cout)
    for images, rows in bands(n, ho, wo * 9 * cin * x.itemsize):
        z = im2col(padded, images, rows, wo, stride=stride) @ matrix
        z += b
        y[images, rows] = activate(z, activation).reshape(-1, rows.stop - rows.start, wo, cout)
    return y


def backward(
    dy, x, w, y, stride, activation, *, needs_dx=True, out=(None, None, None), prepared=None, through="none"
):
    xp, (n, ho, wo), (cin, cout) = array_module(x), output_size(x, stride), w.shape[2:]
    padded, matrix = pad(x), w.reshape(9 * cin, cout)
    dpadded = xp.zeros_like(padded) if needs_dx else None
    dmatrix, db = xp.zeros(matrix.shape, sum_dtype(x.dtype)), xp.zeros(cout, sum_dtype(x.dtype))
    for images, rows in bands(n, ho, wo * 9 * cin * x.itemsize):
        dz = activation_backward(dy[images, rows], y[images, rows], activation).reshape(-1, cout)
        columns = im2col(padded, images, rows, wo, stride=stride)
        dmatrix += columns.T @ dz
        db += dz.sum(0, dtype=db.dtype)
        if dpadded is not None:
            xp.matmul(dz, matrix.T, out=columns)  # from here on columns holds its own gradient
            add_col2im(dpadded, columns, images, rows, wo, stride=stride)
    dx = None
    if dpadded is not None:
        dx = write(out[0], activation_backward(dpadded[:, 1:-1, 1:-1], x, through))
    return dx, write(out[1], dmatrix.reshape(w.shape)), write(out[2], db)


def output_size(x, stride):
    n, h, w, _ = x.shape
    return n, -(-h // stride), -(-w // stride)
