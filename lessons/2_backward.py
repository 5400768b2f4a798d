"""Lesson 2: the convolution's backward pass, and how a gradient check finds a planted error.

The mathematics stands in kernels/conv3x3/README.md, equations (2) to (5) and (a) to (d), stride 2 at (e)
to (g). At the end stands what to try.
"""

import sys

import numpy as np

sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from gradcheck import GradientError, check_gradients
from ltbc import program
from ltbc.kernels import conv3x3

program.begin()  # so that Ctrl-C and `| head` end it quietly
rng = np.random.default_rng(0)
x, w, b = rng.normal(size=(1, 4, 4, 2)), rng.normal(size=(3, 3, 2, 3)), rng.normal(size=3)

# The forward pass as a matrix product: windows as rows X, weights as a matrix W. Equation (a).
def windows(x):
    """[N, H, W, C] -> [N * H * W, 9 C]"""
    n, h, k, c = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    return np.stack([padded[:, r : r + h, s : s + k] for r in range(3) for s in range(3)], 3).reshape(n * h * k, 9 * c)


def forward(x, w, b):
    return (windows(x) @ w.reshape(-1, w.shape[3]) + b).reshape(*x.shape[:3], -1)


# The backward pass: two matrix products, (b), then every copy of a pixel gives back its gradient, (c).
def backward(dy, x, w):
    (n, h, k, c), dz = x.shape, dy.reshape(-1, w.shape[3])
    dw = (windows(x).T @ dz).reshape(w.shape)
    dcopies = (dz @ w.reshape(-1, w.shape[3]).T).reshape(n, h, k, 9, c)
    dpadded = np.zeros((n, h + 2, k + 2, c))
    for r, s in np.ndindex(3, 3):
        dpadded[:, r : r + h, s : s + k] += dcopies[:, :, :, 3 * r + s]
    return dpadded[:, 1:-1, 1:-1], dw, dz.sum(0)


dy = rng.normal(size=(y := forward(x, w, b)).shape)
ours, theirs = backward(dy, x, w), conv3x3.backward(dy, x, w, y, activation="none")
print("dx, dw, db equal the project's:", [a.shape == b.shape and np.allclose(a, b) for a, b in zip(ours, theirs)])

h, moved = 1e-5, w.copy()  # Is it *right*? Move one weight a little, see how <dy, y> moves.
moved[0, 1, 1, 2] += h
print(f"dw[0,1,1,2] = {ours[1][0, 1, 1, 2]:.6f}, measured {((forward(x, moved, b) - y) * dy).sum() / h:.6f}\n")

# That checks one weight. Along a random direction v all move at once, and <dw, v> must be the slope. The checker does
# that for each argument, in float64, and stays away from kinks, where there is no slope.
def judge(backward):
    try:
        found = check_gradients(forward, backward, {"x": x, "w": w, "b": b}, takes=("x", "w"), operation="ours")
        print("The checker's largest relative errors:", ", ".join(f"d{k} {e:.1e}" for k, e in found.items()), "\n")
    except GradientError as error:
        print(f"The checker: {error}\n")


judge(backward)

# Stride 2, in a row of 8 pixels: window i lies on the pixels 2i-1, 2i, 2i+1. So pixel 2i is seen by one window, through
# its tap 1; pixel 2i+1 by two: window i sees it through tap 2, window i+1 through tap 0. Its gradient collects them.
taps, dz = np.array([1.0, 10, 100]), np.array([1.0, 2, 3, 4])
even, odd = dz * taps[1], dz * taps[2] + np.append(dz[1:], 0) * taps[0]
print("stride 2: dz", dz, "weights", taps, "\n  dx of even pixels", even, " of odd pixels", odd)
line, dz = np.zeros((1, 1, 8, 1)), dz.reshape(1, 1, 4, 1)  # an image of one row: of w, only the middle row sees it
kernel = np.pad(taps.reshape(1, 3, 1, 1), [(1, 1), (0, 0), (0, 0), (0, 0)])
dx, _, _ = conv3x3.backward(dz, line, kernel, dz, stride=2, activation="none")
print("  equal to the project's:", np.array_equal(dx.ravel(), np.stack([even, odd], 1).ravel()))


# A typical mistake: one tap has a wrong sign for one channel, one number of 54.
sign = np.ones(w.shape)
sign[2, 2, 1, 0] = -1
judge(lambda dy, x, w: [g * s for g, s in zip(backward(dy, x, w), (1, sign, 1))])
# Try: "np.pad(x, " -> "np.pad(x * (x != x[0, 1, 1, 0]), " drops a pixel in windows(): "dx is wrong at [0, 1, 1, 0]"
# Try: "return dpadded[:, 1:-1, 1:-1]" -> "return dpadded" forgets the padding: "dx has shape [1, 6, 6, 2], but x has"
