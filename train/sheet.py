"""Sheets of pictures: rows of one picture each, in columns with a title."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ltbc.nn import Network
from ltbc.train import quality
from ltbc.train import score as chroma
from ltbc.train.pictures.folder import Pictures

GAP, LABEL = 6, 20  # pixels between pictures; height of a line of text
EACH = 4  # pictures a group
SIDE = 160  # pixels, of a picture that is measured at less


def draw(rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str], across: int = 1) -> Image.Image:
    """rows: (label, uint8 pictures `[S, S, 3]`, one a column), S the same for all. across: rows side by side."""
    side = rows[0][1][0].shape[0]
    width, height = len(titles) * (side + GAP) + GAP, side + LABEL
    down = -(-len(rows) // across)
    sheet = Image.new("RGB", (across * width, LABEL + GAP + down * height), "white")
    pen, small, large = ImageDraw.Draw(sheet), ImageFont.load_default(12), ImageFont.load_default(14)
    for i, (label, pictures) in enumerate(rows):
        left, top = (i // down) * width + GAP, LABEL + (i % down) * height
        pen.text((left, top + 3), label, "black", small)
        for j, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (left + j * (side + GAP), top + LABEL))
    for block in range(across):
        for j, title in enumerate(titles):
            pen.text((block * width + GAP + j * (side + GAP), 2), title, "black", large)
    return sheet


def draw_best_and_worst(
    net: Network, pictures: Pictures, result: quality.Quality, saturation: float, path: Path
) -> None:
    """The pictures whose CIEDE2000 ours brings down most against grey, least (or up), and those in the middle."""
    gain = result.values[quality.GREY]["ciede2000"] - result.values[quality.OURS]["ciede2000"]
    order = np.argsort(-gain, kind="stable")
    each = min(EACH, len(order))
    start = (len(order) - each) // 2
    groups = {"best": order[:each], "median": order[start : start + each], "worst": order[-each:]}
    rows = []
    for name, chosen in groups.items():
        for i in chosen:
            values = [f"{result.values[kind]['ciede2000'][i]:.1f}" for kind in (quality.GREY, quality.OURS)]
            label = f"{name}: {pictures.names[i]}, CIEDE2000 {' to '.join(values)}"
            rows.append((label, triple(net, chroma.middle(pictures[i]), saturation)))
    draw(rows, ("grey", "ours", "true"), across=len(groups)).save(path)


def draw_samples(net: Network, pictures: Pictures) -> bytes:
    """A JPEG of EACH pictures, spread over all: grey, ours and true. What cannot be read any more is left out."""
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(EACH, len(pictures))).astype(int)).tolist()
    rows = [(str(pictures.names[i[0]]), triple(net, square[0], 1.0)) for i in [[k] for k in chosen]
            for _, square in chroma.squares_of(pictures, i)]
    buffer = io.BytesIO()
    if rows:
        draw(rows, ("grey", "ours", "true"), across=2 if len(rows) > 1 else 1).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def triple(net: Network, square: np.ndarray, saturation: float) -> list[np.ndarray]:
    """A square as grey, as ours and as it is, not smaller than SIDE."""
    (ab, _), square = chroma.predict(net, net.xp.asarray(square[None])), square[None]
    ours = quality.paint(square, saturation * quality.to_numpy(ab))
    return [enlarge(x) for x in (quality.paint(square, np.zeros((1, 1, 1, 2), np.float32))[0], ours[0], square[0])]


def enlarge(picture: np.ndarray) -> np.ndarray:
    side = max(SIDE, len(picture))
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
