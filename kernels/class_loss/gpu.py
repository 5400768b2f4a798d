"""The class loss as a Triton kernel that writes the gradient and a loss an image; `kernels/gpu/total.py` adds them."""

from ltbc.kernels.class_loss import OP
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import tl, triton
from ltbc.kernels.gpu.total import total

CLASSES = 1 << 16  # at most: a program holds an image's scores in registers


@triton.jit
def log1p(e):
    """log(1 + e) for 0 <= e <= 1, to float32's accuracy also near 0: 2 artanh(s), s = e / (2 + e), as a series."""
    s = e / (2.0 + e)
    q, series = s * s, tl.zeros_like(e)
    for k in tl.static_range(8):
        series = series * q + 1.0 / (15 - 2 * k)
    return 2.0 * s * series


# One image a program: z [K] is read once, and dz and the image's loss are written. A label that is no class gives NaN,
# for nobody looks at labels that lie on the GPU. Small; bound by latency.
@triton.jit
def loss_kernel(
    z, labels, dz, parts,
    factor,
    K: tl.constexpr, SOFTMAX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n, k = tl.program_id(0), tl.arange(0, BLOCK)  # [BLOCK]
    scores = tl.load(z + n * K + k, mask=k < K, other=float("-inf")).to(tl.float32)
    label = tl.load(labels + n).to(tl.int64)
    if SOFTMAX:
        largest = tl.max(scores, 0)
        exponentials = tl.exp(scores - largest)
        sum_of_exponentials = tl.sum(exponentials, 0)
        true = tl.sum(tl.where(k == label, scores - largest, 0.0), 0)
        loss, p = tl.log(sum_of_exponentials) - true, exponentials / sum_of_exponentials
    else:  # -log(1-p) = log(1 + e^z), and -log p the same of -z
        against = tl.where(k == label, -scores, scores)
        loss = tl.sum(tl.maximum(against, 0.0) + log1p(tl.exp(-tl.abs(against))), 0)
        p = tl.sigmoid(scores)
    loss = tl.where((label >= 0) & (label < K), loss, float("nan"))
    tl.store(parts + n, loss)
    gradient = (p - tl.where(k == label, 1.0, 0.0)) * factor
    tl.store(dz + n * K + k, gradient.to(dz.dtype.element_ty), mask=k < K)


def value_and_gradient(z, labels, scale, kind, *, out=None):
    launch.check(OP, z=z, labels=labels, out=out)
    n, classes = z.shape
    if classes > CLASSES:
        raise ValueError(f"{OP}: backend gpu takes up to {CLASSES} classes, got {classes}; use backend='reference'")
    dz = launch.empty(z.shape, z.dtype) if out is None else out
    parts, block = launch.workspace("class_loss.parts", (n,)), triton.next_power_of_2(classes)
    launch.run(
        loss_kernel, (n,), z, labels, dz, parts, float(scale) / n,
        K=classes, SOFTMAX=kind == "softmax", BLOCK=block, num_warps=4 if block <= 4096 else 8,
    )
    return total(parts, 1 / n), dz
