"""What a file says about a picture: EXIF, XMP, PNG texts, color profile, resolution; kept, but for three things.

The orientation is applied to the pixels and then removed, what described the old pixels (size, storage, profile) is
left to the writer, and a statement is added that the colors are estimated: in EXIF's ImageDescription, before the text
that stands there, as IPTC's DigitalSourceType in XMP, and as a PNG text.
"""

import re
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from PIL import Image

from ltbc.colorize import tags
from ltbc.colorize.tags import ASCII, BYTE, LONG, RATIONAL, SHORT, Directory

STATEMENT = "Colors estimated by a neural network (let-there-be-color), not recorded"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
XMP_EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
XMP_STATEMENT = (
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>'
).encode()
XMP_TIFF_TAG, PROFILE_TIFF_TAG = 700, 34675
XMP_ORIENTATION = rb'tiff:Orientation\s*=\s*"\d"|<tiff:Orientation>\d</tiff:Orientation>'

DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x10E, 0x112, 0x11A, 0x11B, 0x128
COLOR_SPACE, PIXEL_WIDTH, PIXEL_HEIGHT = 0xA001, 0xA002, 0xA003  # in the EXIF directory
STORAGE = frozenset((  # TIFF tags about how the old pixels were stored and which colors they meant
    *range(254, 260), *range(262, 270), 273, *range(277, 282), 284, *range(288, 294), 301, *range(317, 326),
    *range(330, 335), *range(336, 348), *range(512, 522), *range(529, 533), XMP_TIFF_TAG, PROFILE_TIFF_TAG,
    37724,
))


@dataclass
class Metadata:
    """exif: with byte order `order`. xmp: a packet or None. profile: the ICC profile of the old pixels or None.
   
    text: PNG's key and text, or the comment of another format. dpi: horizontal and vertical, or None."""

    exif: Directory = field(default_factory=dict)
    order: str = "<"
    xmp: bytes | None = None
    profile: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None

    def described(self, width: int, height: int) -> Directory:
        """The EXIF directory of the colored picture."""
        exif = dict(self.exif)
        old = exif.get(DESCRIPTION, (ASCII, b""))
        text = old[1].rstrip(b"\0 ") if isinstance(old, tuple) and old[0] == ASCII else b""
        statement = STATEMENT.encode()
        if statement not in text:
            exif[DESCRIPTION] = ASCII, statement + (b"; " + text if text else b"") + b"\0"
        inner = exif.get(tags.EXIF)
        if isinstance(inner, dict):
            pixels = ((PIXEL_WIDTH, LONG, width), (PIXEL_HEIGHT, LONG, height), (COLOR_SPACE, SHORT, 1))
            new = {tag: tags.numbers(kind, self.order, value) for tag, kind, value in pixels if tag in inner}
            exif[tags.EXIF] = {**inner, **new}
        return exif

    def described_xmp(self) -> bytes:
        """The XMP packet of the colored picture; one that cannot be extended stays as it is."""
        xmp = self.xmp or XMP_EMPTY
        if b"DigitalSourceType" in xmp:
            return xmp
        before, end, after = xmp.rpartition(b"</rdf:RDF>")
        return before + XMP_STATEMENT + end + after if end else xmp

    def tiff_directory(self, width: int, height: int) -> Directory:
        """What a TIFF file holds beside the tags of its pixels."""
        directory = self.described(width, height) | {XMP_TIFF_TAG: (BYTE, self.described_xmp())}
        if self.dpi and X_RESOLUTION not in directory:
            for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), self.dpi):
                directory[tag] = tags.numbers(RATIONAL, self.order, round(value * 1000), 1000)
            directory[RESOLUTION_UNIT] = tags.numbers(SHORT, self.order, 2)
        return directory


def collect(image: Image.Image | None, tiff: BinaryIO | None) -> tuple[Metadata, int, list[str]]:
    """(metadata, orientation 1..8 to be applied, notes for the user) of an image whose pixels are loaded.

    image: None where Pillow does not know the kind of TIFF. tiff: a TIFF file, whose directory is read from there.
    """
    metadata, orientation, notes = Metadata(), 1, []
    if image is not None:
        metadata.xmp, metadata.profile = xmp_of(image.info), image.info.get("icc_profile")
        metadata.text, metadata.dpi = texts_of(image), dpi_of(image.info.get("dpi"))
    block = exif_block_of(image)
    if tiff or block:
        try:
            metadata.order, exif = tags.read(tiff) if tiff else tags.from_exif_block(block or b"")
        except ValueError:
            exif = {}
            notes.append("its EXIF data cannot be read and was left out")
        orientation = tags.integer(exif, ORIENTATION, metadata.order, 1)
        if image is None:
            metadata.profile, metadata.xmp = value(exif, PROFILE_TIFF_TAG), value(exif, XMP_TIFF_TAG)
        metadata.exif = {tag: entry for tag, entry in exif.items() if tag not in STORAGE and tag != ORIENTATION}
    return metadata, orientation, notes


def value(directory: Directory, tag: int) -> bytes | None:
    entry = directory.get(tag)
    return entry[1] if isinstance(entry, tuple) else None


def exif_block_of(image: Image.Image | None) -> bytes | None:
    """EXIF of a JPEG, PNG or WebP; older PNG files hold it as a text of hexadecimal digits."""
    info = {} if image is None else image.info
    raw = info.get("Raw profile type exif")
    if "exif" in info or not isinstance(raw, str):
        return info.get("exif")
    try:
        return bytes.fromhex("".join(raw.split("\n")[3:]))
    except ValueError:
        return b"?"


def xmp_of(info: dict) -> bytes | None:
    xmp = info.get("xmp", info.get("XML:com.adobe.xmp"))
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return re.sub(XMP_ORIENTATION, b"", xmp) if isinstance(xmp, bytes) else None


def texts_of(image: Image.Image) -> dict[str, str]:
    """PNG's texts, or the comment of a JPEG or GIF file."""
    texts = {key: str(value) for key, value in getattr(image, "text", {}).items()}
    comment = image.info.get("comment")
    if isinstance(comment, bytes) and comment:
        texts["Comment"] = comment.decode("latin-1")
    return {key: value for key, value in texts.items() if not key.startswith(("Raw profile", "XML:"))}


def dpi_of(dpi: object) -> tuple[float, float] | None:
    """Dots an inch, where the file states them in earnest."""
    try:
        x, y = map(float, dpi)  # type: ignore[call-overload]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= min(x, y) and max(x, y) <= 1e5 else None


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels `[H, W, ...]` turned as the EXIF orientation 1..8 says; other values stand for 1."""
    turned = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
