"""One pass a row of logits, in float64: a few thousand numbers, not worth vectors."""

import math

import numpy as np

from ltbc.kernels.cpu.buffers import check_storage, deliver
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.threads import forall


def value_and_gradient(z, labels, scale, kind, *, out=None):
    check_storage("class_loss", z)
    logits, losses = np.ascontiguousarray(z, np.float32), np.empty(z.shape[0])
    dz = out if out is not None and out.dtype == np.float32 and out.flags.c_contiguous else np.empty_like(logits)
    forall(loss_of_row, z.shape[0], 0, logits, labels.astype(np.int64), scale / max(z.shape[0], 1), kind == "softmax",
           losses, dz)
    if out is None:
        return np.float32(losses.mean()), dz.astype(z.dtype, copy=False)
    return np.float32(losses.mean()), deliver(out, dz)


@compiled
def loss_of_row(first, last, scratch, z, labels, factor, softmax, losses, dz):
    """Unit: an image."""
    for n in range(first, last):
        total = 0.0
        if softmax:
            largest = np.float64(z[n].max())
            for k in range(z.shape[1]):
                total += math.exp(z[n, k] - largest)
            log_total = math.log(total)
            losses[n] = log_total - (z[n, labels[n]] - largest)
            for k in range(z.shape[1]):
                dz[n, k] = factor * (math.exp(z[n, k] - largest - log_total) - (k == labels[n]))
        else:  # the true class is one of -z: log(1 + e^z) - z = log(1 + e^-z), and p - 1 = -sigmoid(-z)
            for k in range(z.shape[1]):
                sign = -1.0 if k == labels[n] else 1.0
                logit = sign * z[n, k]
                e = math.exp(-abs(logit))
                total += max(logit, 0.0) + math.log1p(e)
                dz[n, k] = sign * factor * (1 if logit > 0 else e) / (1 + e)
            losses[n] = total
