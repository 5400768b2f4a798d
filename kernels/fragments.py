"""What Triton kernels of several operations share: activations, boxes of pixels, the ordered sum of partial results.

The pixels that a program computes form a box [BLOCK_N images, BLOCK_H rows, BLOCK_W columns], numbered
p = (n * BLOCK_H + i) * BLOCK_W + j: what tensor descriptors can move in one piece, and what costs pointers only shifts,
because the sides are powers of two.
"""

from functools import lru_cache

from kernels.launch import cdiv, tl, triton


@lru_cache
def pixel_box(n: int, h: int, w: int, pixels: int) -> tuple[int, int, int]:
    """The box of `pixels` (a power of two) pixels that covers n images of h x w with the fewest boxes: 112 and 56 are
    multiples of 8, 28 of 4, 14 of 2, and for 7 a box spans images alone. Among equals the one of the fewest images,
    then the one nearest to a square, because neighbors share what their windows read."""
    powers = [1 << k for k in range(pixels.bit_length())]
    boxes = [(pixels // (i * j), i, j) for i in powers for j in powers if i * j <= pixels]

    def cost(box: tuple[int, int, int]) -> tuple[int, int, int]:
        count = cdiv(n, box[0]) * cdiv(h, box[1]) * cdiv(w, box[2])
        return count, box[0], abs(box[2] - box[1])

    return min((box for box in boxes if max(box) <= 256), key=cost)


@triton.jit
def activate(z, ACTIVATION: tl.constexpr):
    """act(z) of float32 z. The maximum keeps NaN, as NumPy's does: a broken value shall not turn into 0."""
    if ACTIVATION == "relu":
        z = tl.maximum(z, 0.0, propagate_nan=tl.PropagateNan.ALL)
    elif ACTIVATION == "sigmoid":
        z = tl.sigmoid(z)
    return z


@triton.jit
def activation_backward(dy, y, ACTIVATION: tl.constexpr):
    """dz = dy act'(z), the derivative taken from y; in dy's dtype for relu (exact), else float32."""
    if ACTIVATION == "relu":
        dy = tl.where(y > 0, dy, 0.0)
    elif ACTIVATION == "sigmoid":
        y = y.to(tl.float32)
        dy = dy.to(tl.float32) * (y * (1.0 - y))
    return dy


@triton.jit
def box_corner(t, I_TILES, J_TILES, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr):
    """First image, row and column of box number t; columns run fastest."""
    return t // (I_TILES * J_TILES) * BLOCK_N, t // J_TILES % I_TILES * BLOCK_H, t % J_TILES * BLOCK_W


@triton.jit
def box_pixels(n, i, j, BLOCK_N: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr):
    """Image, row and column, each [BLOCK_P], of the pixels of the box whose corner is (n, i, j)."""
    p = tl.arange(0, BLOCK_N * BLOCK_H * BLOCK_W)
    return n + p // (BLOCK_H * BLOCK_W), i + p // BLOCK_W % BLOCK_H, j + p % BLOCK_W
