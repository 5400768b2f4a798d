"""One sheet with a photograph colored in several ways, labelled, to choose options from."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ltbc.colorize import join
from ltbc.colorize.colorizer import Colorizer, shrink, tinted
from ltbc.colorize.hints import HintLike
from ltbc.colorize.picture import Picture

SIZES = (0.5, 1, 2)  # rows: render sizes, in terms of the colorizer's own (at `full`: of the picture's)
SATURATIONS = (0.7, 1.0, 1.4, 2.0)  # columns
TILE, GAP, LABEL = 320, 8, 24  # pixels: longest side of a tile, space between tiles, height of a line of text


def sheet(
    colorizer: Colorizer, picture: Picture, style: Picture | None = None, blend: float = 1,
    hints: Sequence[HintLike] = (),
) -> Image.Image:
    """A row for each render size, a column for each saturation; each tile is labelled with the options that give it."""
    luminance, foreign = picture.luminance, None if style is None else style.luminance
    small = shrink(luminance, TILE)
    height, width = small.shape
    sizes = render_sizes(colorizer.render_size, max(luminance.shape))
    across, down = max(width, 250) + GAP, height + LABEL + GAP
    paper = Image.new("RGB", (len(SATURATIONS) * across + GAP, len(sizes) * down + GAP), "white")
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(14)
    for row, size in enumerate(sizes):
        chroma, _ = colorizer.at(size).predict(luminance, foreign, blend)
        for column, saturation in enumerate(SATURATIONS):
            colors = tinted(chroma, luminance, luminance.shape, saturation, hints)
            pixels, _ = join.join(small, colors, np.dtype(np.uint8), 255)
            left, top = GAP + column * across, GAP + row * down
            pen.text((left, top + 2), f"--render-size {size} --saturation {saturation:g}", "black", font)
            paper.paste(Image.fromarray(pixels), (left, top + LABEL))
    return paper


def render_sizes(own: int | None, longest: int) -> list[int]:
    """Around the colorizer's own, none beyond the picture."""
    return sorted({min(longest, max(8, round(share * (own or longest)))) for share in SIZES})
