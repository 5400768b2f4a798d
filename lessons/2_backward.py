"""Lesson 2: the convolution's backward pass, and how a gradient check finds a planted error.

    python lessons/2_backward.py

The mathematics stands in kernels/conv3x3/README.md, equations (2) to (9).
"""

import sys

import numpy as np

sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from kernels import conv3x3
from kernels.gradcheck import GradientError, check_gradients

rng = np.random.default_rng(0)
x, w, b = rng.normal(size=(1, 4, 4, 2)), rng.normal(size=(3, 3, 2, 3)), rng.normal(size=3)


# The forward pass as a matrix product: windows as rows X, weights as a matrix W. Equation (6).
def windows(x):
    """[N, H, W, C] -> [N * H * W, 9 C]"""
    n, h, k, c = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    taps = [padded[:, r : r + h, s : s + k] for r in range(3) for s in range(3)]
    return np.stack(taps, 3).reshape(n * h * k, 9 * c)


def forward(x, w, b):
    return (windows(x) @ w.reshape(-1, w.shape[3]) + b).reshape(*x.shape[:3], -1)


# The backward pass: two matrix products, (7), then every copy of a pixel gives back its gradient, (8).
def backward(dy, x, w):
    n, h, k, c = x.shape
    dz = dy.reshape(-1, w.shape[3])
    dw = (windows(x).T @ dz).reshape(w.shape)
    dcopies = (dz @ w.reshape(-1, w.shape[3]).T).reshape(n, h, k, 9, c)
    dpadded = np.zeros((n, h + 2, k + 2, c))
    for tap in range(9):
        r, s = divmod(tap, 3)
        dpadded[:, r : r + h, s : s + k] += dcopies[:, :, :, tap]
    return dpadded[:, 1:-1, 1:-1], dw, dz.sum(0)


y = forward(x, w, b)
dy = rng.normal(size=y.shape)
ours, theirs = backward(dy, x, w), conv3x3.backward(dy, x, w, y, activation="none")
print("dx, dw, db equal the project's:", [np.allclose(a, b) for a, b in zip(ours, theirs)])

# Is it *right*? What a derivative means: move one weight a little, see how <dy, y> moves.
h, moved = 1e-5, w.copy()
moved[0, 1, 1, 2] += h
print(f"dw[0,1,1,2] = {ours[1][0, 1, 1, 2]:.6f}, measured {((forward(x, moved, b) - y) * dy).sum() / h:.6f}\n")

# One weight at a time is slow, and checks one weight. Along a random direction v all of them move at once, and
# <dw, v> must be the slope. The checker does that for each argument, in float64, with care for kinks and rounding.
arguments = {"x": x, "w": w, "b": b}
print("The checker's largest relative errors:")
for name, error in check_gradients(forward, backward, arguments, takes=("x", "w"), operation="ours").items():
    print(f"  d{name}: {error:.1e}")


# Now a typical mistake: the last tap of the last row gets a wrong sign for one channel. One number of 54.
def wrong(dy, x, w):
    dx, dw, db = backward(dy, x, w)
    dw[2, 2, 1, 0] *= -1
    return dx, dw, db


try:
    check_gradients(forward, wrong, arguments, takes=("x", "w"), operation="ours")
except GradientError as error:
    print(f"\nWith the planted error:\n  {error}")

# Try: drop one pixel in windows(), forget the padding in backward, return db twice as large. What does it say?
