"""Every contract once more, word for word: its equations as loops over single numbers, in float64.

`results(case)` gives what the operation returns or changes, by name; layers without activation.
"""

from itertools import product
from math import exp, log, sqrt

import numpy as np

from ltbc.kernels.color import CHANNELS, RGB_TO_XYZ
from tests.tools.helpers import Case


def results(case: Case) -> dict[str, np.ndarray]:
    settings = {k: v for k, v in case.settings.items() if k != "activation"}
    return globals()[case.op](**case.arguments, **settings)


def conv3x3(x, w, b, dy, stride):
    """Equations (1) to (5)."""
    _, height, width, cin = x.shape
    y, dx, dw, db = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for m, i, j, o in np.ndindex(*dy.shape):
        y[m, i, j, o] = b[o]
        db[o] += dy[m, i, j, o]
        for r, s, c in product(range(3), range(3), range(cin)):
            h, k = i * stride + r - 1, j * stride + s - 1
            if 0 <= h < height and 0 <= k < width:
                y[m, i, j, o] += x[m, h, k, c] * w[r, s, c, o]
                dx[m, h, k, c] += dy[m, i, j, o] * w[r, s, c, o]
                dw[r, s, c, o] += x[m, h, k, c] * dy[m, i, j, o]
    return {"y": y, "dx": dx, "dw": dw, "db": db}


def upsample2x(x, dy):
    """Equations (1) and (2)."""
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for n, i, j, c in np.ndindex(*dy.shape):
        y[n, i, j, c] = x[n, i // 2, j // 2, c]
        dx[n, i // 2, j // 2, c] += dy[n, i, j, c]
    return {"y": y, "dx": dx}


def upsample2x_conv3x3(x, w, b, dy):
    """One after the other; no phases."""
    large = np.zeros((*dy.shape[:3], x.shape[3]))
    found = conv3x3(upsample2x(x, large)["y"], w, b, dy, 1)
    return found | {"dx": upsample2x(x, found["dx"])["dx"]}


def linear(x, w, b, dy):
    """Equations (1) and (3)."""
    y, dx, dw, db = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n, o in np.ndindex(*dy.shape):
        y[n, o] = b[o]
        db[o] += dy[n, o]
        for c in range(x.shape[1]):
            y[n, o] += x[n, c] * w[c, o]
            dx[n, c] += dy[n, o] * w[c, o]
            dw[c, o] += x[n, c] * dy[n, o]
    return {"y": y, "dx": dx, "dw": dw, "db": db}


def fusion(mid, global_, w, b, dy):
    """Equations (1) and (4) to (6)."""
    cg, cm = global_.shape[1], mid.shape[3]
    y, dmid, dglobal, dw, db = (np.zeros_like(a) for a in (dy, mid, global_, w, b))
    for n, i, j, o in np.ndindex(*dy.shape):
        y[n, i, j, o] = b[o]
        db[o] += dy[n, i, j, o]
        for g in range(cg):
            y[n, i, j, o] += global_[n, g] * w[g, o]
            dglobal[n, g] += dy[n, i, j, o] * w[g, o]
            dw[g, o] += global_[n, g] * dy[n, i, j, o]
        for c in range(cm):
            y[n, i, j, o] += mid[n, i, j, c] * w[cg + c, o]
            dmid[n, i, j, c] += dy[n, i, j, o] * w[cg + c, o]
            dw[cg + c, o] += mid[n, i, j, c] * dy[n, i, j, o]
    return {"y": y, "dmid": dmid, "dglobal": dglobal, "dw": dw, "db": db}


def chroma_loss(y, target, scale):
    """Equations (1) and (2)."""
    loss, dy = 0.0, np.zeros(y.shape)
    for at in np.ndindex(*y.shape):
        loss += (y[at] - target[at]) ** 2 / y.size
        dy[at] = scale * 2 / y.size * (y[at] - target[at])
    return {"loss": np.array(loss), "dy": dy}


def class_loss(z, labels, scale, kind):
    """Equations (1) to (4): for tame logits only."""
    n, classes = z.shape
    loss, dz = 0.0, np.zeros(z.shape)
    for m in range(n):
        for c in range(classes):
            t = float(c == labels[m])
            if kind == "softmax":
                p = exp(z[m, c]) / sum(exp(z[m, k]) for k in range(classes))
                loss -= t * log(p) / n
            else:
                p, q = 1 / (1 + exp(-z[m, c])), 1 / (1 + exp(z[m, c]))  # q = 1 - p, which cancels if written so
                loss -= (t * log(p) + (1 - t) * log(q)) / n
            dz[m, c] = scale / n * (p - t)
    return {"loss": np.array(loss), "dz": dz}


def adadelta(p, g, eg, ed, lr, rho, eps, low=None):
    """Equations (1) to (4)."""
    p, eg, ed = p.copy(), eg.copy(), ed.copy()
    for k in range(p.size):
        eg[k] = rho * eg[k] + (1 - rho) * g[k] ** 2
        d = g[k] * sqrt(ed[k] + eps) / sqrt(eg[k] + eps)
        ed[k] = rho * ed[k] + (1 - rho) * d**2
        p[k] -= lr * d
    return {"p": p, "g": g, "eg": eg, "ed": ed}


def color(rgb, space, size, top=None, left=None, flip=None):
    """`encode`, one target pixel at a time."""
    n, (h, w) = len(rgb), size
    codes = rgb.astype(np.float64) / (1 if rgb.dtype.kind == "f" else np.iinfo(rgb.dtype).max)
    top, left, flip = (np.zeros(n, int) if a is None else a for a in (top, left, flip))
    luminance, chroma = np.zeros((n, h, w, 1)), np.zeros((n, h // 2, w // 2, CHANNELS[space]))
    for m, i, j in np.ndindex(n, h, w):
        r, g, b = codes[m, top[m] + i, left[m] + (w - 1 - j if flip[m] else j)].tolist()
        light, lab = 0.299 * r + 0.587 * g + 0.114 * b, lab_of(r, g, b)
        full = {
            "lab": [(v + 110) / 220 for v in lab[1:]],
            "yuv": [0.492111 * (b - light) / 0.872 + 0.5, 0.877283 * (r - light) / 1.23 + 0.5],
            "rgb": [r, g, b],
        }[space]
        luminance[m, i, j] = lab[0] / 50 - 1 if space == "lab" else 2 * light - 1
        chroma[m, i // 2, j // 2] += np.array(full) / 4
    return {"luminance": luminance, "chroma": chroma}


def lab_of(*rgb):
    """Equations (1) to (3) of `color` for one pixel."""
    straight = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in rgb]
    xyz = [sum(m * v for m, v in zip(row, straight)) / sum(row) for row in RGB_TO_XYZ.tolist()]
    x, y, z = (t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
