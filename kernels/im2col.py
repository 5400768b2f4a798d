"""Windows of an image as rows of a matrix, band by band: what the reference convolutions are made of.

A band is as many output rows as keep its columns (the unrolled windows) in the cache; padded images carry a border
of one zero pixel. `start` moves the window within the padded image, `size` is 3 (a 3x3 kernel) or 2 (a phase of
upsampling + convolution).
"""

from collections.abc import Iterator

from ltbc.kernels.arrays import Array, array_module

BAND_BYTES = 16 << 20  # columns of one band: best of 1, 4, 16 MB over the network's layers (Zen 4, 32 MB of L3)


def pad(x: Array) -> Array:
    """x `[N, H, W, C]` with a border of one zero pixel."""
    n, h, k, c = x.shape
    padded = array_module(x).zeros((n, h + 2, k + 2, c), x.dtype)
    padded[:, 1:-1, 1:-1] = x
    return padded


def bands(n: int, rows: int, row_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Slices of images and of output rows, together about BAND_BYTES: several whole images where they fit."""
    fit = max(1, BAND_BYTES // row_bytes)
    images, rows_a_band = max(1, fit // rows), min(fit, rows)
    for i in range(0, n, images):
        for r in range(0, rows, rows_a_band):
            yield slice(i, min(i + images, n)), slice(r, min(r + rows_a_band, rows))


def windows(rows: slice, width: int, size: int, stride: int, start: tuple[int, int]) -> Iterator[tuple]:
    """For each tap of the window: its number, and the rows and columns of the padded image that it reads."""
    for tap in range(size * size):
        r, s = start[0] + tap // size, start[1] + tap % size
        yield (
            tap,
            slice(rows.start * stride + r, (rows.stop - 1) * stride + r + 1, stride),
            slice(s, (width - 1) * stride + s + 1, stride),
        )


def im2col(
    padded: Array, images: slice, rows: slice, width: int, size: int = 3, stride: int = 1,
    start: tuple[int, int] = (0, 0),
) -> Array:
    """The windows of a band, one output pixel a row: `[images * rows * width, size * size * C]`."""
    n, h, c = images.stop - images.start, rows.stop - rows.start, padded.shape[3]
    columns = array_module(padded).empty((n, h, width, size * size, c), padded.dtype)
    for tap, i, j in windows(rows, width, size, stride, start):
        columns[:, :, :, tap] = padded[images, i, j]
    return columns.reshape(n * h * width, size * size * c)


def add_col2im(
    padded: Array, columns: Array, images: slice, rows: slice, width: int, size: int = 3, stride: int = 1,
    start: tuple[int, int] = (0, 0),
) -> None:
    """The adjoint of im2col: adds each row of columns onto the window of `padded` that it stands for."""
    columns = columns.reshape(images.stop - images.start, rows.stop - rows.start, width, size * size, padded.shape[3])
    for tap, i, j in windows(rows, width, size, stride, start):
        padded[images, i, j] += columns[:, :, :, tap]


def write(out: Array | None, value: Array) -> Array:
    """value, copied into `out` where there is one; contiguous either way."""
    if out is None:
        return array_module(value).ascontiguousarray(value)
    out[...] = value
    return out
