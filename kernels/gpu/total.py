"""The second pass of both losses: the ordered sum of what the programs of the first one found."""

from ltbc.kernels.arrays import Array
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import tl, triton

BLOCK = 1024


# total = factor * the sum of parts [K], by one program: block by block into BLOCK sums, then these. The order is
# fixed. Small; bound by latency.
@triton.jit
def total_kernel(parts, total, K, factor, BLOCK: tl.constexpr):
    sums = tl.zeros((BLOCK,), tl.float32)  # [BLOCK]
    for k0 in range(0, K, BLOCK):
        k = k0 + tl.arange(0, BLOCK)
        sums += tl.load(parts + k, mask=k < K, other=0.0)
    tl.store(total, tl.sum(sums, 0) * factor)


def total(parts: Array, factor: float) -> Array:
    """factor times the sum of `parts` [K], as a new float32 array of shape [] that stays on the device."""
    result = launch.empty((), "float32")
    launch.run(total_kernel, (1,), parts, result, parts.size, factor, BLOCK=BLOCK, num_warps=4)
    return result
