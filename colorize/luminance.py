"""What is kept of a picture: of each pixel, the grey code that has the same CIE luminance Y.

    code = sRGB((Y of the pixel's linear sRGB color)), 0 for black and 1 for white; a grey pixel keeps its own code.

A picture with an embedded color profile is taken through it to sRGB first (perceptual intent, in floats, colors
outside sRGB cut off, as viewers show it).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ltbc.kernels.color import RGB_TO_XYZ
from ltbc.kernels.color.reference import linear_to_rgb, rgb_to_lab, rgb_to_linear

Y_OF_RGB = RGB_TO_XYZ[1]
SEEN = 256  # pixels of the longer side that are looked at for color
# root mean square of a*, b* around their mean at each lightness: 5 at most in 13 sepia prints, made of grey photographs
# by a toning curve, uneven fading and JPEG; 6.6 and more in the 12 of the Kodak set
TONED = 6.0
BAND = 1 << 16  # pixels worked on at once: few enough to stay in the cache
PROFILES = {b"RGB ": ("rgb", 3), b"GRAY": ("gray", 1), b"CMYK": ("cmyk", 4)}  # color model in an ICC header: channels


def bands(height: int, width: int) -> Iterator[slice]:
    """Slices of rows, about `BAND` pixels each."""
    step = max(1, BAND // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def grey_codes(pixels: Any, white: float, profile: bytes | None = None) -> np.ndarray:
    """Grey codes `[H, W]`, float32 in [0, 1].

    pixels: `[H, W, C]`, C = 1 grey, 3 RGB, 4 CMYK (ink: white is no ink), codes 0..white of an integer or float
    dtype, or whatever gives an array for a slice of rows. profile: the ICC profile that they are in, which must pass
    `usable`; None for sRGB.
    """
    height, width, channels = pixels.shape
    codes = np.empty((height, width), np.float32)
    table = None
    if channels == 3 and profile is None and pixels.dtype in (np.uint8, np.uint16):
        table = rgb_to_linear(np.arange(white + 1) / white)
    for rows in bands(height, width):
        band = pixels[rows]
        if table is not None:
            codes[rows] = linear_to_rgb(table[band] @ Y_OF_RGB)
            continue
        band = to_srgb(band.astype(np.float64) / white, profile)
        grey = band[..., 0] if band.shape[2] == 1 else linear_to_rgb(rgb_to_linear(band) @ Y_OF_RGB)
        codes[rows] = grey
    return np.clip(codes, 0, 1, out=codes)


def is_color(pixels: Any, white: float) -> bool:
    """Whether pixels as for `grey_codes` show a color photograph and no toned one: whether colors of equal lightness
    differ. Their profile does not matter for that."""
    if pixels.shape[2] == 1:
        return False
    step = max(1, max(pixels.shape[:2]) // SEEN)
    few = pixels[::step, ::step]
    lab = rgb_to_lab(np.clip(to_srgb(few.astype(np.float64) / white, None), 0, 1).reshape(-1, 3))
    levels = (lab[:, 0] / 6.25).astype(int)
    count = np.maximum(np.bincount(levels), 1)
    spread = sum((lab[:, k] - (np.bincount(levels, lab[:, k]) / count)[levels]) ** 2 for k in (1, 2))
    return bool(np.sqrt(np.mean(spread)) > TONED)


def lightness(grey: np.ndarray) -> np.ndarray:
    """CIE L* of grey codes, in float64."""
    y = rgb_to_linear(grey.astype(np.float64))
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, (29 / 3) ** 3 * y)


def to_srgb(pixels: np.ndarray, profile: bytes | None) -> np.ndarray:
    """sRGB `[H, W, 3]`, or `[H, W, 1]` for grey without a profile, from floats in [0, 1]."""
    if profile is not None:
        return through_profile(pixels, profile)
    if pixels.shape[2] == 4:
        return (1 - pixels[..., :3]) * (1 - pixels[..., 3:])
    return pixels


def through_profile(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """sRGB `[H, W, 3]` from floats in the profile's color space."""
    import imagecodecs  # here, since most pictures do without

    space, channels = PROFILES[profile[16:20]]
    pixels = pixels[..., 0] if channels == 1 else pixels.repeat(channels // pixels.shape[2], 2)
    if space == "cmyk":
        pixels = pixels * 100  # Little CMS counts ink in percent
    srgb = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels), profile, srgb_profile(), colorspace=space, outcolorspace="rgb", outdtype="f8"
    )
    return np.clip(srgb, 0, 1)


def usable(profile: bytes, channels: int) -> bool:
    """Whether a picture with that many color channels can be taken through the profile."""
    space, wanted = PROFILES.get(profile[16:20], ("", 0))
    if not space or (wanted != channels and (wanted, channels) != (3, 1)):
        return False
    try:
        through_profile(np.zeros((1, 1, channels)), profile)
    except Exception:  # of the color management library, about a damaged profile
        return False
    return True


def srgb_profile() -> bytes:
    """The ICC profile of sRGB, without date, so that the same picture gives the same file."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def deviation(pixels: Any, white: float, luminance: np.ndarray) -> float:
    """How far, at most, the luminance of sRGB pixels as for `grey_codes` lies from grey codes `[H, W]`, in codes."""
    return max(float(np.abs(grey_codes(pixels[rows], white) - luminance[rows]).max())
               for rows in bands(*luminance.shape)) * white
