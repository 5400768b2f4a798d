"""Adadelta as one Triton kernel over the flat buffers of all parameters."""

from ltbc.kernels.adadelta import OP
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import cdiv, tl, triton

TILES = launch.tiles(OP)


# BLOCK parameters a program, everything in one pass: 16 bytes are read and 12 written for each, 14 with the
# low-precision copy. Bound by memory.
@triton.jit
def step_kernel(
    p, g, eg, ed, low,
    K, lr, rho, rest, eps,
    BLOCK: tl.constexpr,
):
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    inside = k < K
    gradient, old = tl.load(g + k, mask=inside, other=0.0), tl.load(ed + k, mask=inside, other=0.0)
    new = rho * tl.load(eg + k, mask=inside, other=0.0) + rest * gradient * gradient
    d = gradient * tl.sqrt((old + eps) / (new + eps))
    value = tl.load(p + k, mask=inside, other=0.0) - lr * d
    tl.store(eg + k, new, mask=inside)
    tl.store(ed + k, rho * old + rest * d * d, mask=inside)
    tl.store(p + k, value, mask=inside)
    if low is not None:
        tl.store(low + k, value.to(low.dtype.element_ty), mask=inside)


def step(p, g, eg, ed, lr, rho, eps, *, low=None):
    launch.check(OP, p=p, g=g, eg=eg, ed=ed, low=low)
    tile = launch.pick(TILES["step"])
    launch.run(
        step_kernel, (cdiv(p.size, tile["BLOCK"]),), p, g, eg, ed, low,
        p.size, float(lr), float(rho), float(1 - rho), float(eps), **tile,
    )
