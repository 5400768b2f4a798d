"""Exercise 1. A solution."""


def forward(x, w, b):
    return x @ w + b


def backward(dy, x, w):
    return dy @ w.T, x.T @ dy, dy.sum(0)
