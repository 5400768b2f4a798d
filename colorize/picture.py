"""A decoded picture, from PIL images and NumPy arrays: its luminance, its transparency, and what was said about it."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ltbc.colorize.errors import ImageError
from ltbc.colorize.luminance import bands, grey_codes, is_color, usable
from ltbc.colorize.metadata import Metadata, upright
from ltbc.colorize.scale import scaled

__all__ = ["ImageError", "Picture", "Planes", "from_array", "from_pil", "make", "planes_of"]

GREY_MODES = ("1", "L", "LA", "La")


class Rows:
    """The pixels of a PIL image as `[H, W, C]` uint8, made of it band by band: never all of them are there twice."""

    dtype = np.dtype(np.uint8)

    def __init__(self, image: Image.Image, mode: str) -> None:
        self.image, self.mode = image, mode
        self.shape = (image.height, image.width, len(mode))

    def __getitem__(self, at: slice | tuple[slice, slice]) -> np.ndarray:
        rows, columns = at if isinstance(at, tuple) else (at, slice(None))
        first, last, step = rows.indices(self.image.height)
        if step > 1:
            return np.concatenate([self[i : i + 1, columns] for i in range(first, last, step)])
        band = self.image.crop((0, first, self.image.width, last)).convert(self.mode)
        return np.asarray(band).reshape(last - first, self.image.width, -1)[:, columns]


@dataclass
class Planes:
    """Pixels as a file holds them: colors `[H, W, C]` (1 grey, 3 RGB, 4 CMYK), alpha `[H, W]` or None, codes 0..white
    (and 0..white also where a float file counts to 255 or 65535). notes: for the user."""

    colors: np.ndarray | Rows
    alpha: np.ndarray | None
    white: float
    notes: list[str] = field(default_factory=list)


@dataclass
class Picture:
    """What of a picture survives coloring.

    luminance: grey codes `[H, W]`, float32 in [0, 1]. alpha: `[H, W]` in [0, 1], float32, or None. dtype, white: of the
    codes to be saved: uint8 and 255, uint16 and 65535, float32 and its scale. notes: for the user, about this file.
    in_color: whether it is a color photograph, whose colors are to be replaced.
    """

    luminance: np.ndarray
    alpha: np.ndarray | None
    dtype: np.dtype
    white: float
    metadata: Metadata = field(default_factory=Metadata)
    notes: list[str] = field(default_factory=list)
    in_color: bool = False

    def with_alpha(self, pixels: np.ndarray, white: float) -> np.ndarray:
        """The pixels `[H, W, 3]`, codes 0..white, and the picture's alpha behind them where it has one."""
        if self.alpha is None:
            return pixels
        joined = np.empty((*self.alpha.shape, 4), pixels.dtype)
        for rows in bands(*self.alpha.shape):
            alpha = self.alpha[rows].astype(np.float64) * white
            joined[rows, :, :3] = pixels[rows]
            joined[rows, :, 3] = alpha if pixels.dtype.kind == "f" else np.rint(alpha)
        return joined


def make(
    planes: Planes, metadata: Metadata | None = None, notes: list[str] | None = None, orientation: int = 1
) -> Picture:
    """The picture of these planes, upright, its profile applied."""
    metadata, notes = metadata or Metadata(), (notes or []) + planes.notes
    colors, profile = planes.colors, metadata.profile
    if profile and not usable(profile, colors.shape[2]):
        notes.append("its color profile does not fit or is damaged, and was ignored")
        profile = metadata.profile = None
    luminance = upright(grey_codes(colors, planes.white, profile), orientation)
    in_color = is_color(colors, planes.white)
    alpha = None
    if planes.alpha is not None:
        alpha = upright((planes.alpha / np.float32(planes.white)).astype(np.float32), orientation)
    if colors.dtype.kind == "f":
        return Picture(luminance, alpha, np.dtype(np.float32), planes.white, metadata, notes, in_color)
    if planes.white <= 255:
        return Picture(luminance, alpha, np.dtype(np.uint8), 255, metadata, notes, in_color)
    return Picture(luminance, alpha, np.dtype(np.uint16), 65535, metadata, notes, in_color)


def from_array(array: np.ndarray) -> Picture:
    """Of `[H, W]` or `[H, W, C]`, C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    uint8, uint16, or a float dtype in [0, 1]. Raises TypeError for another dtype, ValueError for other shapes and
    values.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in (np.uint8, np.uint16) and not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"colorize: an array must be uint8, uint16 or float, got {array.dtype}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not 1 <= channels <= 4 or not array.size:
        raise ValueError(f"colorize: an array must be [H, W] or [H, W, 1 to 4], got {list(array.shape)}")
    if array.dtype in (np.uint8, np.uint16):
        white = np.iinfo(array.dtype).max
    elif not (array.min() >= 0 and array.max() <= 1):  # NaN fails, too
        raise ValueError(f"colorize: a float array must lie in [0, 1], got {array.min():g} to {array.max():g}")
    else:
        white = 1
    array = array.reshape(*array.shape[:2], channels)
    colors = array[..., : 1 if channels < 3 else 3]
    return make(Planes(colors, array[..., -1] if channels in (2, 4) else None, white))


def from_pil(image: Image.Image) -> Picture:
    """Of a PIL image of any mode, as it stands: its color profile is applied, its EXIF orientation is not."""
    if not image.width * image.height:
        raise ValueError(f"colorize: an image must have pixels, got {image.width} x {image.height}")
    return make(planes_of(image), Metadata(profile=image.info.get("icc_profile")))


def planes_of(image: Image.Image, white: float | None = None) -> Planes:
    """The planes of a PIL image; white: of floats, where it is known. Raises ImageError for modes without a meaning."""
    mode = image.mode
    if mode == "F" or mode.startswith("I"):
        pixels = np.asarray(image)[..., None]
        return Planes(pixels, None, 65535) if pixels.dtype.itemsize == 2 else Planes(*scaled(pixels, None, None, white))
    grey = mode in GREY_MODES
    try:
        image = image.convert("LA") if mode == "La" else image
        if image.has_transparency_data:
            rgba = np.asarray(image.convert("RGBA"))
            return Planes(rgba[..., :1] if grey else rgba[..., :3], rgba[..., 3], 255)
        if mode == "CMYK":
            return Planes(np.asarray(image), None, 255)
        rows = Rows(image, "L" if grey else "RGB")
        rows[:1]
    except ValueError:
        raise ImageError(f"color mode {mode} is not supported; save it as grey or RGB first") from None
    return Planes(rows, None, 255)
