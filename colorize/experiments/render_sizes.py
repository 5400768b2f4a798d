"""`python -m colorize.experiments.render_sizes PHOTO...`: at which render size colors come nearest to the true ones.

Colored photographs, reduced to a longest side of 512 pixels, are colored from their luminance at several render sizes.
Printed is the root mean square error of a* and b* over all pixels of all photographs, and how many dB that is under
grey's. The default render size of `Colorizer` comes from here.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import sys

import numpy as np
from PIL import Image

from ltbc.colorize import images
from ltbc.colorize.colorizer import Colorizer
from ltbc.colorize.experiments.upsampling import true_colors
from ltbc.colorize.picture import ImageError
from ltbc.kernels import notices
from ltbc.kernels.color.reference import rgb_to_lab
from ltbc.nn import WeightsError

LONGEST = 512  # pixels
SHARES = (1, 1.5, 2, 3, 4)  # of the side that the global branch sees


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m colorize.experiments.render_sizes", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photographs in color")
    parser.add_argument("--weights", metavar="FILE", help="default: the network that comes with the program")
    options = parser.parse_args(arguments)
    try:
        photographs = [opened(path) for path in options.photos]
        with notices.table():
            for line in table(photographs, Colorizer(options.weights)):
                print(line, flush=True)
    except (ImageError, WeightsError, OSError) as error:
        print(f"colorize: {images.one_line(error)}", file=sys.stderr)
        return 1
    return 0


def opened(path: str) -> Image.Image:
    image = true_colors(path)
    image.thumbnail((LONGEST, LONGEST))
    return image


def table(photographs: list[Image.Image], colorizer: Colorizer):
    """A line for each render size."""
    true = [ab(image) for image in photographs]
    grey = root_mean_square(true)
    for share in SHARES:
        at = colorizer.at(round(share * (colorizer.settings.global_size or LONGEST / max(SHARES))))
        error = root_mean_square([ab(at(image)) - t for image, t in zip(photographs, true)])
        gain = 20 * np.log10(grey / error)
        yield f"render size {at.render_size}: error {error:.2f}, grey {grey:.2f}, {gain:+.2f} dB"


def ab(image: Image.Image) -> np.ndarray:
    """a* and b* `[H, W, 2]`."""
    return rgb_to_lab(np.asarray(image) / 255)[..., 1:]


def root_mean_square(values: list[np.ndarray]) -> float:
    return float(np.sqrt(sum((x**2).sum() for x in values) / sum(x.size for x in values)))


if __name__ == "__main__":
    sys.exit(main())
