"""`python -m demo`: trains a small network on the built-in photographs, then colorizes others.

Writes into runs/demo: the run itself (weights, metrics), contact_sheet.png (grey | one minute | released | true for
every held-out photograph) and loss.png; prints on the held-out photographs the chroma PSNR of the network trained just
now and of the one that comes with the program (WEIGHTS.md), each beside grey.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin(lasting=True)

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ltbc.colorize.colorizer import WEIGHTS, Colorizer
from ltbc.nn import Network
from ltbc.nn.backends import array_module_of, default_backend
from ltbc.train.__main__ import main as train
from ltbc.train.pictures.folder import scan
from ltbc.train.score import evaluate

PHOTOGRAPHS = Path(__file__).parent / "train" / "photographs"
RUN, SHEET = Path("runs/demo"), "contact_sheet.png"
CROP = 128
# Small enough to learn something in a minute on two cores. eps: the larger, the gentler; with so few photographs
# a network that learns faster soon knows them by heart and colorizes others worse (train/photographs/README.md).
SETTINGS = {"width": 0.25, "crop": CROP, "batch": 8, "eps": 1e-7, "fusion": "relu", "decay": 0.5}
TILE, GAP, LABEL = (300, 200), 8, 26  # pixels on the contact sheet
COLUMNS = 2  # photographs side by side


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m demo", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of training (default 1)")
    minutes = parser.parse_args(arguments).minutes
    length = "one minute" if minutes == 1 else f"{minutes:g} minutes"
    options = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
    print(f"Trains a small network for {length}, then colorizes photographs it has not seen. "
          "The first start compiles the kernels for this machine, which takes about half a minute.", flush=True)
    status = train([str(PHOTOGRAPHS / "train"), "--out", str(RUN), "--force", "--minutes", str(minutes), *options])
    if status:
        return status
    weights = RUN / "weights.safetensors"
    photographs = sorted((PHOTOGRAPHS / "held_out").glob("*/*.jpg"))
    networks = {length: weights, "released": WEIGHTS}
    draw_contact_sheet(photographs, {name: Colorizer(file) for name, file in networks.items()}, RUN / SHEET)
    draw_loss(RUN / "metrics.jsonl", RUN / "loss.png")
    held_out, backend = scan(PHOTOGRAPHS / "held_out", CROP), default_backend()
    scores = {name: evaluate(Network.load(file, backend, xp=array_module_of(backend)), held_out)
              for name, file in networks.items()}
    for name, score in scores.items():
        print(f"held out, {name}: {score}")
    print(f"look at {RUN / SHEET} and {RUN / 'loss.png'}")
    return 0


def draw_contact_sheet(photographs: list[Path], colorizers: dict[str, Colorizer], path: Path) -> None:
    """Grey, each colorizer's result and the true colors of every photograph, `COLUMNS` photographs a row."""
    width, height = TILE
    wide = (len(colorizers) + 2) * (width + GAP) + GAP
    rows = -(-len(photographs) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * wide, rows * (height + LABEL) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, photograph in enumerate(photographs):
        true = Image.open(photograph).convert("RGB")
        ours = {name: colorizer(true) for name, colorizer in colorizers.items()}
        left, top = (i % COLUMNS) * wide + GAP, (i // COLUMNS) * (height + LABEL)
        for j, (name, picture) in enumerate({"grey": as_grey(true), **ours, "true": true}.items()):
            x = left + j * (width + GAP)
            pen.text((x, top + 5), f"{photograph.parent.name}: {name}", "black", font)
            sheet.paste(ImageOps.fit(picture, TILE, Image.Resampling.LANCZOS), (x, top + LABEL))
    sheet.save(path)


def as_grey(picture: Image.Image) -> Image.Image:
    """What the network sees: the CIE luminance as grey."""
    from ltbc.kernels.color import RGB_TO_XYZ
    from ltbc.kernels.color.reference import linear_to_rgb, rgb_to_linear

    grey = linear_to_rgb(rgb_to_linear(np.asarray(picture) / 255) @ RGB_TO_XYZ[1])
    return Image.fromarray(np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8)).convert("RGB")


def draw_loss(metrics: Path, path: Path) -> None:
    """Both losses over the steps, with their running means; for the scene also what guessing gives: log(classes)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    steps = [line for line in lines if "chroma" in line]
    x = np.array([line["step"] for line in steps])
    chroma = 220 * np.sqrt([line["chroma"] for line in steps])
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    panels = (
        ("Color: root mean square error of a* and b*", chroma, "tab:blue"),
        ("Scene: cross entropy", np.array([line["classes"] for line in steps]), "tab:orange"),
    )
    classes = json.loads((metrics.parent / "pictures.json").read_text())["classes"]
    axes[1].axhline(np.log(len(classes)), color="grey", linestyle="--", label=f"guessing among {len(classes)} scenes")
    for axis, (title, y, color) in zip(axes, panels):
        axis.plot(x, y, color=color, alpha=0.25, linewidth=0.8, label="one batch")
        window = max(1, min(50, len(y) // 5))
        mean = np.convolve(y, np.ones(window) / window, "valid")
        axis.plot(x[window - 1 :], mean, color=color, linewidth=2, label=f"mean of {window} batches")
        axis.set(title=title, xlabel="step", ylim=(0, 1.5 * np.percentile(y, 99)))  # single wild batches stick out
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
