"""Exercise 6. A solution."""

import numpy as np


def chroma(y, target):
    return ((y - target) ** 2).mean(), 2 * (y - target) / y.size


def classes(z, labels):
    e = np.exp(z - z.max(1, keepdims=True))  # raising all scores alike changes nothing
    p, rows = e / e.sum(1, keepdims=True), np.arange(len(z))
    dz = p.copy()
    dz[rows, labels] -= 1
    return -np.log(p[rows, labels]).mean(), dz / len(z)
