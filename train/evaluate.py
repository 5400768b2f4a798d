"""How good the colors of a network are: `ltbc evaluate --weights FILE PHOTOS`.

Chroma PSNR, RGB PSNR, SSIM, mean CIEDE2000 and colorfulness of ours, of the grey baseline and of the mean color; top-1
and top-5 where the folders of PHOTOS are named as the network's classes. `ltbc.train.quality` says how, as does the
output. Needs scikit-image: pip install -e '.[evaluate]'
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltbc.kernels.dispatch import BACKENDS
from ltbc.nn import Network, WeightsError, default_backend
from ltbc.nn.backends import array_module_of
from ltbc.program import printable
from ltbc.train import TrainError
from ltbc.train.pictures.folder import Pictures, scan

if TYPE_CHECKING:
    from ltbc.train.quality import Quality

ROWS = {  # name in the JSON: (title, format)
    "chroma_error": ("chroma error, rms of a*, b*", "{:.2f}"), "chroma_psnr": ("chroma PSNR, dB", "{:.2f}"),
    "rgb_psnr": ("RGB PSNR, dB", "{:.2f}"), "ssim": ("SSIM", "{:.4f}"), "ciede2000": ("CIEDE2000", "{:.2f}"),
    "colorfulness": ("colorfulness", "{:.1f}"), "colorfulness_difference": ("  minus that of the truth", "{:+.1f}"),
    "top1": ("top-1, %", "{:.1f}"), "top5": ("top-5, %", "{:.1f}"),
}


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="ltbc evaluate", description=(__doc__ or "").partition("\n")[0])
    p.add_argument("photos", help="folder of pictures, in sub-folders or not")
    p.add_argument("--weights", required=True, help="weights.safetensors of a run")
    p.add_argument("--size", type=int, help="side of the squares (default: the network's global size, else 224)")
    p.add_argument("--saturation", type=float, default=1.0, help="factor on the predicted a*, b* (1)")
    p.add_argument("--mean-color", metavar="FOLDER or A,B",
                   help="for the mean-color baseline: the pictures trained on, or their mean a*, b* "
                        "(default: the mean of the pictures measured)")
    p.add_argument("--backend", choices=BACKENDS, default=default_backend())
    p.add_argument("--json", action="store_true", help="everything as JSON on stdout")
    p.add_argument("--sheet", metavar="FILE", help="write a picture of the best, the median and the worst results")
    return p


def main(arguments: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")
    options = parser().parse_args(arguments)
    try:
        run(options)
    except ImportError as error:
        return fail(f"{error.name} is not installed: pip install 'let-there-be-color[evaluate]'")
    except OSError as error:
        return fail(f"{error.filename or options.sheet}: {error.strerror or error}")
    except (TrainError, WeightsError) as error:
        return fail(str(error))
    except MemoryError:
        return fail("out of memory; try a smaller --size")
    except KeyboardInterrupt:
        return 130
    return 0


def fail(message: str) -> int:
    print(printable(f"evaluate: {message}", sys.stderr), file=sys.stderr)
    return 2


def run(options: argparse.Namespace) -> None:
    """Measures and prints. Raises TrainError or WeightsError for what cannot be measured."""
    from ltbc.train import quality

    if not 0 <= options.saturation < float("inf"):
        raise TrainError(f"--saturation must be at least 0, got {options.saturation}")
    try:
        net = Network.load(options.weights, options.backend, xp=array_module_of(options.backend))
    except ImportError as error:
        raise TrainError(f"--backend {options.backend} cannot run here ({error}); try another one") from None
    size = options.size or net.settings.global_size or 224
    if not 8 <= size <= 4096 or size % 8:
        raise TrainError(f"--size must be a multiple of 8 from 8 to 4096, got {size}")
    pictures = scan(options.photos, size)
    print(*pictures.report(), sep="\n", file=sys.stderr)
    mean_ab, mean_of = the_mean(options.mean_color, pictures)
    result = quality.measure(net, pictures, mean_ab, options.saturation)
    told = summary(result, pictures, net) | {
        "size": size, "saturation": options.saturation, "mean_ab": [round(float(x), 2) for x in mean_ab],
        "mean_of": mean_of, "weights": options.weights,
    }
    told["protocol"] = {name: text.format(**told) for name, text in quality.PROTOCOL.items()}
    print(json.dumps(told, indent=2) if options.json else as_text(told))
    if options.sheet:
        from ltbc.train.sheet import draw_best_and_worst

        draw_best_and_worst(net, pictures, result, options.saturation, Path(options.sheet))
        print(f"look at {options.sheet}", file=sys.stderr)


def the_mean(asked: str | None, pictures: Pictures) -> tuple[np.ndarray, str]:
    """(mean a* and b*, of what)."""
    from ltbc.train.quality import mean_color

    if asked is None:
        return mean_color(pictures), "the pictures measured"
    if Path(asked).is_dir():
        return mean_color(scan(asked, pictures.short_side, memory=0)), asked
    try:
        a, b = map(float, asked.split(","))
    except ValueError:
        raise TrainError(f"--mean-color must be a folder or two numbers A,B, got {asked}") from None
    return np.array([a, b]), "--mean-color"


def summary(result: "Quality", pictures: Pictures, net: Network) -> dict[str, Any]:
    """The figures of ours and of both baselines; gain: dB of chroma PSNR over grey, and over the mean color."""
    kinds: dict[str, Any] = {kind: result.summary(kind) for kind in result.values if kind != "truth"}
    kinds["truth"] = {"colorfulness": float(result.values["truth"]["colorfulness"].mean())}
    classes = len(net.settings.classes)
    for k in (1, 5):
        if (share := result.top(k)) is not None:
            kinds["ours"][f"top{k}"] = 100 * share
            for baseline in ("grey", "mean_color"):  # which cannot tell: chance
                kinds[baseline][f"top{k}"] = 100 * min(1.0, k / classes)
    gains = {f"gain_over_{kind}": kinds["ours"]["chroma_psnr"] - kinds[kind]["chroma_psnr"]
             for kind in ("grey", "mean_color")}
    return {"pictures": len(pictures), **kinds, **gains, "classes": told_classes(result, pictures, net)}


def told_classes(result: "Quality", pictures: Pictures, net: Network) -> str:
    """Of how many pictures the class could be measured, and why not of all."""
    if not net.settings.global_size:
        return "top-1, top-5: not measured, the network has no class branch"
    known = int((result.ranks >= 0).sum())
    foreign = sorted({pictures.classes[label] for label in pictures.labels[result.ranks < 0]})
    if not known:
        return (f"top-1, top-5: not measured, no folder of {pictures.root} is named as a class of the network "
                f"({', '.join(net.settings.classes[:3])}, ...)")
    missing = f"; no class of the network is named {', '.join(foreign[:5])}" if foreign else ""
    chance = f"the baselines' are chance among {len(net.settings.classes)} classes"
    return f"top-1, top-5: of {known} pictures; {chance}{missing}"


def as_text(told: dict[str, Any]) -> str:
    """The table and the protocol below it."""
    kinds = ("ours", "grey", "mean_color", "truth")
    lines = ["".join([f"{told['pictures']} pictures".ljust(30), *(f"{kind.replace('_', ' '):>12}" for kind in kinds)])]
    for name, (title, form) in ROWS.items():
        cells = [form.format(told[kind][name]) if name in told[kind] else "" for kind in kinds]
        if any(cells):
            lines.append("".join([title.ljust(30), *(f"{cell:>12}" for cell in cells)]))
    lines.append(f"chroma PSNR: {told['gain_over_grey']:+.2f} dB over grey, {told['gain_over_mean_color']:+.2f} dB "
                 "over the mean color")
    lines += [told["classes"], f"saturation: {told['saturation']:g}", "", "protocol"]
    return "\n".join(lines + [f"  {name}: {text}" for name, text in told["protocol"].items()])


if __name__ == "__main__":
    sys.exit(main())
