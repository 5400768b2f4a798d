"""Lesson 3: upsampling + convolution by phases: the same numbers with 4/9 of the products.

    python lessons/3_phases.py

The mathematics stands in kernels/upsample2x_conv3x3/README.md. In one dimension first. At the end: what to try.
"""

import sys

import numpy as np

sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from ltbc import program
from ltbc.kernels import upsample2x_conv3x3

program.begin()  # so that Ctrl-C and `| head` end it quietly

x = np.array([1.0, 2, 3, 4])
w = np.array([1.0, 10, 100])  # so that the digits of a result say which tap brought what

# The slow way: copy every pixel, then convolve.
large = np.repeat(x, 2)
padded = np.pad(large, 1)
slow = np.array([padded[h : h + 3] @ w for h in range(8)])
print("x    ", x)
print("large", large)
for h in (2, 3):
    print(f"  z[{h}] sees large[{h - 1}..{h + 1}] = {padded[h : h + 3]}: {slow[h]:.0f}")

# Two of three always see copies of one pixel, and which two depends only on whether h is even or odd. So add their
# weights first: v[p] are the two weights of phase p, p = 0 for even, 1 for odd h. Equation (b).
v = {0: np.array([w[0], w[1] + w[2]]), 1: np.array([w[0] + w[1], w[2]])}
print("\nsummed weights: even", v[0], " odd", v[1])
padded = np.pad(x, 1)
fast = np.zeros(8)
for p in (0, 1):
    for i in range(4):
        fast[2 * i + p] = padded[i + p : i + p + 2] @ v[p]
print("slow", slow)
print("fast", fast, " equal:", np.array_equal(slow, fast))
print(f"products: slow {slow.size * 3}, fast {fast.size * 2}; in two dimensions 9 and 4 an output\n")

# Backward, data. The slow way: the adjoint of the convolution, then add up the two copies of each pixel.
dz = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])
padded = np.pad(dz, 1)
dlarge = np.array([padded[h : h + 3] @ w[::-1] for h in range(8)])
slow_dx = dlarge[0::2] + dlarge[1::2]
# The fast way: four outputs see pixel h, z[2h-1] .. z[2h+2]; one window of four taps at stride 2. Equation (c).
window = np.array([v[1][1], v[0][1], v[1][0], v[0][0]])
padded = np.pad(dz, 1)
fast_dx = np.array([padded[2 * h : 2 * h + 4] @ window for h in range(4)])
print("window of dx", window)
print("dx slow", slow_dx, " fast", fast_dx, " equal:", np.array_equal(slow_dx, fast_dx))

# Backward, weights: a gradient for each v, then each goes to every w that was summed into it. Equation (6).
padded = np.pad(x, 1)
dv = {p: np.array([padded[p + k : p + k + 4] @ dz[p::2] for k in (0, 1)]) for p in (0, 1)}
fast_dw = np.array([dv[0][0] + dv[1][0], dv[0][1] + dv[1][0], dv[0][1] + dv[1][1]])
slow_dw = np.array([np.pad(large, 1)[r : r + 8] @ dz for r in range(3)])
print("dw slow", slow_dw, " fast", fast_dw, " equal:", np.array_equal(slow_dw, fast_dw), "\n")

# Two dimensions: rows and columns choose their phase independently, so there are four. Which taps make up each v?
letters = "abcd"
for p, q in ((0, 0), (0, 1), (1, 0), (1, 1)):
    print(f"phase p={p} q={q}: taps of w by the v[u, t] that they are summed into (a b / c d)")
    for r in range(3):
        print("   ", " ".join(letters[2 * ((r + 1 - p) // 2) + (s + 1 - q) // 2] for s in range(3)))

# The project's operation, on an image, against the slow way.
rng = np.random.default_rng(0)
image, weights = rng.normal(size=(1, 4, 5, 2)), rng.normal(size=(3, 3, 2, 3))
y = upsample2x_conv3x3.forward(image, weights, np.zeros(3), "none")
image_large = np.pad(image.repeat(2, 1).repeat(2, 2), [(0, 0), (1, 1), (1, 1), (0, 0)])
slow = sum(image_large[:, r : r + 8, s : s + 10] @ weights[r, s] for r in range(3) for s in range(3))
print("\nin two dimensions, equal:", np.allclose(y, slow))
# Try: "x = np.array([1.0, 2, 3, 4])" -> "x = np.array([0.0, 1, 0, 0])" shows what sees x[1]: "0. 100. 110.  11.   1."
# Try: "w[0], w[1] + w[2]]" -> "w[0] + w[1], w[2]]" takes phase 1's sets for phase 0: "equal: False"
