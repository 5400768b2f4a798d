"""Lesson 1: a convolution by hand. Read from top to bottom, run it, change numbers, run it again.

    python lessons/1_convolution.py          (from the project's folder, in its environment)

The mathematics stands in kernels/conv3x3/README.md, equations (1) and (a). At the end stands what to try.
"""

import sys

import numpy as np

sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from ltbc import program
from ltbc.kernels import conv3x3

program.begin()  # so that Ctrl-C and `| head` end it quietly


def show(title, image):
    """An image of one channel as numbers."""
    print(title)
    print("\n".join("  " + " ".join(f"{v:6.3g}" for v in line) for line in image), end="\n\n")


# A picture of 6 x 6 pixels with one channel: dark on the left, bright on the right, with one odd pixel.
picture = np.zeros((6, 6))
picture[:, 3:] = 10
picture[1, 1] = 5
show("The picture:", picture)

# Nine weights. These compare what is right of a pixel with what is left of it: they find vertical edges.
weights = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
show("The weights:", weights)

# One output pixel: lay the window over the picture, multiply what lies on each other, add up.
i, j = 2, 2
window = picture[i - 1 : i + 2, j - 1 : j + 2]
show(f"The window around pixel ({i}, {j}):", window)
show("times the weights:", window * weights)
print(f"The sum is the output at ({i}, {j}): {(window * weights).sum():.3g}\n")

# All output pixels. At the edge the window reaches outside, where everything counts as 0: we add a border of zeros.
padded = np.pad(picture, 1)
output = np.zeros((6, 6))
for i in range(6):
    for j in range(6):
        for r in range(3):
            for s in range(3):
                output[i, j] += padded[i + r, j + s] * weights[r, s]
show("All outputs (large where an edge is; the right border is one too):", output)

# The project's convolution does the same for N pictures, Cin channels in and Cout channels out.
x = picture.reshape(1, 6, 6, 1)  # [N, H, W, Cin]
w = weights.reshape(3, 3, 1, 1).astype(float)  # [3, 3, Cin, Cout]
b = np.full(w.shape[3], 0.0)  # one number a filter, added everywhere
y = conv3x3.forward(x, w, b, stride=1, activation="none")
print(f"The project's convolution, {list(y.shape)}, gives the same:", np.allclose(y[0, :, :, 0], output + b[0]))

# As a matrix product: each window is a row of nine numbers, the weights of a filter are a column of nine numbers.
rows = np.array([padded[i : i + 3, j : j + 3].ravel() for i in range(6) for j in range(6)])
columns = w.reshape(9, -1)
print(f"So does a product of a {rows.shape} matrix with a {columns.shape} one:",
      np.allclose((rows @ columns + b).reshape(y.shape), y))

# Stride 2 computes every second output in each direction: a quarter of the pixels, and of the work.
half = conv3x3.forward(x, w, b, stride=2, activation="none")
print(f"Stride 2 gives {half.shape[1]} x {half.shape[2]} pixels, every second one:", np.allclose(half, y[:, ::2, ::2]))

# An activation follows. ReLU keeps what is positive: of the two sides of an edge, one remains.
y = conv3x3.forward(x, w, b, stride=1, activation="relu")
show("\nAfter ReLU:", y[0, :, :, 0])

# Put the second in place of the first, one at a time, and run again:
# Try: "np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])" -> "np.full((3, 3), 1 / 9)" blurs: "at (2, 2): 3.89"
# Try: "np.full(w.shape[3], 0.0)" -> "np.full(w.shape[3], -20.0)" leaves what exceeds 20: "20     20      0"
# Try: "weights.reshape(3, 3, 1, 1)" -> "np.stack([weights, weights.T], 2)[:, :, None]" is two filters: "6, 6, 2]"
