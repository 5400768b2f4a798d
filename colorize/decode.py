"""From a file to its picture: which decoder, which of its pages, which way up."""

from importlib import import_module
from importlib.util import find_spec
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from ltbc.colorize import deep, metadata, pages
from ltbc.colorize.errors import How, ImageError
from ltbc.colorize.picture import Picture, Planes, make, planes_of

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF", "JPEG2000", "AVIF")  # whatever it is called
HEIF, HEIF_BRANDS = "HEIF", (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
BITS = 258  # tag
END_OF_JPEG = b"\xff\xd9"


class Decoded(NamedTuple):
    """image: as Pillow opened it, None where it cannot. upright: whether the orientation is applied already."""

    image: Image.Image | None
    planes: Planes
    upright: bool = False


def decode(path: Path, how: How) -> Picture:
    """The picture of a file. Raises ImageError, and whatever decoders raise."""
    with open(path, "rb") as whole:
        head = whole.read(32)
        notes: list[str] = []
        if is_raw(path, head):
            raise ImageError(pages.RAW)
        if deep.is_tiff(head):
            page, notes = pages.choose(whole, how.page)
            file = whole if page.number == 1 else BufferedReader(pages.Redirected(whole, page.offset))
            decoded = of_tiff(file, how)
            said, orientation, more = metadata.collect(decoded.image, file)
        else:
            decoded = of_others(whole, head, how, notes)
            said, orientation, more = metadata.collect(decoded.image, None)
    orientation = 1 if decoded.upright else orientation
    return make(decoded.planes, said, notes + more, orientation)


def is_raw(path: Path, head: bytes) -> bool:
    return path.suffix.lower() in pages.RAW_SUFFIXES or head.startswith(pages.RAW_HEADS) or head[4:11] == b"ftypcrx"


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is HEIC; then Pillow is told how to read it. Raises ImageError where it cannot."""
    if head[4:8] != b"ftyp" or head[8:12] not in HEIF_BRANDS or b"avif" in head:
        return False
    for name in ("pi_heif", "pillow_heif"):
        if find_spec(name):
            import_module(name).register_heif_opener()
            return True
    raise ImageError("HEIC needs the package pi-heif: pip install 'let-there-be-color[heif]'")


def numbers(path: Path) -> list[int]:
    """The numbers of the pages of a file that are pictures of their own. Raises what `decode` raises."""
    with open(path, "rb") as file:
        if deep.is_tiff(file.read(4)):
            found = [page.number for page, _ in pages.found(file) if page.kind == pages.WHOLE]
            return found or [1]
        file.seek(0)
        head = file.read(32)
        file.seek(0)
        with Image.open(file, formats=(*FORMATS, HEIF) if is_heif(head) else FORMATS) as image:
            return list(range(1, frames(image) + 1))


def of_tiff(file: BinaryIO, how: How) -> Decoded:
    """Of the first page of a TIFF file: Pillow for 8 bits, which knows the older kinds, else imagecodecs."""
    image = None
    try:
        file.seek(0)
        image = Image.open(file, formats=("TIFF",))
        if isinstance(image, TiffImageFile) and max(image.tag_v2.get(BITS, (1,))) <= 8:
            turns = metadata.ORIENTATION in image.tag_v2
            if not turns:
                image.getexif()[metadata.ORIENTATION] = 1  # or Pillow looks for one in the XMP
            image.load()
            return Decoded(image, planes_of(image), turns)  # Pillow turns TIFF while loading, and only TIFF
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:  # a kind that Pillow does not know, such as floats in color, or WebP in TIFF
        try:
            return Decoded(image, deep.read_tiff(file, how.white))
        except ImageError as other:
            raise other if image is None else error from None
    return Decoded(image, deep.read_tiff(file, how.white))


def of_others(file: BinaryIO, head: bytes, how: How, notes: list[str]) -> Decoded:
    file.seek(0)
    image = Image.open(file, formats=(*FORMATS, HEIF) if is_heif(head) else FORMATS)
    count = frames(image)
    if how.page is not None:
        if how.page > count:
            raise ImageError(f"has no page {how.page}; there {'is' if count == 1 else 'are'} {count}")
        image.seek(how.page - 1)
    elif count > 1:
        notes.append(pages.only(1, count))
    try:
        image.load()
    except OSError:
        if how.strict or image.format != "JPEG":
            raise
        file.seek(0)
        image = Image.open(BytesIO(file.read() + END_OF_JPEG), formats=("JPEG",))
        image.load()
        notes.append(missing(image))
    if deep.is_deep_png(head) and (how.page or 1) == 1:
        file.seek(0)
        return Decoded(image, deep.read_png(file.read()))
    if image.format == "JPEG2000" and (planes := deep.read_jpeg2000(file)):
        return Decoded(image, planes)
    return Decoded(image, planes_of(image, how.white))


def frames(image: Image.Image) -> int:
    """How many pictures a file that is no TIFF holds; a camera's previews (MPO) are none."""
    try:
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, EOFError):  # a later one is damaged
        return 1


def missing(image: Image.Image) -> str:
    """What to say of a JPEG that is cut off, which its decoder fills up with one color."""
    rows = np.asarray(image).reshape(image.height, image.width, -1)
    full = np.flatnonzero((rows != rows[-1:, :1]).any((1, 2)))
    lost = image.height - 1 - int(full.max(initial=-1))
    if lost > 0.9 * image.height:
        raise ImageError("damaged or cut off (hardly anything of the picture is there)")
    lower = f"the lower {lost} of its {image.height} rows are missing" if lost else "its last bytes are missing"
    return f"cut off: {lower}; what is there is used (--strict refuses such files)"
