"""`python -m colorize.experiments.upsampling PHOTO... --out SHEET.png`: what chroma at full size costs, by itself.

The true chroma of colored photographs is averaged over blocks of 2, 4 and 8 pixels, brought back, and compared: root
mean square error of a* and b*, of everything and of the tenth of the pixels with the steepest luminance. The sheet
shows the photograph where the two ways differ most: true, bilinear, guided, enlarged.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ltbc.colorize import images, join
from ltbc.colorize.luminance import grey_codes
from ltbc.colorize.picture import ImageError
from ltbc.kernels.color.reference import rgb_to_lab

BLOCKS = (2, 4, 8)  # pixels a side that share one chroma sample
SHOWN, WINDOW, ENLARGED = 4, 96, 4  # block size on the sheet; its side in pixels of the photograph; its scale
WAYS = {"bilinear": join.bilinear, "guided": join.guided}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m colorize.experiments.upsampling", description=__doc__.split(":")[1])
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photographs in color")
    parser.add_argument("--out", metavar="SHEET.png", help="where to show both ways side by side")
    options = parser.parse_args(arguments)
    try:
        photographs = [opened(path) for path in options.photos]
        for line in table([measured(pixels) for pixels in photographs]):
            print(line)
        if options.out:
            sheet(photographs).save(options.out)
            print(f"look at {options.out}")
    except (ImageError, OSError, ValueError) as error:
        print(f"colorize: {images.one_line(error)}", file=sys.stderr)
        return 1
    return 0


def true_colors(path: str) -> Image.Image:
    """A colored photograph, mode RGB. Raises ImageError."""
    images.read(path)  # says in one line what is wrong with a file
    return Image.open(path).convert("RGB")


def opened(path: str) -> np.ndarray:
    """RGB `[H, W, 3]`, uint8, its sides multiples of the largest block."""
    pixels = np.asarray(true_colors(path))
    height, width = (n // BLOCKS[-1] * BLOCKS[-1] for n in pixels.shape[:2])
    if not height or not width:
        raise ImageError(f"{path}: too small to compare")
    return pixels[:height, :width]


def brought_back(pixels: np.ndarray, block: int, way: join.Upsample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(true a* and b*, those after averaging and upsampling, grey codes)."""
    height, width = pixels.shape[:2]
    grey, true = grey_codes(pixels, 255), rgb_to_lab(pixels / 255)[..., 1:]
    mean = lambda x: x.reshape(height // block, block, width // block, block, -1).mean((1, 3))  # noqa: E731
    samples = mean((true + 110) / 220).astype(np.float32)
    chroma = join.Chroma(samples, samples.shape[:2], "lab", mean(grey)[..., 0])
    return true, way(chroma, grey, slice(0, height), width) * 220 - 110, grey


def measured(pixels: np.ndarray) -> dict[tuple[str, int], tuple[float, float]]:
    """Mean squared errors (of everything, at the steepest tenth) by way and block."""
    errors = {}
    for name, way in WAYS.items():
        for block in BLOCKS:
            true, got, grey = brought_back(pixels, block, way)
            steepness = np.hypot(*np.gradient(grey))
            error = ((got - true) ** 2).mean(-1)
            errors[name, block] = float(error.mean()), float(error[steepness >= np.quantile(steepness, 0.9)].mean())
    return errors


def table(errors: list[dict[tuple[str, int], tuple[float, float]]]) -> list[str]:
    lines = [f"RMSE of a* and b*, {len(errors)} photographs  (at the steepest tenth)"]
    for name in WAYS:
        cells = [np.sqrt(np.mean([e[name, block] for e in errors], 0)) for block in BLOCKS]
        lines.append(f"{name:<9}" + "".join(f"   1/{b}: {c[0]:.3f} ({c[1]:.3f})" for b, c in zip(BLOCKS, cells)))
    return lines


def sheet(photographs: list[np.ndarray]) -> Image.Image:
    """True, bilinear, guided: the window of the photographs in which guided gains most."""
    best, tiles = -np.inf, {}
    for pixels in photographs:
        found = {name: brought_back(pixels, SHOWN, way) for name, way in WAYS.items()}
        true, _, grey = found["guided"]
        errors = {name: ((got - true) ** 2).mean(-1) for name, (_, got, _) in found.items()}
        gain = errors["bilinear"] - errors["guided"]
        for top in corners(gain.shape[0]):
            for left in corners(gain.shape[1]):
                window = slice(top, top + WINDOW), slice(left, left + WINDOW)
                if gain[window].mean() > best:
                    best = gain[window].mean()
                    tiles = {"true": pixels[window]}
                    tiles |= {name: joined(grey[window], got[window]) for name, (_, got, _) in found.items()}
    side, label = WINDOW * ENLARGED, 26
    picture = Image.new("RGB", (len(tiles) * (side + 8) - 8, side + label), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    for i, (name, tile) in enumerate(tiles.items()):
        pen.text((i * (side + 8), 4), name, "black", font)
        enlarged = Image.fromarray(tile).resize((tile.shape[1] * ENLARGED, tile.shape[0] * ENLARGED), 0)
        picture.paste(enlarged, (i * (side + 8), label))
    return picture


def corners(size: int) -> list[int]:
    """Where windows begin that cover an axis, half of one apart; the last ends with it."""
    last = max(0, size - WINDOW)
    return [*range(0, last, WINDOW // 2), last]


def joined(grey: np.ndarray, ab: np.ndarray) -> np.ndarray:
    chroma = join.Chroma((ab + 110) / 220, ab.shape[:2], "lab")
    return join.join(grey, chroma, np.dtype(np.uint8), 255)[0]


if __name__ == "__main__":
    sys.exit(main())
