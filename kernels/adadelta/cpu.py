"""One pass in vectors: 16 bytes are read and 12 written for each parameter, 14 with the low-precision copy."""

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import FLOAT, FLOAT32, LANES, LIKE
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.vector import load_part, muladd, root, size_of, splat, store_part

UNIT = 1 << 16  # parameters


def step(p, g, eg, ed, lr, rho, eps, *, low=None):
    if p.dtype != FLOAT32:
        raise TypeError(f"adadelta: the cpu backend takes float32, got {p.dtype}; use backend='reference'")
    buffers = [np.ascontiguousarray(x) for x in (p, g, eg, ed)]
    # without a low copy, p is written a second time: cheaper than a kernel of its own
    rounded = buffers[0] if low is None else low if low.dtype in LIKE and low.flags.c_contiguous else buffers[0].copy()
    constants = np.array([lr, rho, 1 - rho, eps], np.float32)
    units = -(-p.size // UNIT)
    forall(update, units, 0, LIKE[rounded.dtype], *map(address, buffers), address(rounded), p.size, constants)
    for x, written in zip((p, g, eg, ed), buffers):
        if written is not x and x is not g:
            x[...] = written
    if low is not None and rounded is not low:
        low[...] = p


@compiled
def update(first, last, scratch, like_low, p, g, eg, ed, low, size, constants):
    """Unit: UNIT parameters."""
    lr, rho, rest, eps = (splat(constants[0]), splat(constants[1]), splat(constants[2]), splat(constants[3]))
    for start in range(first * UNIT, min(last * UNIT, size), LANES):
        at, n = 4 * start, size - start
        gradient, old = load_part(FLOAT, g + at, n), load_part(FLOAT, ed + at, n)
        new = muladd(rest, gradient * gradient, rho * load_part(FLOAT, eg + at, n))
        d = gradient * root((old + eps) / (new + eps))
        store_part(FLOAT, eg + at, new, n)
        store_part(FLOAT, ed + at, muladd(rest, d * d, rho * old), n)
        parameter = load_part(FLOAT, p + at, n) - lr * d
        store_part(FLOAT, p + at, parameter, n)
        store_part(like_low, low + size_of(like_low) * start, parameter, n)
