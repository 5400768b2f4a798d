"""Lesson 6: find the bug. Five backward passes, each with one planted error; the checker judges.

    python lessons/6_find_the_bug.py

Read what the checker says, find the error, mend it here, run again, until all five are right. The forward functions are
right. (Solutions: tests/test_lessons.py.) To write backward passes yourself: python -m lessons.
"""

import sys

import numpy as np

sys.path.insert(0, sys.path[0] + "/..")  # the project's folder

from gradcheck import GradientError, check_gradients
from ltbc import program

program.begin()  # so that Ctrl-C and `| head` end it quietly
draw = np.random.default_rng(0).normal


def linear(x, w, b):
    return x @ w + b


def linear_backward(dy, x, w, b):  # exercise 1
    return dy @ w.T, x.T @ dy, dy[0]


def upsample(x):
    return x.repeat(2, 0).repeat(2, 1)


def upsample_backward(dy, x):  # exercise 2
    return dy.reshape(len(x), 2, -1, 2).mean((1, 3))


def fuse(mid, vector, w):  # mid [P, 3], vector [2], w [5, 4]: [vector ; mid] w at each of P pixels
    return vector @ w[:2] + mid @ w[2:]


def fuse_backward(dy, mid, vector, w):  # exercise 3
    dw = np.concatenate([np.outer(vector, dy.sum(0)), mid.T @ dy])
    return dy @ w[2:].T, w[:2] @ dy.mean(0), dw


def halve(x, w):  # a convolution of stride 2 in one dimension, three taps, padding 1
    padded = np.pad(x, 1)
    return padded[0:-2:2] * w[0] + padded[1:-1:2] * w[1] + padded[2::2] * w[2]


def halve_backward(dy, x, w):  # exercise 4: even pixels see tap 1, odd ones two taps
    dx, ahead = np.empty_like(x), np.append(dy[1:], 0)
    dx[0::2], dx[1::2] = dy * w[1], dy * w[0] + ahead * w[2]
    padded = np.pad(x, 1)
    return dx, np.array([padded[r : r + len(x) : 2] @ dy for r in range(3)])


def cross_entropy(z, label):
    return np.log(np.exp(z).sum()) - z[label]


def cross_entropy_backward(dy, z, label):  # exercise 5
    p = np.exp(z) / np.exp(z).sum()
    p[label] = p[label] * (1 - p[label])
    return dy * p


for number, (forward, backward, arguments) in enumerate((
    (linear, linear_backward, {"x": draw(size=(4, 3)), "w": draw(size=(3, 2)), "b": draw(size=2)}),
    (upsample, upsample_backward, {"x": draw(size=(2, 3))}),
    (fuse, fuse_backward, {"mid": draw(size=(6, 3)), "vector": draw(size=2), "w": draw(size=(5, 4))}),
    (halve, halve_backward, {"x": draw(size=8), "w": draw(size=3)}),
    (cross_entropy, cross_entropy_backward, {"z": draw(size=4), "label": 2}),
), 1):
    try:
        check_gradients(forward, backward, arguments, operation=forward.__name__)
        print(f"exercise {number}: right")
    except GradientError as error:
        print(f"exercise {number}: {error}")
