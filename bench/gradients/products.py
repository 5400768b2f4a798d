"""Products: transposed weights, sums over broadcast axes, indices, attention, factorizations."""

import numpy as np

from bench.gradients import Pair, entry
from bench.gradients.elementwise import SIZES
from bench.gradients.rows import softmax, softmax_backward


@entry()
def dense(rng, n):
    def backward(dy, x, w, b):
        return dy @ w.T, x.T @ dy, dy.sum(0)

    def one_weight(dy, x, w, b):
        dx, dw, db = backward(dy, x, w, b)
        dw[2, 1] *= 0.5
        return dx, dw, db

    square = {"x": rng.normal(size=(5, 4)), "w": rng.normal(size=(4, 4)), "b": rng.normal(size=4)}
    return Pair(lambda x, w, b: x @ w + b, backward, square, wrong={
        "weights not transposed": lambda dy, x, w, b: (dy @ w, x.T @ dy, dy.sum(0)),
        "dw transposed": lambda dy, x, w, b: (dy @ w.T, dy.T @ x, dy.sum(0)),
        "bias not summed over the batch": lambda dy, x, w, b: (dy @ w.T, x.T @ dy, dy[0]),
        "dw divided by the batch size": lambda dy, x, w, b: (dy @ w.T, x.T @ dy / len(x), dy.sum(0)),
        "one weight's gradient is half": one_weight,
        "gradients in another order": lambda dy, x, w, b: (dy @ w.T, dy.sum(0), x.T @ dy),
        "a gradient of zeros": lambda dy, x, w, b: (dy @ w.T, 0 * w, dy.sum(0)),
    })


@entry(*SIZES)
def scale_and_shift(rng, n):
    """x of n elements, a and b broadcast over its rows."""

    def backward(dy, x, a, b):
        return dy * a, (dy * x).sum(0), dy.sum(0)

    def without_last_row(dy, x, a, b):
        return dy * a, (dy * x)[:-1].sum(0), dy.sum(0)

    arguments = {"x": rng.normal(size=(max(2, n // 5), 5)), "a": rng.normal(size=5), "b": rng.normal(size=5)}
    return Pair(lambda x, a, b: x * a + b, backward, arguments, wrong={
        "the last row is not counted": without_last_row,
        "mean for sum": lambda dy, x, a, b: (dy * a, (dy * x).mean(0), dy.sum(0)),
    })


@entry()
def outer_sum(rng, n):
    def backward(dy, a, b):
        return dy.sum(1, keepdims=True), dy.sum(0, keepdims=True)

    return Pair(lambda a, b: a + b, backward, {"a": rng.normal(size=(4, 1)), "b": rng.normal(size=(1, 4))}, wrong={
        "the other axis": lambda dy, a, b: (dy.sum(0, keepdims=True).T, dy.sum(1, keepdims=True).T),
        "the first column": lambda dy, a, b: (dy[:, :1], dy.sum(0, keepdims=True)),
    })


@entry()
def bilinear_by_einsum(rng, n):
    def backward(dy, a, w, b):
        return (np.einsum("no,iko,nk->ni", dy, w, b), np.einsum("no,ni,nk->iko", dy, a, b),
                np.einsum("no,iko,ni->nk", dy, w, a))

    arguments = {"a": rng.normal(size=(3, 4)), "w": rng.normal(size=(4, 4, 2)), "b": rng.normal(size=(3, 4))}
    return Pair(lambda a, w, b: np.einsum("ni,iko,nk->no", a, w, b), backward, arguments, wrong={
        "axes of w exchanged": lambda dy, a, w, b: (
            backward(dy, a, w, b)[0], np.einsum("no,ni,nk->kio", dy, a, b), backward(dy, a, w, b)[2]),
        "da contracts the wrong axis": lambda dy, a, w, b: (
            np.einsum("no,iko,ni->nk", dy, w, b), *backward(dy, a, w, b)[1:]),
    })


@entry()
def low_rank_update(rng, n):
    def backward(dy, x, a, b):
        return dy @ (a @ b).T, x.T @ dy @ b.T, (x @ a).T @ dy

    arguments = {"x": rng.normal(size=(5, 4)), "a": rng.normal(size=(4, 2)), "b": rng.normal(size=(2, 4))}
    return Pair(lambda x, a, b: x @ a @ b, backward, arguments, wrong={
        "b from x alone": lambda dy, x, a, b: (*backward(dy, x, a, b)[:2], a.T @ x.T @ dy * 0.5)})


@entry()
def attention(rng, n):
    mask = np.where(np.tri(5, dtype=bool), 0.0, -1e30)

    def weights(q, k):
        return softmax(q @ k.T / np.sqrt(q.shape[1]) + mask)

    def backward(dy, q, k, v, unscaled=False, masked=True):
        p = weights(q, k) if masked else softmax(q @ k.T / np.sqrt(q.shape[1]))
        ds = softmax_backward(dy @ v.T, p) / (1 if unscaled else np.sqrt(q.shape[1]))
        return ds @ k, ds.T @ q, p.T @ dy

    def key_not_transposed(dy, q, k, v):
        dq, _, dv = backward(dy, q, k, v)
        return dq, softmax_backward(dy @ v.T, weights(q, k)) @ q / np.sqrt(q.shape[1]), dv

    arguments = {name: rng.normal(size=(5, 4)) for name in "qkv"}
    return Pair(lambda q, k, v: weights(q, k) @ v, backward, arguments, wrong={
        "forgets the scale": lambda dy, q, k, v: backward(dy, q, k, v, unscaled=True),
        "forgets the mask": lambda dy, q, k, v: backward(dy, q, k, v, masked=False),
        "dk not transposed": key_not_transposed,
        "softmax's sum forgotten": lambda dy, q, k, v: (
            weights(q, k) * (dy @ v.T) @ k / 2, *backward(dy, q, k, v)[1:]),
    })


@entry()
def masked_scores(rng, n):
    """The mask stands in the output; what is masked has no gradient."""
    keep = rng.uniform(size=(6, 6)) < 0.6
    return Pair(lambda s: np.where(keep, s, -1e30), lambda dy, s: dy * keep, {"s": rng.normal(size=(6, 6))}, wrong={
        "zeros everywhere": lambda dy, s: 0 * dy, "the mask inverted": lambda dy, s: dy * ~keep,
    })


@entry()
def embedding(rng, n):
    def backward(dy, table, index):
        found = np.zeros_like(table)
        np.add.at(found, index, dy)
        return found

    def overwritten(dy, table, index):
        found = np.zeros_like(table)
        found[index] += dy
        return found

    arguments = {"table": rng.normal(size=(6, 3)), "index": np.array([0, 2, 2, 5, 2])}
    return Pair(lambda table, index: table[index], backward, arguments, wrong={
        "duplicates overwritten": overwritten,
        "averaged over duplicates": lambda dy, table, index: backward(dy, table, index) / np.maximum(
            np.bincount(index, minlength=6), 1)[:, None],
        "padding row skipped": lambda dy, table, index: backward(dy, table, index) * (np.arange(6) > 0)[:, None],
    })


@entry()
def rotary_positions(rng, n):
    angle = np.arange(5)[:, None] / 10.0 ** np.arange(2)

    def rotate(x, angle):
        a, b, c, s = x[:, :2], x[:, 2:], np.cos(angle), np.sin(angle)
        return np.concatenate([a * c - b * s, a * s + b * c], 1)

    return Pair(lambda x: rotate(x, angle), lambda dy, x: rotate(dy, -angle), {"x": rng.normal(size=(5, 4))},
                wrong={"rotated forward again": lambda dy, x: rotate(dy, angle)})


@entry()
def inverse(rng, n):
    return Pair(np.linalg.inv, lambda dy, a, y: -y.T @ dy @ y.T, {"a": rng.normal(size=(4, 4)) + 3 * np.eye(4)},
                takes="ay", wrong={"not transposed": lambda dy, a, y: -y @ dy @ y,
                                   "sign": lambda dy, a, y: y.T @ dy @ y.T})


@entry()
def log_determinant(rng, n):
    return Pair(lambda a: np.linalg.slogdet(a)[1], lambda dy, a: dy * np.linalg.inv(a).T,
                {"a": rng.normal(size=(4, 4)) + 3 * np.eye(4)}, wrong={
        "not transposed": lambda dy, a: dy * np.linalg.inv(a)})


def cholesky_backward(dy, a, factor):
    inner = np.tril(factor.T @ dy)
    inner[np.diag_indices(len(a))] /= 2
    inverse = np.linalg.inv(factor)
    s = inverse.T @ inner @ inverse
    return (s + s.T) / 2


def definite(rng, n):
    a = rng.normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


@entry()
def cholesky_along_symmetric_matrices(rng, n):
    """The factorization reads one triangle; its gradient holds for changes that stay symmetric."""
    return Pair(np.linalg.cholesky, lambda dy, a, y: cholesky_backward(dy, a, y), {"a": definite(rng, 4)}, takes="ay",
                tangent={"a": "symmetric"}, wrong={
        "diagonal not halved": lambda dy, a, y: cholesky_backward(dy + np.diag(np.diag(dy)), a, y)})


@entry()
def cholesky_of_the_symmetric_part(rng, n):
    return Pair(lambda a: np.linalg.cholesky((a + a.T) / 2), lambda dy, a, y: cholesky_backward(dy, a, y),
                {"a": definite(rng, 4)}, takes="ay", wrong={
        "of one triangle": lambda dy, a, y: np.tril(cholesky_backward(dy, a, y))})


@entry()
def quadratic_form(rng, n):
    def backward(dy, x, a):
        return dy * (a + a.T) @ x, dy * np.outer(x, x)

    return Pair(lambda x, a: x @ a @ x, backward, {"x": rng.normal(size=4), "a": rng.normal(size=(4, 4))}, wrong={
        "a taken for symmetric": lambda dy, x, a: (2 * dy * a @ x, backward(dy, x, a)[1])})
