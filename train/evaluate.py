"""How far predicted colors are from the true ones: `python -m train.evaluate --weights FILE PHOTOS`.

Protocol: every picture of the folder that is not near-grey (the rule of training) is resized to a short side of `size`,
and the square in its middle is taken. Compared are a* and b* (CIE L*a*b*, D65) at half resolution: the prediction,
which is not clipped to sRGB, with the 2x2 means of the true chroma. Networks of another color space predict colors,
which are clipped to sRGB and converted, at half resolution too. Squared errors are averaged over all pixels,
both channels and all pictures alike, and only then:

    chroma_error = sqrt(mean squared error), in units of a* and b*
    chroma_psnr  = 20 log10(220 / chroma_error), in dB: a* and b* range over 220

Grey is the prediction a* = b* = 0, what the picture was before; its chroma_error is the true chroma's root mean square.
"""

import argparse
import json
import sys
import warnings
from dataclasses import asdict, dataclass

import numpy as np

from kernels import color
from kernels.arrays import Array, array_module
from kernels.dispatch import BACKENDS
from nn import Network, WeightsError, default_backend
from nn.backends import array_module_of
from train import TrainError
from train.data import Pictures, scan

BATCH_PIXELS = 1 << 18  # of a batch


@dataclass
class Score:
    """See the protocol above. pictures: how many; gain: dB by which ours is better than grey."""

    pictures: int
    chroma_error: float
    chroma_psnr: float
    grey_error: float
    grey_psnr: float

    @property
    def gain(self) -> float:
        return self.chroma_psnr - self.grey_psnr

    def __str__(self) -> str:
        return (
            f"{self.pictures} pictures: chroma error {self.chroma_error:.2f} (grey {self.grey_error:.2f}), "
            f"chroma PSNR {self.chroma_psnr:.2f} dB (grey {self.grey_psnr:.2f}), {self.gain:+.2f} dB"
        )


def evaluate(net: Network, pictures: Pictures) -> Score:
    """The score of the network on these pictures, squares of side `pictures.short_side` (a multiple of 8)."""
    size, xp = pictures.short_side, net.xp
    ours = grey = values = 0.0
    batch = max(1, BATCH_PIXELS // size**2)
    for start in range(0, len(pictures), batch):
        squares = [middle(pictures[i]) for i in range(start, min(start + batch, len(pictures)))]
        rgb = xp.asarray(np.stack(squares))
        luminance, _ = color.encode(rgb, net.settings.color_space, backend=net.backend)
        true = to_ab(color.encode(rgb, "lab", backend=net.backend)[1])
        predicted = predict_ab(net, luminance)
        ours += float(((predicted - true) ** 2).sum(dtype=np.float64))
        grey += float((true**2).sum(dtype=np.float64))
        values += true.size
    errors = [float(np.sqrt(total / values)) for total in (ours, grey)]
    psnrs = [float(20 * np.log10(220 / max(error, 1e-9))) for error in errors]
    return Score(len(pictures), errors[0], psnrs[0], errors[1], psnrs[1])


def middle(picture: np.ndarray) -> np.ndarray:
    """The square in the middle of `[H, W, 3]`."""
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def to_ab(chroma: Array) -> Array:
    """a* and b* of chroma in [0, 1]."""
    return chroma * 220 - 110


def predict_ab(net: Network, luminance: Array) -> Array:
    """a* and b* `[N, H/2, W/2, 2]` that the network predicts."""
    chroma, _ = net.forward(luminance)
    space = net.settings.color_space
    if space == "lab":
        return to_ab(chroma)
    xp = array_module(luminance)
    half = (luminance[:, ::2, ::2] + luminance[:, ::2, 1::2] + luminance[:, 1::2, ::2] + luminance[:, 1::2, 1::2]) / 4
    rgb = xp.clip(color.decode(half, chroma, space, backend=net.backend), 0, 1)
    doubled = rgb.repeat(2, 1).repeat(2, 2)  # encode takes means of 2x2, which these are already
    return to_ab(color.encode(doubled, "lab", backend=net.backend)[1])


def main(arguments: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")
    p = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__.partition("\n")[0])
    p.add_argument("photos", help="folder of pictures, in sub-folders or not")
    p.add_argument("--weights", required=True, help="weights.safetensors of a run")
    p.add_argument("--size", type=int, help="side of the squares (default: the network's global size, else 224)")
    p.add_argument("--backend", choices=BACKENDS, default=default_backend())
    p.add_argument("--json", action="store_true")
    options = p.parse_args(arguments)
    try:
        net = Network.load(options.weights, options.backend, xp=array_module_of(options.backend))
        size = options.size or net.settings.global_size or 224
        if not 8 <= size <= 4096 or size % 8:
            raise TrainError(f"--size must be a multiple of 8 from 8 to 4096, got {size}")
        pictures = scan(options.photos, size)
        score = evaluate(net, pictures)
    except (TrainError, WeightsError) as error:
        return fail(str(error))
    except ImportError as error:
        return fail(f"--backend {options.backend} cannot run here ({error}); try another one")
    except MemoryError:
        return fail("out of memory; try a smaller --size")
    except KeyboardInterrupt:
        return 130
    print(*pictures.report(), sep="\n", file=sys.stderr)
    print(json.dumps(asdict(score) | {"gain": score.gain, "size": size}) if options.json else score)
    return 0


def fail(message: str) -> int:
    print(f"train.evaluate: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
