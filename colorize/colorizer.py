"""Colors for a luminance: the network at a size it knows, its chroma at the picture's size."""

import hashlib
import math
import os
import threading
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from PIL import Image

from ltbc.colorize import hints, join, memory
from ltbc.colorize.hints import HintLike
from ltbc.colorize.luminance import bands, lightness
from ltbc.colorize.parameters import checked_size, number
from ltbc.colorize.picture import Picture, from_array, from_pil
from ltbc.kernels.arrays import Array
from ltbc.nn import Network, WeightsError, default_backend, default_dtype, tiles
from ltbc.nn.backends import array_module_of
from ltbc.nn.resize import triangle_weights
from ltbc.nn.weights import RELEASED

WEIGHTS = RELEASED
NO_WEIGHTS = (
    "no weights: name a file with --weights. To make one: `make demo`, or "
    "`ltbc train PHOTOS --out RUN`, then --weights RUN/weights.safetensors"
)
WITHOUT_GLOBAL = 448  # longest side that a network without global branch sees by default
MULTIPLE = 8  # of the network's height and width
LARGEST_TILE = 1536  # pixels a side: of what it computes, its margins are less than a fifth
RESERVE = 64 << 20  # bytes for what does not grow with a tile: bands of rows, in several threads
WORKSPACE = 64  # bytes a pixel beside the activations: grey codes on their way to the input, the backend's own

ImageLike = Image.Image | np.ndarray


class Colored(NamedTuple):
    """pixels: `[H, W, 3]`, codes of the wanted dtype. forced: how many pixels the gamut pulled towards grey.
    probabilities: of the network's classes `[classes]`, None without global branch."""

    pixels: np.ndarray
    forced: int
    probabilities: np.ndarray | None


class Colorizer:
    """Colors photographs and keeps their luminance.

        from ltbc.colorize import Colorizer
        colorizer = Colorizer()
        colored = colorizer(image)

    weights: a file that training wrote, or a `Network`; by default the file that comes with the program. backend:
    reference, cpu or gpu; by default the best that this machine has. render_size: longest side, in pixels, of the
    picture that the network sees, or "full"; by default three times the side that its global branch sees, where the
    colors of whole photographs come nearest to the true ones (WEIGHTS.md, `ltbc.colorize.experiments.render_sizes`).
    dtype: of the activations; by default what the backend does best. max_memory: bytes that the process may take
    while the network runs: a picture that needs more goes through it in tiles, which changes one sample in millions, by
    one code. One instance may be called from several threads: they take turns at the network, which is in memory
    once. Errors: `nn.WeightsError` (a ValueError) for a weights file that cannot be used, TypeError and ValueError for
    other parameters, MemoryError where max_memory leaves no room for the smallest tile.
    """

    digest: str | None = None  # SHA-256 of the weights file

    def __init__(
        self, weights: str | os.PathLike | Network | None = None, backend: str | None = None,
        render_size: int | str | None = None, dtype: str | None = None, max_memory: int | None = None,
    ) -> None:
        self.render_size, self.max_memory = checked_size(render_size), None
        if max_memory is not None:
            self.max_memory = int(number("max_memory", max_memory, 1, "a number of bytes, as 1 << 30"))
        if not isinstance(weights, str | os.PathLike | Network | None):
            raise TypeError(f"colorize: weights must be a path or a Network, got {type(weights).__name__}")
        if weights is None and not WEIGHTS.is_file():
            raise WeightsError(f"colorize: {NO_WEIGHTS}")
        if not isinstance(weights, Network):
            backend = backend or default_backend()
            dtype = dtype or default_dtype(backend)
            source = Path(weights or WEIGHTS)
            try:
                weights = Network.load(source, backend, dtype, array_module_of(backend))
            except ImportError as error:
                raise ValueError(f"colorize: the backend {backend} cannot run here ({error}): "
                                 f"pip install 'let-there-be-color[{backend}]'") from None
            with open(source, "rb") as file:
                self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.net, self.settings = weights, weights.settings
        if render_size is None:
            self.render_size = 3 * self.settings.global_size or WITHOUT_GLOBAL
        self.lock = threading.RLock()

    @overload
    def __call__(
        self, image: Image.Image, style: ImageLike | None = None, saturation: float = 1, blend: float = 1,
        hints: Sequence[HintLike] = (),
    ) -> Image.Image: ...

    @overload
    def __call__(
        self, image: np.ndarray, style: ImageLike | None = None, saturation: float = 1, blend: float = 1,
        hints: Sequence[HintLike] = (),
    ) -> np.ndarray: ...

    def __call__(
        self, image: ImageLike, style: ImageLike | None = None, saturation: float = 1, blend: float = 1,
        hints: Sequence[HintLike] = (),
    ) -> ImageLike:
        """The image in color: a PIL image for a PIL image, an array for an array, of the same height and width.

        image: an array `[H, W]` or `[H, W, C]`, C = 1 (grey), 2 (grey, alpha), 3 (sRGB) or 4 (sRGB, alpha), of uint8,
        uint16 or floats in [0, 1]; the result is `[H, W, 3]`, or `[H, W, 4]` with alpha, of the same dtype. A PIL image
        of any mode gives mode RGB, or RGBA where there is transparency, 8 bits a channel, sRGB; an embedded color
        profile is applied, EXIF orientation is not. The luminance of each pixel, as grey code of the same CIE Y, stays
        within one code value. style: the image whose global features are used instead of the picture's own.
        saturation: factor on the chroma. blend: how much of the style is mixed with the picture's own global features,
        0 to 1. hints: colors at places, which spread within their regions (`ltbc.colorize.hints`): each is
        (x, y, "#rrggbb"), a pixel of the image as it stands, counted from the left and the top from 0; saturation
        does not change them. Errors: TypeError for other objects and dtypes, ValueError for other shapes
        and values, and for a style where the network has no global branch.
        """
        picture = in_memory(image)
        dtype, white = (image.dtype, picture.white) if isinstance(image, np.ndarray) else (np.dtype(np.uint8), 255.0)
        colored = self.colorize(picture, dtype, white, None if style is None else in_memory(style), saturation, blend,
                                hints)
        pixels = picture.with_alpha(colored.pixels, white)
        return pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)

    def colorize(
        self, picture: Picture, dtype: np.dtype, white: float, style: Picture | None = None, saturation: float = 1,
        blend: float = 1, hints: Sequence[HintLike] = (),
    ) -> Colored:
        """The colored pixels of a picture as codes 0..white of that dtype."""
        number("saturation", saturation, 0, "a finite number, at least 0")
        if number("blend", blend, 0, "a number in [0, 1]") > 1:
            raise ValueError(f"colorize: blend must be a number in [0, 1], got {blend}")
        chroma, probabilities = self.predict(picture.luminance, None if style is None else style.luminance, blend)
        chroma = tinted(chroma, picture.luminance, picture.luminance.shape, saturation, hints)
        pixels, forced = join.join(picture.luminance, chroma, dtype, white)
        return Colored(pixels, forced, probabilities)

    def predict(
        self, luminance: np.ndarray, style: np.ndarray | None = None, blend: float = 1
    ) -> tuple[join.Chroma, np.ndarray | None]:
        """(chroma, class probabilities or None) for grey codes `[H, W]`; style: grey codes of another picture."""
        has_global = self.settings.global_size > 0
        if style is not None and not has_global:
            raise ValueError("colorize: these weights have no global branch, so no style can be taken from a picture")
        seen = shrink(luminance, self.render_size)
        with self.lock:
            self.net.compile_ahead("colorize", lambda: self.chroma_of(seen, self.look(seen)[0] if has_global else None))
        vector = probabilities = None
        if has_global:
            vector, probabilities = self.look(seen)
        if style is not None:
            foreign, _ = self.look(shrink(style, self.render_size))
            vector = foreign if blend == 1 else vector + blend * (foreign - vector)
        height, width = seen.shape
        values = self.chroma_of(seen, vector)[: (height + 1) // 2, : (width + 1) // 2]
        return join.Chroma(values, (height / 2, width / 2), self.settings.color_space, join.halved(seen)), probabilities

    def at(self, render_size: int | str) -> "Colorizer":
        """The same network and its lock, at another render size."""
        other = copy(self)
        other.render_size = checked_size(render_size)
        return other

    def look(self, codes: np.ndarray) -> tuple[Array, np.ndarray]:
        """(global vector in float32, class probabilities) of grey codes; the resizing is that of training, in bands."""
        size, (height, width) = self.settings.global_size, codes.shape
        columns = triangle_weights(width, size).T.astype(np.float32)
        narrow = np.concatenate([self.encode(codes[rows]) @ columns for rows in bands(height, width)])
        small = triangle_weights(height, size).astype(np.float32) @ narrow
        with self.lock:
            vector, logits = self.net.global_features(self.net.xp.asarray(small[None, ..., None]))
        return vector.astype(np.float32), self.probabilities(to_numpy(logits)[0])

    def chroma_of(self, codes: np.ndarray, vector: Array | None) -> np.ndarray:
        """Chroma `[h/2, w/2, C]` of grey codes, their sides rounded up to what the network takes."""
        height, width = (-(-n // MULTIPLE) * MULTIPLE for n in codes.shape)

        def forward(luminance: np.ndarray) -> np.ndarray:
            with self.lock:
                return to_numpy(self.net.colorize_local(self.net.xp.asarray(luminance), vector))

        def read(rows: slice, columns: slice) -> np.ndarray:
            part = codes[rows, columns]
            beyond = [(0, s.stop - s.start - n) for s, n in zip((rows, columns), part.shape)]
            return self.encode(np.pad(part, beyond, mode="edge"))

        side = self.tile_side(height * width)
        chroma = tiles.colorize(self.settings, forward, read, height, width, side)
        if max(height, width) > side:
            with self.lock:
                self.net.inference.use_for(None)  # the picture at full size needs the room now
        return chroma

    def tile_side(self, pixels: int) -> int:
        """How many pixels a side the network may see at once. Raises MemoryError where `max_memory` is too little."""
        if self.max_memory is None:
            return LARGEST_TILE
        each = tiles.bytes_per_pixel(self.settings, self.net.dtype.itemsize) + WORKSPACE
        room, least = self.max_memory - memory.resident() - RESERVE, tiles.smallest_side(self.settings)
        side = min(LARGEST_TILE, math.isqrt(max(0, int(room / each))))
        if side < least and pixels * each > room:
            need = memory.told(memory.resident() + RESERVE + each * least**2)
            raise MemoryError(f"the limit of {memory.told(self.max_memory)} is too low, at least {need} are needed")
        return max(side, least)

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """The network's input, float32 `[h, w]`, of grey codes: what `ltbc.kernels.color` makes of a grey picture."""
        if self.settings.color_space != "lab":
            return codes * 2 - 1
        return (lightness(codes) / 50 - 1).astype(np.float32)

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


def tinted(
    chroma: join.Chroma, luminance: np.ndarray, size: tuple[int, ...], saturation: float, wanted: Sequence[HintLike],
) -> join.Chroma:
    """The chroma with this saturation and these hints. size: height and width of the picture that the hints' places
    count in; luminance: its grey codes `[H, W]`, of this size or smaller."""
    height, width = size
    found = hints.checked(wanted, height, width)
    if saturation != 1:
        chroma = chroma._replace(values=join.saturate(chroma.values, chroma.space, saturation))
    return hints.spread(chroma, shrink(luminance, hints.GRID), (height, width), found) if found else chroma


def shrink(codes: np.ndarray, longest: int | None) -> np.ndarray:
    """Grey codes `[H, W]` with a longest side of at most `longest` pixels, averaged; never enlarged."""
    height, width = codes.shape
    scale = 1 if longest is None else min(1, longest / max(height, width))
    if scale == 1:
        return codes
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    narrow = [averaged(codes[rows], wide, len(codes[rows])) for rows in bands(height, width)]  # never all at once
    return averaged(np.concatenate(narrow), wide, high)


def averaged(codes: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(codes).resize((width, height), Image.Resampling.BILINEAR))


def to_numpy(x) -> np.ndarray:
    """An array of the backend on the host."""
    return x if isinstance(x, np.ndarray) else x.get()
