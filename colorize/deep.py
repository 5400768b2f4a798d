"""Files of more than 8 bits a channel, which Pillow reads and writes as 8: PNG of 16 bits, TIFF of 16 bits and floats.

Decoding is left to imagecodecs and tifffile; Pillow still checks the file and reads what stands beside the pixels.
The TIFF writer is for all depths, since it carries EXIF as it was. Source: PNG 1.2, chapter 3; TIFF 6.0.
"""

import os
import zlib
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ltbc.colorize import tags
from ltbc.colorize.errors import ImageError
from ltbc.colorize.picture import Planes
from ltbc.colorize.png import LEVEL, SIGNATURE
from ltbc.colorize.scale import scaled
from ltbc.colorize.tags import LONG, SHORT, Directory, numbers
from ltbc.colorize.threads import in_turn

COLOR_CHANNELS = {0: 1, 1: 1, 2: 3, 5: 4}  # TIFF's photometric interpretation: white or black is zero, RGB, CMYK
MIN_IS_WHITE, PREMULTIPLIED, ALPHA = 0, 1, 2
STRIP = 1 << 20  # bytes of a strip before compression
LARGEST_TIFF = (1 << 32) - (1 << 20)  # offsets have 32 bits


def is_deep_png(head: bytes) -> bool:
    """Whether a file that begins so is a PNG of 16 bits a channel."""
    return head.startswith(SIGNATURE) and head[12:16] == b"IHDR" and head[24:25] == b"\x10"


def is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_png(data: bytes) -> Planes:
    """Planes of a PNG of 16 bits; a transparent color becomes alpha."""
    import imagecodecs

    pixels = imagecodecs.png_decode(data)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    channels = pixels.shape[2]
    return Planes(pixels[..., : 1 if channels < 3 else 3], pixels[..., -1] if channels in (2, 4) else None, 65535)


def read_jpeg2000(file: BinaryIO) -> Planes | None:
    """Planes of a JPEG 2000 of more than 8 bits; None for others, which Pillow reads."""
    file.seek(0)
    data = file.read()
    at = data.find(b"\xff\x4f\xff\x51") + 42  # SOC, SIZ; then the depth of the first component
    bits = 1 + (data[at] & 0x7F) if 42 <= at < len(data) else 8
    if not 8 < bits <= 16:
        return None
    import imagecodecs

    pixels = imagecodecs.jpeg2k_decode(data)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    colors = 1 if pixels.shape[2] < 3 else 3
    return Planes(pixels[..., :colors], pixels[..., -1] if pixels.shape[2] in (2, 4) else None, (1 << bits) - 1)


def read_tiff(file: BinaryIO, white: float | None = None) -> Planes:
    """Planes of the first page of a TIFF file of any depth. white: of floats, as the user says it."""
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        check_size(page.imagewidth, page.imagelength)
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts)]
        if not ends or max(ends) > file.seek(0, os.SEEK_END):
            raise ImageError("damaged or cut off (pixels missing)")
        colors = COLOR_CHANNELS.get(int(page.photometric))
        if colors is None or page.axes not in ("YX", "YXS", "SYX") or page.dtype is None or page.dtype.kind not in "uf":
            raise ImageError("this kind of TIFF is not supported; save it as grey or RGB, unsigned or float, first")
        pixels = page.asarray()
        pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels.reshape(*pixels.shape[:2], -1)
        stated = {"stated": largest(page), "chosen": white}
        planes = tiff_planes(pixels, colors, page.bitspersample, page.extrasamples, **stated)
        if page.photometric == MIN_IS_WHITE:
            planes.colors = (planes.white - np.asarray(planes.colors)).astype(planes.colors.dtype)
        return planes


def largest(page: Any) -> float | None:
    """The largest value there may be, where the file states it: SMaxSampleValue, MaxSampleValue."""
    for tag in (341, 281):
        if tag in page.tags:
            return float(np.max(page.tags[tag].value))
    return None


def tiff_planes(
    pixels: np.ndarray, colors: int, bits: int, extras: tuple[int, ...], stated: float | None, chosen: float | None
) -> Planes:
    """Planes of `[H, W, S]`: color samples, then extra ones, of which the first may be alpha.

    stated, chosen: the largest value, as the file and as the user say it; see `scaled`.
    """
    if pixels.shape[2] < colors:
        raise ImageError(f"{pixels.shape[2]} samples a pixel where {colors} are needed")
    alpha = pixels[..., colors] if extras and extras[0] in (PREMULTIPLIED, ALPHA) else None
    pixels = pixels[..., :colors]
    if bits > 16 or pixels.dtype.kind == "f":
        deep = np.dtype(np.float32) if pixels.dtype.kind == "f" else pixels.dtype
        extra = None if alpha is None else alpha.astype(deep)
        planes = Planes(*scaled(pixels.astype(deep), extra, stated, chosen))
    else:
        planes = Planes(pixels, alpha, (1 << bits) - 1)
    if alpha is not None and extras[0] == PREMULTIPLIED:
        share = np.maximum(alpha[..., None] / planes.white, 1e-9)
        planes.colors = np.minimum(np.asarray(planes.colors) / share, planes.white).astype(planes.colors.dtype)
    return planes


def check_size(width: int, height: int) -> None:
    """Raises what Pillow raises: its limit is twice MAX_IMAGE_PIXELS."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels")


def add_page(
    file: BinaryIO, pixels: np.ndarray, directory: Directory, order: str, profile: bytes | None, link: int | None
) -> int:
    """Appends `[H, W, 3 or 4]` uint8, uint16 or float32 to a TIFF file, deflated in strips, with the directory's tags.

    order: the byte order that the directory's values are in. link: where the offset of this page's directory is to be
    written, None for the first page. Returns where that of the next one will stand. Raises ImageError where 32-bit
    offsets do not reach.
    """
    height, width, samples = pixels.shape
    kind, bits = pixels.dtype.kind, 8 * pixels.dtype.itemsize
    if link is None:
        file.write(tags.header(order, 0))
        link = 4
    rows = max(1, STRIP // (width * samples * pixels.dtype.itemsize))
    starts, counts = [file.tell()], []
    for data in in_turn(partial(strip, order=order), (pixels[top : top + rows] for top in range(0, height, rows))):
        counts.append(file.write(data))
        starts.append(starts[-1] + counts[-1])
        if starts[-1] > LARGEST_TIFF:
            raise ImageError("too large for TIFF, even deflated; name a .png file")
    file.write(bytes(starts[-1] % 2))
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
    at = file.tell()
    written = tags.write(directory, order, at)
    file.write(written + bytes(len(written) % 2))
    file.seek(link)
    file.write(numbers(LONG, order, at)[1])
    file.seek(0, os.SEEK_END)
    return at + 2 + 12 * len(directory)


def strip(rows: np.ndarray, order: str) -> bytes:
    if rows.dtype.kind == "u":
        rows = np.diff(rows, axis=1, prepend=rows.dtype.type(0))
    return zlib.compress(rows.astype(f"{order}{rows.dtype.kind}{rows.dtype.itemsize}").tobytes(), LEVEL)
