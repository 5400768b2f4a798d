"""Boxes of pixels, as the host sees them: which box, which tile, which descriptor; and how sums over pixels are split.

The kernels' side of it is `kernels/gpu/fragments.py`.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ltbc.kernels.arrays import Array, sum_dtype
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.fragments import sum_splits_kernel
from ltbc.kernels.gpu.launch import box, cdiv

PROGRAMS = 264  # that a sum over pixels is split into, about: two for each of 132 multiprocessors. Not measured
MAX_PARTS = 1 << 24  # elements of partial sums
SUM_BLOCK = 1024


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


class Tiling(NamedTuple):
    """How programs cover a grid of pixels [N, H, W]."""

    sides: tuple[int, int, int]  # of a box
    boxes: int
    shape: tuple[int, int]  # boxes a column and a row of the image
    tile: dict[str, int]  # constexpr arguments of the kernel: sides, channels, warps, stages


def tiling(rows: list[dict], arrays: tuple[Array, ...], grid: tuple[int, ...], **channels: int) -> Tiling:
    """The table's tile for arrays of those dtypes (the widest counts), a grid [N, H, W, ...] and channel counts by the
    table's names, and the boxes that its BLOCK_P makes of the grid."""
    n, h, w = grid[:3]
    size = max(a.dtype.itemsize for a in arrays)
    tile = launch.pick(rows, bytes=size, pixels=n * h * w, **channels)
    sides = pixel_box(n, h, w, tile.pop("BLOCK_P"))
    tile |= dict(zip(("BLOCK_N", "BLOCK_H", "BLOCK_W"), sides))
    i, j = cdiv(h, sides[1]), cdiv(w, sides[2])
    return Tiling(sides, cdiv(n, sides[0]) * i * j, (i, j), tile)


def image(x: Array, sides: tuple[int, int, int], channels: int, stride: int = 1) -> Any:
    """A descriptor that moves boxes of pixels and `channels`; at stride 2 of every second row and column, x being seen
    as [N, H/2, 2, W/2, 2 C]."""
    if stride == 1:
        return box(x, x.shape, (*sides, channels))
    n, h, w, c = x.shape
    return box(x, (n, h // 2, 2, w // 2, 2 * c), (sides[0], sides[1], 1, sides[2], channels))


def even(x: Array, stride: int) -> bool:
    """Whether x can be seen as `image` sees it."""
    return stride == 1 or (x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0)


class Splits(NamedTuple):
    """A sum over boxes of pixels in `number` splits of `boxes` boxes; split k writes rows of `dw` and `db` that lie
    k * step elements further: those of `parts`, or where there is one split the results themselves."""

    number: int
    boxes: int
    step: int
    dw: Array
    db: Array
    parts: Array | None


def split(op: str, shape: tuple[int, ...], outputs: int, boxes: int, programs: int, dw: Array, db: Array) -> Splits:
    """Splits `boxes` boxes so that PROGRAMS programs are busy, when one split keeps `programs` busy; shape: of a row
    of partial dw, outputs: of db. How depends on shapes alone, so the sums have the same bits on every run."""
    size = int(np.prod(shape)) + outputs
    count = max(1, min(boxes, PROGRAMS // programs, MAX_PARTS // size))
    boxes_a_split = cdiv(boxes, count)
    count = max(1, cdiv(boxes, max(1, boxes_a_split)))
    if count == 1 and dw.shape == shape:
        return Splits(1, boxes_a_split, 0, dw, db, None)
    parts = launch.workspace(f"{op}.parts", (count, size))
    return Splits(count, boxes_a_split, size, parts, parts.reshape(-1)[size - outputs :], parts)


def finish(splits: Splits, dw: Array, db: Array) -> tuple[Array, Array]:
    """dw and db, the sums of all splits."""
    if splits.parts is not None:
        grid = (cdiv(dw.size + db.size, SUM_BLOCK),)
        launch.run(
            sum_splits_kernel, grid, splits.parts, dw, db, splits.number, dw.size, db.size, BLOCK=SUM_BLOCK, num_warps=4
        )
    return dw, db


def gradients(w: Array, dw: Array | None, db: Array | None) -> tuple[Array, Array]:
    """Buffers for dw and db: those given, or new ones in the dtype that sums are kept in."""
    dtype = sum_dtype(w.dtype)
    dw = launch.empty(w.shape, dtype) if dw is None else dw
    return dw, launch.empty(w.shape[-1:], dtype) if db is None else db
