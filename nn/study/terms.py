"""The products that one number of the network is the sum of: a layer's output at a place, or the loss's gradient there.

Equations as in the READMEs of `kernels/`. All arithmetic is NumPy's in float64, from what a backend stored.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ltbc.kernels.upsample2x_conv3x3 import ROW_SETS
from ltbc.nn.study.recording import Record

Place = tuple[int, int, int]  # row, column, channel; row and column are 0 where there is no image


class Terms(NamedTuple):
    """Products a[k] b[k], and how the factors are called. kind: what they are, for the reader. element: the channel of
    the first factor."""

    a: np.ndarray
    b: np.ndarray
    name_a: Callable[[int], str]
    name_b: Callable[[int], str]
    kind: str
    element: Callable[[int], int] = int


def window(image: np.ndarray, weights: np.ndarray, rows: list, columns: list, a: str, b: Callable, kind: str) -> Terms:
    """Sum over (r, i) in rows, (s, j) in columns, and channels of image[i, j] weights[r, s], where inside the image."""
    rows = [(r, i) for r, i in rows if 0 <= i < image.shape[0]]
    columns = [(s, j) for s, j in columns if 0 <= j < image.shape[1]]
    at = [(r, s, i, j, c) for r, i in rows for s, j in columns for c in range(image.shape[2])]
    r, s, i, j, c = np.array(at, int).reshape(-1, 5).T
    spell = (lambda k: f"{a}[{i[k]},{j[k]},{c[k]}]") if image.shape[:2] != (1, 1) else (lambda k: f"{a}[{c[k]}]")
    return Terms(image[i, j, c], weights[r, s, c], spell, lambda k: b(r[k], s[k], c[k]), kind, lambda k: int(c[k]))


def forward(record: Record, sources: tuple[str, ...], place: Place) -> list[Terms]:
    """What is added to the bias, for z at the place."""
    (i, j, o), spec, w, x = place, record.spec, record.w, record.inputs[0]
    name = sources[0]
    if spec.op == "conv3x3":
        rows, columns = ([(r, n * spec.stride + r - 1) for r in range(3)] for n in (i, j))
        return [window(x, w[..., o], rows, columns, name, lambda r, s, c: f"w[{r},{s},{c},{o}]", "windows")]
    if spec.op == "upsample2x_conv3x3":
        (p, q), (h, k) = (i % 2, j % 2), (i // 2, j // 2)
        rows, columns = [(u, h + p + u - 1) for u in (0, 1)], [(v, k + q + v - 1) for v in (0, 1)]
        v_pq = summed(w, p, q)[..., o]
        return [window(x, v_pq, rows, columns, name, lambda u, v, c: f"v_{p}{q}[{u},{v},{c},{o}]", "windows")]
    if spec.op == "fusion":
        cg = record.inputs[1].shape[2]
        vector = window(record.inputs[1], w[None, None, :cg, o], [(0, 0)], [(0, 0)], sources[1],
                        lambda r, s, c: f"w[{c},{o}]", "global vector")
        mid = window(x, w[None, None, cg:, o], [(0, i)], [(0, j)], name,
                     lambda r, s, c: f"w[{cg + c},{o}]", "mid-level features")
        return [vector, mid]
    return [window(x, w[None, None, :, o], [(0, i)], [(0, j)], name, lambda r, s, c: f"w[{c},{o}]", "features")]


def backward(record: Record, which: int, place: Place) -> list[Terms]:
    """What a layer adds to the gradient of its input number `which` at the place."""
    (h, k, c), spec, w, dz = place, record.spec, record.w, record.dz()
    name, x = f"dz of {spec.name} ", record.inputs[which]
    if spec.op == "conv3x3":
        rows, columns = (
            [(r, (n + 1 - r) // spec.stride) for r in range(3) if (n + 1 - r) % spec.stride == 0] for n in (h, k)
        )
        return [window(dz, w[:, :, c], rows, columns, name, lambda r, s, o: f"w[{r},{s},{c},{o}]", spec.name)]
    if spec.op == "upsample2x_conv3x3":
        phases, parts = (1, 0, 1, 0), (1, 1, 0, 0)  # p and u of rows 2h - 1 .. 2h + 2: equation (c)
        v = np.array([[summed(w, p, q)[u, t, c] for q, t in zip(phases, parts)] for p, u in zip(phases, parts)])
        rows, columns = [(t, 2 * h - 1 + t) for t in range(4)], [(t, 2 * k - 1 + t) for t in range(4)]
        return [window(dz, v, rows, columns, name, lambda r, s, o: (
            f"v_{phases[r]}{phases[s]}[{parts[r]},{parts[s]},{c},{o}]"), spec.name)]
    if spec.op == "fusion" and which == 1:
        s = dz.sum((0, 1), keepdims=True)
        return [window(s, w[None, None, c], [(0, 0)], [(0, 0)], "s", lambda r, s, o: f"w[{c},{o}]", "fusion")]
    if spec.op == "fusion":
        c += record.inputs[1].shape[2]
    elif x.shape[:2] != dz.shape[:2] or x.shape[2] != w.shape[0]:
        raise ValueError(f"{spec.name}: a linear layer takes a vector")
    return [window(dz, w[None, None, c], [(0, h)], [(0, k)], name, lambda r, s, o: f"w[{c},{o}]", spec.name)]


def weight_gradient(record: Record, sources: tuple[str, ...], index: tuple[int, ...]) -> Terms:
    """What is added up to the gradient of a weight: over all pixels, what it was multiplied with times dz there."""
    *taps, c, o = index
    spec, dz, x, name = record.spec, record.dz(), record.inputs[0], sources[0]
    if spec.op == "fusion":
        cg = record.inputs[1].shape[2]
        if c < cg:  # the vector's own: one number for all pixels
            return pairs(record.inputs[1], dz.sum((0, 1), keepdims=True), [((0, 0), (0, 0))], c, o, sources[1], "s")
        c -= cg
    at = [(i, j) for i in range(dz.shape[0]) for j in range(dz.shape[1])]
    if spec.op == "conv3x3":
        seen = [(spec.stride * i + taps[0] - 1, spec.stride * j + taps[1] - 1) for i, j in at]
    elif spec.op == "upsample2x_conv3x3":  # row h looks at row h // 2 of x
        seen = [((i + taps[0] - 1) // 2, (j + taps[1] - 1) // 2) for i, j in at]
    else:
        seen = at
    inside = [(s, d) for s, d in zip(seen, at) if 0 <= s[0] < x.shape[0] and 0 <= s[1] < x.shape[1]]
    return pairs(x, dz, inside, c, o, name, "dz")


def pairs(x: np.ndarray, dz: np.ndarray, at: list, c: int, o: int, name: str, second: str) -> Terms:
    """Products x[i, j, c] dz[h, k, o] at ((i, j), (h, k)) in turn."""
    (i, j), (h, k) = np.array(at, int).reshape(-1, 2, 2).transpose(1, 2, 0)
    of_x = (lambda n: f"{name}[{c}]") if x.shape[:2] == (1, 1) else (lambda n: f"{name}[{i[n]},{j[n]},{c}]")
    of_dz = (lambda n: f"{second}[{o}]") if dz.shape[:2] == (1, 1) else (lambda n: f"{second}[{h[n]},{k[n]},{o}]")
    return Terms(x[i, j, c], dz[h, k, o], of_x, of_dz, "pixels", lambda n: c)


def bias_gradient(record: Record, o: int) -> Terms:
    """What is added up to the gradient of a bias: dz at every pixel, each times 1."""
    dz = record.dz()[:, :, o]
    rows, columns = np.indices(dz.shape).reshape(2, -1)
    spell = (lambda k: f"dz[{rows[k]},{columns[k]},{o}]") if dz.size > 1 else (lambda k: f"dz[{o}]")
    return Terms(dz.ravel(), np.ones(dz.size), spell, lambda k: "", "pixels")


def summed(w: np.ndarray, p: int, q: int) -> np.ndarray:
    """v_pq `[2, 2, Cin, Cout]` of upsampling + convolution: equation (2)."""
    v = [[sum(w[r, s] for r in ROW_SETS[p][u] for s in ROW_SETS[q][t]) for t in (0, 1)] for u in (0, 1)]
    return np.array(v)


def one(a: float, b: float, name_a: str, name_b: str, kind: str) -> list[Terms]:
    """A single product, such as a loss has."""
    return [Terms(np.array([a]), np.array([b]), lambda k: name_a, lambda k: name_b, kind)]
