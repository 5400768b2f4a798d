"""What the tests of picture files share: pictures, their luminance written out once more, metadata."""

import imagecodecs
import numpy as np
from PIL import Image

from ltbc.colorize import deep, tags, xmp
from ltbc.colorize.images import depth, write
from ltbc.nn import Network

WEIGHTS = np.array([0.212671, 0.715160, 0.072169])  # of linear sRGB in the luminance, Rec. 709
PLACE = b"><rdf:Description " + b" ".join(  # what a packet's properties may stand in
    f'xmlns:{prefix}="{name}"'.encode() for prefix, name in xmp.NAMESPACES.items()) + b' rdf:about="" '


def luminance(codes):
    """Grey codes of sRGB codes `[H, W, C]` in [0, 1], written out once more, in float64."""
    codes = np.asarray(codes, np.float64)
    if codes.ndim == 2:
        return codes
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return srgb(linear[..., :3] @ WEIGHTS)


def srgb(linear):
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def grey(dtype=np.uint8, height=9, width=14):
    """A ramp with black and white in it."""
    white = np.iinfo(dtype).max
    return np.linspace(0, white, height * width).reshape(height, width).astype(dtype)


def color_of(path, picture, seed=0):
    """Pixels for that file, of any color: what a network might have made."""
    dtype, white = depth(path, picture)
    pixels = np.random.default_rng(seed).random((*picture.luminance.shape, 3)) * white
    return (pixels if dtype.kind == "f" else np.rint(pixels)).astype(dtype)


def written(path, picture):
    """(pixels as written, notes)."""
    pixels = color_of(path, picture)
    return pixels, write(path, pixels, picture)


def write_tiff(path, pixels, directory, order):
    """A file of one page, by the program's own writer."""
    with open(path, "wb") as file:
        deep.add_page(file, pixels, directory, order, None, None)


def profile_of(kind, **options):
    return bytes(imagecodecs.cms_profile(kind, **options))


def rich_exif():
    exif = Image.Exif()
    exif[0x10E] = "Harbor, 1911"
    exif[0x13B] = "José".encode("latin-1")
    exif[0x8298] = "public domain"
    exif.get_ifd(tags.EXIF).update({0x9003: "1911:05:01 10:00:00", 0x829A: (1, 125), 0x927C: b"maker\0note" * 9})
    exif.get_ifd(tags.GPS).update({1: "N", 2: (59.0, 20.0, 30.0)})
    return exif


def network(**settings):
    """A tiny network, with random weights strong enough for colors."""
    net = Network(width=1 / 32, classes=("coast", "field", "town"), global_size=32, **settings)
    for layer in ("color.4", "class.1"):
        net.parameters.views[f"{layer}.weight"] *= 30
    net.refresh()
    return net
