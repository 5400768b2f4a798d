"""Picture files in and out: every kind of pixel to luminance, and the colored pixels back into a file.

Reading applies orientation and color profile. Writing keeps EXIF, XMP, texts and resolution, adds that the colors are
estimated, embeds the profile of sRGB where the input had one, and is whole or not at all.

    PNG      8 or 16 bits, alpha, everything kept       TIFF  8, 16 bits or float, alpha, everything kept
    WebP     8 bits, alpha, lossless, no texts          BMP   8 bits, holds no metadata
    JPEG     8 bits, no alpha, quality 95 without chroma subsampling; the change of luminance is measured and told
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from ltbc.colorize import decode, deep, iptc, metadata, png, tags
from ltbc.colorize.decode import FORMATS
from ltbc.colorize.errors import PLAINLY, How, ImageError
from ltbc.colorize.luminance import deviation, srgb_profile
from ltbc.colorize.picture import Picture, Rows
from ltbc.colorize.quiet import decoders_silent
from ltbc.nn.weights import whole_file

READ = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".gif", ".jp2", ".j2k", ".jpf",
    ".jpx", ".j2c", ".avif", ".heic", ".heif", ".hif",
))
WRITE = {
    ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG",
}
LOSSY = ("JPEG",)
HELD = {"PNG": 0, "TIFF": 0, "WEBP": 32}  # bytes a pixel that encoders hold; others: a copy, the encoded file
IN_THREADS = 48 << 20  # bytes that bands of rows take, at most
QUALITY = 95  # of JPEG
JPEG_SEGMENT = 65_500  # bytes of EXIF or XMP that a JPEG can hold
BITS, MAKER_NOTE = 258, 0x927C  # tags


def read(path: str | os.PathLike, how: How = PLAINLY) -> Picture:
    """The picture of a file. Raises ImageError with one line for whatever cannot be read."""
    with told(path := Path(path)), decoders_silent():
        return decode.decode(path, how)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What decoders raise becomes an ImageError with one line."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: {too_large(error)}") from None
    except Image.UnidentifiedImageError:
        kinds = "JPEG, PNG, TIFF, WebP, BMP, GIF, JPEG 2000, AVIF or HEIC"
        reason = f"not a picture that can be read ({kinds})" if path.stat().st_size else "empty file (0 bytes)"
        raise ImageError(f"{path}: {reason}") from None
    except OSError as error:
        told = error.strerror and error.errno != errno.EINVAL  # a damaged file sends its reader to nowhere
        raise ImageError(f"{path}: {error.strerror if told else f'damaged or cut off ({one_line(error)})'}") from None
    except MemoryError:
        raise ImageError(f"{path}: not enough memory to open it") from None
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except Exception as error:  # decoders meet hostile bytes; whatever they raise is about this file
        what = f"{type(error).__name__}: {one_line(error)}"
        raise ImageError(f"{path}: damaged, or of a kind that cannot be read ({what})") from None


def pages(path: Path) -> list[int]:
    """The numbers of the pages of a file that are pictures of their own. Raises ImageError as `read` does."""
    with told(path):
        return decode.numbers(path)


def size(path: Path) -> tuple[int, int]:
    """Width and height as the file states them; 0 where `read` must say why not."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception:  # of a damaged or hostile header
        return 0, 0


def most_memory(path: Path, target: Path | None = None) -> tuple[str, int]:
    """(its size in words, bytes that reading, coloring and writing it takes at most); 0 where `read` must say why not.

    target: the file that is written; None for nothing. While it is read there are what the decoder made, and luminance
    and alpha in float32; while it is written luminance, alpha, the colored pixels, them with alpha, bands of them in
    threads, and what encoders hold that want it whole.
    """
    try:
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            bits = max(image.tag_v2.get(BITS, (1,))) if isinstance(image, TiffImageFile) else 8
            alpha, channels = int(image.has_transparency_data), len(image.getbands())
            file.seek(0)
            item = 2 if deep.is_deep_png(file.read(32)) else max(1, bits // 8)
    except Exception:  # of a damaged or hostile header
        return "", 0
    stored = (1 if channels == 1 else 4) + 12 * alpha if item == 1 else 2 * item * (3 + alpha)
    reading, writing = (stored + 4 + 4 * alpha) * width * height, 0
    if target is not None:
        each = 4 + 4 * alpha + 3 * item + 4 * item * alpha + HELD.get(WRITE.get(target.suffix.lower(), ""), 7 + alpha)
        writing = each * width * height + IN_THREADS
    return f"{width} x {height} pixels of {8 * item} bits", max(reading, writing)


def depth(path: str | os.PathLike, picture: Picture) -> tuple[np.dtype, float]:
    """(dtype, code of white) of the pixels that a file of that name shall hold: the picture's where it can."""
    kind = WRITE[Path(path).suffix.lower()]
    if kind == "TIFF" or (kind == "PNG" and picture.dtype != np.float32):
        return picture.dtype, picture.white
    deeper = kind == "PNG"
    return (np.dtype(np.uint16), 65535.0) if deeper else (np.dtype(np.uint8), 255.0)


def write(path: str | os.PathLike, pixels: np.ndarray, picture: Picture, quality: int = QUALITY) -> list[str]:
    """Writes the colored pixels `[H, W, 3]`, of the dtype that `depth` says, and returns notes for the user.

    quality: of a JPEG, 1 to 100. Raises ImageError where the format cannot hold the picture, OSError where the disk
    does not take it.
    """
    path = Path(path)
    kind = WRITE[path.suffix.lower()]
    if kind == "TIFF":
        return write_pages(path, [(pixels, picture)])
    dtype, white = depth(path, picture)
    notes = []
    if picture.dtype.itemsize > dtype.itemsize:
        notes.append(f"{kind} holds {8 * dtype.itemsize} bits a channel, fewer than the input had")
    if kind == "JPEG" and picture.alpha is not None and picture.alpha.min() < 1:
        raise ImageError(f"{path}: JPEG holds no transparency; name a .png, .tif or .webp file")
    size = pixels.shape[:2]
    try:
        if kind == "PNG":  # Pillow makes the chunks around the pixels
            data = encode(kind, np.zeros((1, 1, 3), np.uint8), picture, size, notes)
        else:
            whole = pixels if kind == "JPEG" else picture.with_alpha(pixels, white)
            data = encode(kind, whole, picture, size, notes, quality)
    except MemoryError:
        raise
    except Exception as error:  # of Pillow's writers, about a size or a tag that the format has no room for
        raise ImageError(f"{path}: {kind} cannot hold this picture ({one_line(error)})") from None
    if kind in LOSSY:
        change = deviation(Rows(Image.open(BytesIO(data)), "RGB"), 255, picture.luminance)
        notes.append(f"{kind} is lossy: luminance changed by up to {change:.1f} of 255; PNG, TIFF and WebP keep it")
    with whole_file(path) as file:
        if kind == "PNG":
            png.write(file, picture.with_alpha(pixels, white), png.between(data))
        else:
            file.write(data)
    return notes


def holds_pages(path: Path) -> bool:
    return WRITE.get(path.suffix.lower()) == "TIFF"


def write_pages(path: Path, pages: Iterable[tuple[np.ndarray, Picture]]) -> list[str]:
    """Writes a TIFF file of such pages; the rest as for `write`."""
    with whole_file(path) as file:
        link, notes = None, list[str]()
        for pixels, picture in pages:
            said, (height, width) = picture.metadata, pixels.shape[:2]
            profile = srgb_profile() if said.profile else None
            notes += texts_left_out("TIFF", said)
            pixels = picture.with_alpha(pixels, picture.white)
            try:
                link = deep.add_page(file, pixels, said.tiff_directory(width, height), said.order, profile, link)
            except ImageError as error:
                raise ImageError(f"{path}: {error}") from None
        if link is None:
            raise ImageError(f"{path}: was not written: none of the pages can be read")
    return notes


def encode(
    kind: str, pixels: np.ndarray, picture: Picture, size: tuple[int, ...], notes: list[str], quality: int = QUALITY
) -> bytes:
    """The bytes of a file with these pixels and the picture's metadata. size: height and width that it states."""
    said, (height, width) = picture.metadata, size
    profile = srgb_profile() if said.profile else None
    options: dict = {"dpi": said.dpi} if said.dpi else {}
    if kind == "BMP":
        notes.append("BMP holds no metadata: nothing in it says that the colors are estimated")
        return save(kind, pixels, options)
    exif = tags.exif_block(said.described(width, height, kind == "WEBP"), said.order)
    xmp = said.described_xmp(kind)
    notes += texts_left_out(kind, said)
    options |= {"exif": exif, "xmp": xmp} | ({"icc_profile": profile} if profile else {})
    if kind == "PNG":
        options["pnginfo"] = png_texts(said, options.pop("xmp"))
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    else:
        options |= {"quality": quality, "subsampling": 0}
        if said.text.get("Comment"):
            options["comment"] = said.text["Comment"].encode("utf-8", "replace")
        if resources := said.resources():
            options["extra"] = b"Photoshop 3.0\0" + resources
        fit_jpeg(options, said, width, height, notes)
    return save(kind, pixels, options)


def texts_left_out(kind: str, said: metadata.Metadata) -> list[str]:
    left = [] if kind == "PNG" else said.texts_left_out()
    return [f"{kind} has no place for its texts {', '.join(left)}"] if left else []


def save(kind: str, pixels: np.ndarray, options: dict) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_texts(said: metadata.Metadata, xmp: bytes) -> PngInfo:
    info = PngInfo()
    for key, value in ({"Warning": metadata.STATEMENT} | said.text).items():
        info.add_text(key, value)
    if resources := said.resources():
        info.add_text("Raw profile type iptc", iptc.hexadecimal("iptc", resources), zip=True)
    info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return info


def fit_jpeg(options: dict, said: metadata.Metadata, width: int, height: int, notes: list[str]) -> None:
    """Leaves out what a JPEG segment is too short for: the camera's own notes, all EXIF; XMP; IPTC; the comment."""
    exif = said.described(width, height)
    inner = exif.get(tags.EXIF)
    if len(options["exif"]) > JPEG_SEGMENT and isinstance(inner, dict) and MAKER_NOTE in inner:
        exif[tags.EXIF] = {tag: entry for tag, entry in inner.items() if tag != MAKER_NOTE}
        options["exif"] = tags.exif_block(exif, said.order)
        notes.append("the camera's own notes in its EXIF data are too long for JPEG and were left out")
    names = {"exif": "EXIF data", "xmp": "XMP data", "extra": "IPTC data", "comment": "comment"}
    for name in names:
        if len(options.get(name, b"")) > JPEG_SEGMENT:
            del options[name]
            notes.append(f"its {names[name]} is too long for JPEG and was left out")
    if "extra" in options:
        options["extra"] = b"\xff\xed" + (2 + len(options["extra"])).to_bytes(2, "big") + options["extra"]


def too_large(error: Image.DecompressionBombError) -> str:
    """What to say of a picture over Pillow's limit, which protects from files made to fill the memory."""
    numbers = [int(word.strip("()")) for word in str(error).split() if word.strip("()").isdigit()]
    size, limit = (f"{number / 1e6:,.0f} megapixels" for number in (*numbers, 0, 0)[:2])
    return f"{size}, over the limit of {limit}; make it smaller or cut it into parts first"


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
