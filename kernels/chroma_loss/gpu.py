"""The chroma loss as a Triton kernel that writes the gradient and a sum of squares a program; `kernels/gpu/total.py`
adds these up."""

from ltbc.kernels.chroma_loss import OP
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import cdiv, tl, triton
from ltbc.kernels.gpu.total import total

TILES = launch.tiles(OP)


# dy = factor * (y - target) of BLOCK elements a program, and their sum of squares. Bound by memory.
@triton.jit
def loss_kernel(
    y, target, dy, parts,
    K, factor,
    BLOCK: tl.constexpr,
):
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
    predicted, true = tl.load(y + k, mask=k < K, other=0.0), tl.load(target + k, mask=k < K, other=0.0)
    difference = predicted.to(tl.float32) - true.to(tl.float32)
    tl.store(dy + k, (difference * factor).to(dy.dtype.element_ty), mask=k < K)
    tl.store(parts + tl.program_id(0), tl.sum(difference * difference, 0))


def value_and_gradient(y, target, scale, *, out=None):
    launch.check(OP, y=y, target=target, out=out)
    dy = launch.empty(y.shape, y.dtype) if out is None else out
    tile = launch.pick(TILES["loss"])
    programs = cdiv(y.size, tile["BLOCK"])
    parts = launch.workspace("chroma_loss.parts", (programs,))
    launch.run(loss_kernel, (programs,), y, target, dy, parts, y.size, float(scale) * 2 / y.size, **tile)
    return total(parts, 1 / y.size), dy
