"""Exercise 5. A solution: the vector's part is a bias of the image; backward it sees the sum over all pixels."""

import numpy as np


def forward(mid, vector, w, b):
    cg = vector.shape[1]
    return mid @ w[cg:] + (vector @ w[:cg] + b)[:, None, None]


def backward(dy, mid, vector, w):
    cg, s = vector.shape[1], dy.sum((1, 2))
    dw = np.concatenate([vector.T @ s, np.einsum("nijc,nijo->co", mid, dy)])
    return dy @ w[cg:].T, s @ w[:cg].T, dw, s.sum(0)
