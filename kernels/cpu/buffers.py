"""Memory that kernels read and write: activation buffers within borders of zeros, and each thread's own."""

import threading
from typing import Any, NamedTuple

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.compiler import inlined
from ltbc.kernels.cpu.machine import LIKE, SPARE_ROWS

LOCAL = threading.local()


class Owner(np.ndarray):
    """The memory of an activation buffer, found again from its views; `pixels` and `images` say what was handed out."""

    pixels: tuple
    images: int


def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros, 64-byte aligned. `[N, H, W, C]`: in a border of zeros, 1 before and up to 4 after: whole 4x4 tiles, and
    SPARE_ROWS behind the last image."""
    if len(shape) != 4:
        return aligned(shape, dtype)
    n, h, w, c = shape
    height, width = -(-h // 4) * 4 + 2, -(-w // 4) * 4 + 2
    padded = aligned((n * height + SPARE_ROWS, width, c), dtype)[: n * height].reshape(n, height, width, c)
    pixels = padded[:, 1 : h + 1, 1 : w + 1]
    owner(padded).pixels = (pixels.shape[1:], pixels.strides, address(pixels), pixels.dtype)
    owner(padded).images = n
    return pixels


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros at a 64-byte boundary."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = Owner(size + 64, np.uint8)
    memory[:] = 0
    start = -address(memory) % 64
    return memory.view(np.ndarray)[start : start + size].view(dtype).reshape(shape)


def owner(x: Any) -> Any:
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


class Strides(NamedTuple):
    """Bytes from an image to the next, from row to row, from pixel to pixel."""

    image: int
    row: int
    pixel: int


def strides(x: np.ndarray) -> Strides:
    """Of x `[N, H, W, C]`."""
    return Strides(*x.strides[:3])


@inlined
def pixel_at(x, of, n, i, j):
    """The address of a pixel: x is that of pixel (0, 0) of image 0, `of` the strides."""
    return x + n * of.image + i * of.row + j * of.pixel


class Image(NamedTuple):
    """An image batch as products read it: the address of its first pixel, border included, and what lies from there on.

    border: width of the border of zeros around each image, 1 or 0. memory: keeps the address valid; None where that is
    the thread's own, which it keeps.
    """

    start: int
    strides: Strides
    channels: int
    dtype: np.dtype
    border: int
    memory: np.ndarray | None


def image(x: np.ndarray) -> Image:
    """x `[N, H, W, C]` itself where it came from `allocate`, else a copy."""
    shape, strides, start, dtype = getattr(owner(x), "pixels", (None, (1,), 0, None))
    whole = (x.shape[1:], x.strides, x.dtype) == (shape, strides, dtype)
    if not (whole and x.size and (address(x) - start) % strides[0] == 0):
        copy = allocate(x.shape, x.dtype)
        copy[...] = x
        x = copy
    first = address(x) - x.strides[1] - x.strides[2]  # a row and a pixel before (0, 0)
    return Image(first, Strides(*x.strides[:3]), x.shape[3], x.dtype, border=1, memory=x)


def whole(x: np.ndarray) -> Image | None:
    """x where it is all images of a buffer from `allocate`, zeros behind the last one, else None."""
    place = owner(x)
    if getattr(place, "images", 0) != len(x) or (x.shape[1:], x.strides, address(x), x.dtype) != place.pixels:
        return None
    return image(x)


def matrix(x: np.ndarray) -> Image:
    """x `[N, C]` as a batch of one-pixel images."""
    x = x if x.strides[1] == x.itemsize else np.ascontiguousarray(x)
    places = Strides(image=x.strides[0], row=x.strides[0], pixel=x.shape[1] * x.itemsize)
    return Image(address(x), places, x.shape[1], x.dtype, border=0, memory=x)


def result_buffer(out: np.ndarray | None, shape: tuple[int, ...], dtype: Any, whole: bool = False) -> np.ndarray:
    """Where a kernel may write: `out` if its channels (or, `whole`, all of it) are contiguous, else a new buffer."""
    if out is not None and out.dtype in LIKE and (out.strides[-1] == out.itemsize or out.shape[-1] == 1):
        if out.flags.c_contiguous or not whole:
            return out
    return aligned(shape, dtype) if whole else allocate(shape, dtype)


def deliver(out: np.ndarray | None, result: np.ndarray) -> np.ndarray:
    """The result, copied into `out` where it was not written there."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


def check_storage(op: str, *arrays: np.ndarray) -> None:
    """Raises TypeError unless all arrays are bfloat16 or float32."""
    for x in arrays:
        if x.dtype not in LIKE:
            raise TypeError(f"{op}: the cpu backend takes bfloat16 or float32, got {x.dtype}; use backend='reference'")


def own_memory(name: str, size: int) -> np.ndarray:
    """This thread's memory of that name, `size` bytes, aligned; valid until it is asked for again."""
    buffers = LOCAL.__dict__.setdefault("buffers", {})
    if name not in buffers or buffers[name].nbytes < size:
        buffers.pop(name, None)
        buffers[name] = aligned((size,), np.uint8)
    return buffers[name][:size]
