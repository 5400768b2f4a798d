"""Plain array code, in blocks that stay in the cache."""

from ltbc.kernels.arrays import array_module

BLOCK = 1 << 16  # elements: six arrays of 256 KB


def step(p, g, eg, ed, lr, rho, eps, *, low=None):
    xp = array_module(p)
    for start in range(0, p.size, BLOCK):
        at = slice(start, start + BLOCK)
        eg[at] *= rho
        eg[at] += (1 - rho) * g[at] * g[at]
        d = g[at] * xp.sqrt((ed[at] + eps) / (eg[at] + eps))
        ed[at] *= rho
        ed[at] += (1 - rho) * d * d
        p[at] -= lr * d
        if low is not None:
            low[at] = p[at]
