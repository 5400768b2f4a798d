"""What a file says about a picture: EXIF, XMP, IPTC, texts, color profile, resolution; kept where it stays true.

The orientation is applied to the pixels and then removed, what described the old pixels (size, storage, profile,
previews) is left to the writer, and a statement is added that the colors are estimated: in EXIF's ImageDescription,
before the text that stands there, in XMP (`xmp.Packet`), and as a PNG text.
"""

from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from PIL import Image

import ltbc
from ltbc.colorize import iptc, tags
from ltbc.colorize.tags import ASCII, BYTE, LONG, RATIONAL, SHORT, UNDEFINED, Directory
from ltbc.colorize.xmp import Packet

STATEMENT = "Colors estimated by a neural network (let-there-be-color), not recorded"
SOFTWARE = f"let-there-be-color {ltbc.__version__}"
XMP_OF_TEXTS = {"Title": "dc:title", "Author": "dc:creator", "Description": "dc:description", "Copyright": "dc:rights"}
XMP_TIFF_TAG, PROFILE_TIFF_TAG, IPTC_TIFF_TAG, PHOTOSHOP_TIFF_TAG = 700, 34675, 33723, 34377

DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x10E, 0x112, 0x11A, 0x11B, 0x128
COLOR_SPACE, PIXEL_WIDTH, PIXEL_HEIGHT, USER_COMMENT = 0xA001, 0xA002, 0xA003, 0x9286  # in the EXIF directory
STORAGE = frozenset((  # TIFF tags about how the old pixels were stored and which colors they meant
    *range(254, 260), *range(262, 270), 273, *range(277, 282), 284, *range(288, 294), 301, *range(317, 326),
    *range(330, 335), *range(336, 348), *range(512, 522), *range(529, 533), XMP_TIFF_TAG, PROFILE_TIFF_TAG,
    IPTC_TIFF_TAG, PHOTOSHOP_TIFF_TAG, 37724,
))


@dataclass
class Metadata:
    """exif: with byte order `order`. xmp: a packet or None. profile: the ICC profile of the old pixels or None.

    text: PNG's keys and texts, or the `Comment` of another format. dpi: horizontal and vertical, or None. iptc: IIM
    records or None. photoshop: the resources beside them. made: how the colors were made, for the history."""

    exif: Directory = field(default_factory=dict)
    order: str = "<"
    xmp: bytes | None = None
    profile: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    iptc: bytes | None = None
    photoshop: dict[int, bytes] = field(default_factory=dict)
    made: str = ""

    def described(self, width: int, height: int, comment: bool = False) -> Directory:
        """The EXIF directory of the colored picture; with the comment, for a format that has no other place for it."""
        exif = dict(self.exif)
        old = exif.get(DESCRIPTION, (ASCII, b""))
        text = old[1].rstrip(b"\0 ") if isinstance(old, tuple) and old[0] == ASCII else b""
        statement = STATEMENT.encode()
        if statement not in text:
            exif[DESCRIPTION] = ASCII, statement + (b"; " + text if text else b"") + b"\0"
        inner = exif.get(tags.EXIF)
        block = inner if isinstance(inner, dict) else {}
        if comment and "Comment" in self.text and USER_COMMENT not in block:
            wide = self.text["Comment"].encode("utf-16-le" if self.order == "<" else "utf-16-be", "replace")
            inner = {**block, USER_COMMENT: (UNDEFINED, b"UNICODE\0" + wide)}
        if isinstance(inner, dict):
            pixels = ((PIXEL_WIDTH, LONG, width), (PIXEL_HEIGHT, LONG, height), (COLOR_SPACE, SHORT, 1))
            new = {tag: tags.numbers(kind, self.order, value) for tag, kind, value in pixels if tag in inner}
            exif[tags.EXIF] = {**inner, **new}
        return exif

    def described_xmp(self, kind: str) -> bytes:
        """The XMP packet of the colored picture in a file of that kind, as `images.WRITE` names it."""
        packet, said = Packet(self.xmp), iptc.properties(self.iptc or b"")
        if kind != "PNG":
            said = {XMP_OF_TEXTS[key]: [iptc.fit_for_xml(text)] for key, text in self.text.items()
                    if key in XMP_OF_TEXTS} | said
        packet.renew(f"image/{kind.lower()}", said, SOFTWARE, f"{STATEMENT}; {self.made}".rstrip("; "))
        return packet.to_bytes()

    def texts_left_out(self) -> list[str]:
        """The keys of texts that only PNG has a place for."""
        return [key for key, text in self.text.items() if key not in (*XMP_OF_TEXTS, "Comment") and text != STATEMENT]

    def resources(self, with_iptc: bool = True) -> bytes:
        """Photoshop's block for the colored picture; empty for none."""
        kept = {number: data for number, data in self.photoshop.items() if number in iptc.KEPT}
        return iptc.packed(kept | ({iptc.IIM: self.iptc} if self.iptc and with_iptc else {}))

    def tiff_directory(self, width: int, height: int) -> Directory:
        """What a TIFF file holds beside the tags of its pixels."""
        directory = self.described(width, height, True) | {XMP_TIFF_TAG: (BYTE, self.described_xmp("TIFF"))}
        if self.iptc:
            directory[IPTC_TIFF_TAG] = UNDEFINED, self.iptc
        if resources := self.resources(with_iptc=False):
            directory[PHOTOSHOP_TIFF_TAG] = BYTE, resources
        if self.dpi and X_RESOLUTION not in directory:
            for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), self.dpi):
                directory[tag] = tags.numbers(RATIONAL, self.order, round(value * 1000), 1000)
            directory[RESOLUTION_UNIT] = tags.numbers(SHORT, self.order, 2)
        return directory


def collect(image: Image.Image | None, tiff: BinaryIO | None) -> tuple[Metadata, int, list[str]]:
    """(metadata, orientation 1..8 to be applied, notes for the user) of an image whose pixels are loaded.

    XMP's orientation counts where no other is stated; 0 for none.

    image: None where Pillow does not know the kind of TIFF. tiff: a TIFF file, whose directory is read from there.
    """
    metadata, orientation, notes = Metadata(), 0, []
    if image is not None:
        metadata.xmp, metadata.profile = xmp_of(image.info), image.info.get("icc_profile")
        metadata.text, metadata.dpi = texts_of(image), dpi_of(image.info.get("dpi"))
        metadata.photoshop = photoshop_of(image)
    block = exif_block_of(image)
    if tiff or block:
        try:
            metadata.order, exif = tags.read(tiff) if tiff else tags.from_exif_block(block or b"")
        except ValueError:
            exif = {}
            notes.append("its EXIF data cannot be read and was left out")
        orientation = tags.integer(exif, ORIENTATION, metadata.order)
        if image is None:
            metadata.profile, metadata.xmp = value(exif, PROFILE_TIFF_TAG), value(exif, XMP_TIFF_TAG)
        if tiff:
            metadata.photoshop = iptc.resources(value(exif, PHOTOSHOP_TIFF_TAG) or b"")
            metadata.iptc = iptc_of_tiff(exif)
        metadata.exif = {tag: entry for tag, entry in exif.items() if tag not in STORAGE and tag != ORIENTATION}
    metadata.iptc = metadata.iptc or metadata.photoshop.get(iptc.IIM)
    try:
        if b"HasExtendedXMP" in (metadata.xmp or b""):
            notes.append("the part of its XMP data that JPEG holds apart was left out")
        stated = Packet(metadata.xmp).texts("tiff", "Orientation")
        if not orientation and stated and stated[0].strip() in tuple("12345678"):
            orientation = int(stated[0])
    except ValueError:
        metadata.xmp = None
        notes.append("its XMP data cannot be read and was left out")
    return metadata, orientation, notes


def photoshop_of(image: Image.Image) -> dict[int, bytes]:
    """Photoshop's resources in a JPEG, or in the text of a PNG that holds IPTC records."""
    found = image.info.get("photoshop")
    if isinstance(found, dict):
        return {number: data for number, data in found.items() if isinstance(data, bytes)}
    block = iptc.of_hexadecimal(image.info.get("Raw profile type iptc")) or b""
    return {iptc.IIM: block} if block.startswith(b"\x1c") else iptc.resources(block)


def iptc_of_tiff(directory: Directory) -> bytes | None:
    """IPTC records of a TIFF file; some programs call them LONG and turn their bytes round."""
    block, entry = value(directory, IPTC_TIFF_TAG), directory.get(IPTC_TIFF_TAG)
    if block and isinstance(entry, tuple) and entry[0] == LONG and not block.startswith(b"\x1c"):
        block = np.frombuffer(block, np.uint32).byteswap().tobytes()
    return block


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
    xmp = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    return xmp if isinstance(xmp, bytes) else None


def texts_of(image: Image.Image) -> dict[str, str]:
    """PNG's texts, or the comments of a JPEG or GIF file."""
    texts = {key: str(value) for key, value in getattr(image, "text", {}).items()}
    comments = [data for kind, data in getattr(image, "applist", ()) if kind == "COM"] or [image.info.get("comment")]
    lines = [iptc.decoded(comment.rstrip(b"\0"), None) for comment in comments if isinstance(comment, bytes)]
    if any(lines):
        texts["Comment"] = "\n".join(lines)
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
