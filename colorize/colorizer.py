"""Colors for a luminance: the network at a size it knows, its chroma at the picture's size."""

import os
import threading
from typing import NamedTuple, overload

import numpy as np
from PIL import Image

from colorize import join
from colorize.picture import Picture, from_array, from_pil
from kernels.color.reference import rgb_to_lab
from nn import Network, default_backend
from nn.backends import array_module_of
from nn.resize import resize

RENDER_SIZE = 448  # longest side that the network sees: twice the size of its training crops
MULTIPLE = 8  # of the network's height and width

ImageLike = Image.Image | np.ndarray


class Colored(NamedTuple):
    """pixels: `[H, W, 3]`, codes of the wanted dtype. forced: how many pixels the gamut pulled towards grey.
    probabilities: of the network's classes `[classes]`, None without global branch."""

    pixels: np.ndarray
    forced: int
    probabilities: np.ndarray | None


class Colorizer:
    """Colors photographs and keeps their luminance.

        from colorize import Colorizer
        colorizer = Colorizer("weights.safetensors")
        colored = colorizer(image)

    weights: a file that training wrote, or a `Network`. backend: reference, cpu or gpu; by default the best that this
    machine has. render_size: longest side, in pixels, of the picture that the network sees; None for the full size.
    One instance may be called from several threads: they take turns at the network, which is in memory once.
    Errors: `nn.WeightsError` (a ValueError) for a weights file that cannot be used, ValueError for a render_size < 1.
    """

    def __init__(
        self, weights: str | os.PathLike | Network, backend: str | None = None, render_size: int | None = RENDER_SIZE
    ) -> None:
        if render_size is not None and render_size < 1:
            raise ValueError(f"colorize: render_size must be at least 1 or None, got {render_size}")
        if not isinstance(weights, Network):
            backend = backend or default_backend()
            weights = Network.load(weights, backend, xp=array_module_of(backend))
        self.net, self.settings, self.render_size = weights, weights.settings, render_size
        self.lock = threading.Lock()

    @overload
    def __call__(self, image: Image.Image, style: ImageLike | None = None, saturation: float = 1) -> Image.Image: ...

    @overload
    def __call__(self, image: np.ndarray, style: ImageLike | None = None, saturation: float = 1) -> np.ndarray: ...

    def __call__(self, image: ImageLike, style: ImageLike | None = None, saturation: float = 1) -> ImageLike:
        """The image in color: a PIL image for a PIL image, an array for an array, of the same height and width.

        image: an array `[H, W]` or `[H, W, C]`, C = 1 (grey), 2 (grey, alpha), 3 (sRGB) or 4 (sRGB, alpha), of uint8,
        uint16 or floats in [0, 1]; the result is `[H, W, 3]`, or `[H, W, 4]` with alpha, of the same dtype. A PIL image
        of any mode gives mode RGB, or RGBA where there is transparency, 8 bits a channel, sRGB; an embedded color
        profile is applied, EXIF orientation is not. The luminance of each pixel, as grey code of the same CIE Y, stays
        within one code value. style: the image whose global features are used instead of the picture's own.
        saturation: factor on the chroma. Errors: TypeError for other objects and dtypes, ValueError for other shapes
        and values, and for a style where the network has no global branch.
        """
        picture = in_memory(image)
        dtype, white = (image.dtype, picture.white) if isinstance(image, np.ndarray) else (np.dtype(np.uint8), 255.0)
        colored = self.colorize(picture, dtype, white, None if style is None else in_memory(style), saturation)
        pixels = picture.with_alpha(colored.pixels, white)
        return pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)

    def colorize(
        self, picture: Picture, dtype: np.dtype, white: float, style: Picture | None = None, saturation: float = 1
    ) -> Colored:
        """The colored pixels of a picture as codes 0..white of that dtype."""
        if not saturation >= 0:
            raise ValueError(f"colorize: saturation must be at least 0, got {saturation}")
        chroma, probabilities = self.predict(picture.luminance, None if style is None else style.luminance)
        if saturation != 1:
            chroma = chroma._replace(values=join.saturate(chroma.values, chroma.space, saturation))
        pixels, forced = join.join(picture.luminance, chroma, dtype, white)
        return Colored(pixels, forced, probabilities)

    def predict(self, luminance: np.ndarray, style: np.ndarray | None = None) -> tuple[join.Chroma, np.ndarray | None]:
        """(chroma, class probabilities or None) for grey codes `[H, W]`; style: grey codes of another picture."""
        size = self.settings.global_size
        if style is not None and not size:
            raise ValueError("colorize: these weights have no global branch, so no style can be taken from a picture")
        seen = self.encode(shrink(luminance, self.render_size))
        source = seen if style is None else self.encode(shrink(style, self.render_size))
        global_input = resize(source[None, ..., None], size, size) if size else None
        height, width = seen.shape
        padding = [(0, -n % MULTIPLE) for n in (height, width)]
        padded = np.pad(seen, padding, mode="edge")[None, ..., None]
        with self.lock:
            chroma, logits = self.net.forward(
                self.net.xp.asarray(padded), None if global_input is None else self.net.xp.asarray(global_input)
            )
        values = to_numpy(chroma)[0, : (height + 1) // 2, : (width + 1) // 2]
        probabilities = None if logits is None else self.probabilities(to_numpy(logits)[0])
        return join.Chroma(values, (height / 2, width / 2), self.settings.color_space), probabilities

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """The network's input, float32 `[h, w]`, of grey codes: what `kernels.color` makes of a grey picture."""
        if self.settings.color_space != "lab":
            return codes * 2 - 1
        return rgb_to_lab(codes[..., None].repeat(3, -1))[..., 0] / 50 - 1

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        logits = logits.astype(np.float64)
        if self.settings.class_loss == "sigmoid":
            return 0.5 + 0.5 * np.tanh(0.5 * logits)
        share = np.exp(logits - logits.max())
        return share / share.sum()

    def scenes(self, probabilities: np.ndarray, top: int) -> list[tuple[str, float]]:
        """The most probable classes and their probabilities, best first."""
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.settings.classes[i], float(probabilities[i])) for i in best]


def in_memory(image: ImageLike) -> Picture:
    """The picture of a PIL image or an array."""
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    raise TypeError(f"colorize: an image must be a PIL image or a NumPy array, got {type(image).__name__}")


def shrink(codes: np.ndarray, longest: int | None) -> np.ndarray:
    """Grey codes `[H, W]` with a longest side of at most `longest` pixels, averaged; never enlarged."""
    height, width = codes.shape
    scale = 1 if longest is None else min(1, longest / max(height, width))
    if scale == 1:
        return codes
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(codes).resize(size, Image.Resampling.BILINEAR))


def to_numpy(x) -> np.ndarray:
    """An array of the backend on the host."""
    return x if isinstance(x, np.ndarray) else x.get()
