"""Plain array code, both kinds written so that no exponential can overflow."""

from ltbc.kernels.arrays import activate, array_module, sum_dtype
from ltbc.kernels.im2col import write


def value_and_gradient(z, labels, scale, kind, *, out=None):
    xp, n = array_module(z), z.shape[0]
    z_sum = z.astype(sum_dtype(z.dtype))
    true = xp.arange(n), labels
    if kind == "softmax":
        z_sum -= z_sum.max(1, keepdims=True)
        log_total = xp.log(xp.exp(z_sum).sum(1))
        loss = (log_total - z_sum[true]).sum() / n
        p = xp.exp(z_sum - log_total[:, None])
    else:  # -(t log p + (1-t) log(1-p)) = log(1 + e^z) - t z
        softplus = xp.maximum(z_sum, 0) + xp.log1p(xp.exp(-xp.abs(z_sum)))
        loss = (softplus.sum() - z_sum[true].sum()) / n
        p = activate(z_sum, "sigmoid")
    p[true] -= 1
    p *= scale / n
    return loss, write(out, p.astype(z.dtype, copy=False))
