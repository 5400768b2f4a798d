"""Colors that a person wants at places: the chroma of a hint spreads as far as the picture's luminance stays alike.

Distance from a hint is counted along the way on which the grey codes change least (geodesic distance: Yatziv and
Sapiro, "Fast image and video colorization using chrominance blending", 2006), on a grid with a longest side of GRID:

    step of length l from p to q:     l / (REACH * longest side) + max(0, |grey_p - grey_q| - grain) / SPREAD
    weight of hint i at distance d_i: w_i = exp(-d_i^4 / 2)
    chroma:                           network's + max_i w_i (sum_i c_i / d_i^2 / sum_i 1 / d_i^2 - network's)

SPREAD is half of that of the guided upsampling, which then brings this chroma to full size; REACH lets a hint fade
where no edge ends it. The grey codes are medians of WINDOW x WINDOW samples, and grain is the median of their changes
between neighbours: what a picture shows everywhere is no edge. Luminance is not touched.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from ltbc.colorize import join
from ltbc.kernels import color

GRID = 640  # pixels
REACH, SPREAD = 0.4, join.SPREAD / 2
WINDOW, MOST_GRAIN = 5, 0.02
ROUNDS = 8  # over the picture, at most: how often a way may turn back
NEAR = 1e-6  # instead of 0, of squared distances


class Hint(NamedTuple):
    """x, y: a pixel of the upright picture, counted from its left and upper edges, from 0. rgb: sRGB, 0 to 255."""

    x: int
    y: int
    rgb: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.x},{self.y},#{bytes(self.rgb).hex()}"


HintLike = tuple[int, int, str | tuple[int, int, int]]  # or a Hint


def parse(text: str) -> Hint:
    """The hint of "X,Y,#rrggbb". Raises ValueError for anything else."""
    found = re.fullmatch(r"(\d{1,9}),(\d{1,9}),#?([0-9a-fA-F]{6})", text.replace(" ", ""), re.ASCII)
    if not found:
        raise ValueError(f"must be like 120,80,#a03c28, got {text}")
    red, green, blue = bytes.fromhex(found[3])
    return Hint(int(found[1]), int(found[2]), (red, green, blue))


def checked(hints: Sequence[HintLike], height: int, width: int) -> list[Hint]:
    """(x, y, "#rrggbb" or three codes) as hints. Raises TypeError for what is none, ValueError for one that does not
    lie in the picture or names no color."""
    found = []
    for hint in hints:
        try:
            x, y, rgb = hint
            codes = rgb.removeprefix("#") if isinstance(rgb, str) else bytes(rgb).hex()
            made = parse(f"{int(x)},{int(y)},{codes}")
        except TypeError:
            raise TypeError(f"colorize: a hint must be (x, y, '#rrggbb' or three codes), got {hint!r}") from None
        except ValueError:
            raise ValueError(f"colorize: a hint must be like (120, 80, '#a03c28'), got {hint!r}") from None
        if not (made.x < width and made.y < height):
            raise ValueError(f"the hint {made} lies outside of the picture of {width} x {height} pixels")
        found.append(made)
    return found


def spread(chroma: join.Chroma, guide: np.ndarray, size: tuple[int, int], hints: Sequence[Hint]) -> join.Chroma:
    """The chroma with the hints in it, one sample for each of the guide's.

    guide: grey codes `[h, w]` of the picture, its longest side reduced to GRID. size: the picture's height and width.
    """
    height, width = guide.shape
    upsample = join.bilinear if chroma.guide is None else join.guided
    values = upsample(chroma, guide, slice(0, height), width).astype(np.float32)
    wanted, total = np.zeros_like(values), np.zeros((height, width, 1), np.float32)
    nearest = np.full((height, width, 1), np.inf, np.float32)
    way = Ways(guide)
    for hint in hints:
        place = (2 * hint.y + 1) * height // (2 * size[0]), (2 * hint.x + 1) * width // (2 * size[1])
        square = way.distances(*place)[..., None] ** 2
        nearest = np.minimum(nearest, square)
        wanted += chroma_of(hint.rgb, chroma.space) / (square + NEAR)
        total += 1 / (square + NEAR)
    values += np.exp(-0.5 * nearest**2) * (wanted / total - values)
    return join.Chroma(values, (height, width), chroma.space, guide)


def chroma_of(rgb: tuple[int, int, int], space: str) -> np.ndarray:
    """What the network would have to predict for this color, `[C]`."""
    return color.encode(np.full((1, 2, 2, 3), rgb, np.uint8), space)[1][0, 0, 0]


class Ways:
    """What steps between neighbouring samples of a guide `[h, w]` cost: to the right as sums along each row, downwards
    straight, to the right and to the left."""

    def __init__(self, guide: np.ndarray) -> None:
        codes = Image.fromarray(np.rint(guide * 255).astype(np.uint8)).filter(ImageFilter.MedianFilter(WINDOW))
        grey = np.asarray(codes, np.float32) / 255
        across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
        changes = np.concatenate([across.ravel(), down.ravel(), [0]])
        self.grain, self.reach = min(MOST_GRAIN, float(np.median(changes))), REACH * max(grey.shape)
        self.along = np.pad(np.cumsum(self.cost(across, 1), 1, np.float64), ((0, 0), (1, 0)))
        self.down = self.cost(down, 1)
        self.down_right = self.cost(np.abs(grey[1:, 1:] - grey[:-1, :-1]), 2**0.5)
        self.down_left = self.cost(np.abs(grey[1:, :-1] - grey[:-1, 1:]), 2**0.5)

    def cost(self, change: np.ndarray, length: float) -> np.ndarray:
        return length / self.reach + np.maximum(change - self.grain, 0) / SPREAD

    def distances(self, row: int, column: int) -> np.ndarray:
        """Of each sample from that one, `[h, w]`, float32."""
        away = np.full(self.along.shape, np.inf)
        away[row, column] = 0
        self.pass_along(away, row)
        for _ in range(ROUNDS):
            before = away.copy()
            for i in range(len(away) - 1):
                self.pass_on(away, i, i + 1, self.down_right[i], self.down_left[i])
            for i in range(len(away) - 1, 0, -1):
                self.pass_on(away, i, i - 1, self.down_left[i - 1], self.down_right[i - 1])
            if np.array_equal(before, away):
                break
        return away.astype(np.float32)

    def pass_on(self, away: np.ndarray, row: int, onto: int, right: np.ndarray, left: np.ndarray) -> None:
        """The shortest ways from a row to one beside it, and along that."""
        line = away[onto]
        np.minimum(line, away[row] + self.down[min(row, onto)], out=line)
        np.minimum(line[1:], away[row, :-1] + right, out=line[1:])
        np.minimum(line[:-1], away[row, 1:] + left, out=line[:-1])
        self.pass_along(away, onto)

    def pass_along(self, away: np.ndarray, row: int) -> None:
        line, along = away[row], self.along[row]
        np.minimum(line, np.minimum.accumulate(line - along) + along, out=line)
        np.minimum(line, np.minimum.accumulate((line + along)[::-1])[::-1] - along, out=line)
