"""Files of more than 8 bits a channel, which Pillow reads and writes as 8: PNG of 16 bits, TIFF of 16 bits and floats.

Decoding is left to imagecodecs and tifffile; Pillow still checks the file and reads what stands beside the pixels.
The TIFF writer is for all depths, since it carries EXIF as it was. Source: PNG 1.2, chapter 3; TIFF 6.0.
"""

import os
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from ltbc.colorize import tags
from ltbc.colorize.picture import ImageError, Planes, scaled
from ltbc.colorize.tags import LONG, SHORT, Directory, numbers

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_CHANNELS = {0: 1, 1: 1, 2: 3, 5: 4}  # TIFF's photometric interpretation: white or black is zero, RGB, CMYK
MIN_IS_WHITE, PREMULTIPLIED, ALPHA = 0, 1, 2
STRIP = 1 << 20  # bytes of a strip before compression
LARGEST_TIFF = (1 << 32) - (1 << 20)  # offsets have 32 bits


def is_deep_png(head: bytes) -> bool:
    """Whether a file that begins so is a PNG of 16 bits a channel."""
    return head.startswith(PNG_SIGNATURE) and head[12:16] == b"IHDR" and head[24:25] == b"\x10"


def is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_png(data: bytes) -> Planes:
    """Planes of a PNG of 16 bits; a transparent color becomes alpha."""
    import imagecodecs

    pixels = imagecodecs.png_decode(data)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    channels = pixels.shape[2]
    return Planes(pixels[..., : 1 if channels < 3 else 3], pixels[..., -1] if channels in (2, 4) else None, 65535)


def read_tiff(path: Path) -> Planes:
    """Planes of the first page of a TIFF file of any depth."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        check_size(page.imagewidth, page.imagelength)
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts)]
        if not ends or max(ends) > os.path.getsize(path):
            raise ImageError("damaged or cut off (pixels missing)")
        colors = COLOR_CHANNELS.get(int(page.photometric))
        if colors is None or page.axes not in ("YX", "YXS", "SYX") or page.dtype is None or page.dtype.kind not in "uf":
            raise ImageError("this kind of TIFF is not supported; save it as grey or RGB, unsigned or float, first")
        pixels = page.asarray()
        pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels.reshape(*pixels.shape[:2], -1)
        planes = tiff_planes(pixels, colors, page.bitspersample, page.extrasamples)
        if page.photometric == MIN_IS_WHITE:
            planes.colors = (planes.white - planes.colors).astype(planes.colors.dtype)
        return planes


def tiff_planes(pixels: np.ndarray, colors: int, bits: int, extras: tuple[int, ...]) -> Planes:
    """Planes of `[H, W, S]`: color samples, then extra ones, of which the first may be alpha."""
    if pixels.shape[2] < colors:
        raise ImageError(f"{pixels.shape[2]} samples a pixel where {colors} are needed")
    alpha = pixels[..., colors] if extras and extras[0] in (PREMULTIPLIED, ALPHA) else None
    pixels = pixels[..., :colors]
    if bits > 16 or pixels.dtype.kind == "f":
        planes = scaled(pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels, alpha)
    else:
        planes = Planes(pixels, alpha, (1 << bits) - 1)
    if alpha is not None and extras[0] == PREMULTIPLIED:
        share = np.maximum(alpha[..., None] / planes.white, 1e-9)
        planes.colors = np.minimum(planes.colors / share, planes.white).astype(planes.colors.dtype)
    return planes


def check_size(width: int, height: int) -> None:
    """Raises what Pillow raises: its limit is twice MAX_IMAGE_PIXELS."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels")


def png_bytes(pixels: np.ndarray, small: bytes) -> bytes:
    """A PNG of `[H, W, 3 or 4]` uint16 with the chunks of a small 8-bit PNG: texts, EXIF, profile, resolution."""
    import imagecodecs

    encoded = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6)
    after_header = len(PNG_SIGNATURE) + 25
    return bytes(encoded[:after_header]) + small[after_header : small.index(b"IDAT") - 4] + encoded[after_header:]


def tiff_bytes(pixels: np.ndarray, directory: Directory, order: str, profile: bytes | None) -> bytes:
    """A TIFF file of `[H, W, 3 or 4]` uint8, uint16 or float32, deflated in strips, with the directory's tags.

    order: the byte order that the directory's values are in. Raises ImageError where 32-bit offsets do not reach.
    """
    height, width, samples = pixels.shape
    kind, bits = pixels.dtype.kind, 8 * pixels.dtype.itemsize
    rows = max(1, STRIP // (width * samples * pixels.dtype.itemsize))
    strips = [strip(pixels[top : top + rows], order) for top in range(0, height, rows)]
    counts = [len(data) for data in strips]
    starts = [8, *(8 + end for end in np.cumsum(counts).tolist())]
    if starts[-1] > LARGEST_TIFF:
        raise ImageError("too large for TIFF, even deflated; name a .png file")
    directory = directory | {
        256: numbers(LONG, order, width),
        257: numbers(LONG, order, height),
        258: numbers(SHORT, order, *[bits] * samples),
        259: numbers(SHORT, order, 8),  # deflate
        262: numbers(SHORT, order, 2),  # RGB
        273: numbers(LONG, order, *starts[:-1]),
        277: numbers(SHORT, order, samples),
        278: numbers(LONG, order, rows),
        279: numbers(LONG, order, *counts),
        284: numbers(SHORT, order, 1),  # samples of a pixel side by side
        317: numbers(SHORT, order, 1 if kind == "f" else 2),  # differences to the pixel on the left
        339: numbers(SHORT, order, *[3 if kind == "f" else 1] * samples),
    }
    if samples == 4:
        directory[338] = numbers(SHORT, order, ALPHA)
    if profile:
        directory[34675] = 7, profile
    end = starts[-1] + starts[-1] % 2
    data = tags.header(order, end) + b"".join(strips)
    return data.ljust(end, b"\0") + tags.write(directory, order, end)


def strip(rows: np.ndarray, order: str) -> bytes:
    if rows.dtype.kind == "u":
        rows = np.diff(rows, axis=1, prepend=rows.dtype.type(0))
    return zlib.compress(rows.astype(f"{order}{rows.dtype.kind}{rows.dtype.itemsize}").tobytes(), 6)
