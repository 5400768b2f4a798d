"""One photograph: a file in, sRGB pixels of the wanted size out; and how much color it has."""

import os
import stat
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, features

from ltbc.kernels import color

NEAR_GREY = 3.0  # smallest spread of color that is trained on, see `spread`
LONGEST = 16  # long side by short side: above, there is a seam or a rule rather than a photograph

LARGEST = 1 << 30  # bytes of a file
KINDS = {  # Pillow's name: suffixes
    "BMP": (".bmp",), "GIF": (".gif",), "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"), "PNG": (".png",), "PPM": (".ppm",),
    "TIFF": (".tif", ".tiff"), "WEBP": (".webp",),
    **({"AVIF": (".avif",)} if features.check("avif") else {}),
    **({"JPEG2000": (".j2k", ".jp2", ".jpf", ".jpx")} if features.check("jpg_2000") else {}),
}
SUFFIXES = frozenset(suffix for suffixes in KINDS.values() for suffix in suffixes)
FORMATS = tuple(KINDS)  # no others, whatever a file is called
SRGB = ImageCms.createProfile("sRGB")


class PictureError(Exception):
    """A file that is no usable picture; the message says why, without the path."""


def load(path: str | os.PathLike) -> bytes:
    """What stands in a file. Raises PictureError where it is no plain one: a pipe would wait, a device has no end."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise PictureError("no plain file")
        if about.st_size > LARGEST:
            raise PictureError(f"{about.st_size / LARGEST:.1f} GiB: too large for a picture")
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            data = file.read(LARGEST)
    except FileNotFoundError:
        raise PictureError("a link to nothing" if os.path.islink(path) else "no such file") from None
    except OSError as error:
        raise PictureError(error.strerror or "cannot be read") from None
    if not data:
        raise PictureError("empty file")
    return data


def read(source: str | os.PathLike | bytes, short_side: int, enlarge: bool = True) -> np.ndarray:
    """The picture as sRGB `[H, W, 3]` uint8, min(H, W) = short_side, reduced or (with `enlarge`) enlarged as needed.

    source: a path, or what stands in the file. EXIF orientation and an embedded color profile are applied,
    transparent parts become white. Raises PictureError for whatever cannot be used, decompression bombs (Pillow's
    limit) and empty files among it.
    """
    data = source if isinstance(source, bytes) else load(source)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as file:
            check_shape(*file.size)
            short_side = short_side if enlarge else min(short_side, *file.size)
            file.draft("RGB", (2 * short_side, 2 * short_side))  # JPEG: decoded at 1/2, 1/4, 1/8 where that suffices
            profile = file.info.get("icc_profile")
            image = plain(ImageOps.exif_transpose(file))
            image = image.resize(target_size(*image.size, short_side), Image.Resampling.LANCZOS, reducing_gap=3)
            return np.array(to_srgb(image, profile))
    except PictureError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = "no picture" if isinstance(error, Image.UnidentifiedImageError) else str(error).strip()
        raise PictureError(" ".join(reason.split()) or type(error).__name__) from None


def check_shape(width: int, height: int) -> None:
    if max(width, height) > LONGEST * min(width, height):
        raise PictureError(f"{width} x {height} pixels: one side is more than {LONGEST} times the other")


def target_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    scale = short_side / min(width, height)
    return max(short_side, round(width * scale)), max(short_side, round(height * scale))


def plain(image: Image.Image) -> Image.Image:
    """The image in a mode that can be resized and has no transparency: L, RGB or CMYK."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode[0] in "1IF":  # one-bit and deep grey
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(image, source, SRGB, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError):  # damaged, or of another color model: as if there were none
            pass
    return image.convert("RGB")


def spread(rgb: np.ndarray) -> float:
    """How far the colors of `[H, W, 3]` uint8 lie apart: sqrt(var(a*) + var(b*)), on at least 64 pixels a side.

    The paper (section 4) leaves out images of low color variance: those below `NEAR_GREY` here. Grey pictures have 0,
    sepia and other tints little whatever their strength, photographs 5 to 30.
    """
    step = max(1, min(rgb.shape[:2]) // 64)
    small = rgb[::step, ::step]
    height, width = (n // 2 * 2 for n in small.shape[:2])
    _, chroma = color.encode(small[None, :height, :width])
    return 220 * float(np.sqrt(chroma[0].var((0, 1)).sum()))
