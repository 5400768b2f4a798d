"""Exercise 1. A fully connected layer, forward and backward: kernels/linear/README.md, equations (1) and (3).

    python -m lessons check 1
"""


def forward(x, w, b):
    """y [N, Cout] = x w + b, of x [N, Cin], w [Cin, Cout], b [Cout]."""
    raise NotImplementedError


def backward(dy, x, w):
    """(dx, dw, db), from dy [N, Cout]. Each has the shape of what it is the gradient of."""
    raise NotImplementedError
