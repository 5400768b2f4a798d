"""Curves of an experiment's runs, and a sheet of photographs in the colors of each arm."""

from pathlib import Path

import numpy as np
from PIL import Image

from ltbc.kernels import color
from ltbc.kernels.arrays import Array
from ltbc.nn import Network
from ltbc.nn.resize import resize
from ltbc.nn.study.drawing import TAPS, plot_style
from ltbc.train import quality, sheet
from ltbc.train import score as chroma
from ltbc.train.experiments.results import Measured, class_curve, curve
from ltbc.train.pictures.photograph import read

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"
SIDE = 152  # pixels, of a photograph on a sheet
LINES = (*TAPS, "#805ad5", "#b83280", "#718096", "#b7791f")  # an arm each


def draw_curves(arms: dict[str, list[Measured]], grey: float, title: str, path: Path) -> None:
    """Color and class error over the steps: each seed thin, their mean thick."""
    figure, axes = panels(title)
    for axis, read_curve, name in (
        (axes[0], curve, "chroma error, held-out pictures"), (axes[1], class_curve, "class loss in training"),
    ):
        plot_style(axis, "step", name)
        for (label, runs), line in zip(arms.items(), LINES):
            curves = [read_curve(one.run) for one in runs]
            if curves[0][1].any():  # not without class branch
                thin_and_thick(axis, curves[0][0], np.stack([y for _, y in curves]), label, line)
    axes[0].axhline(grey, color="grey", linestyle=":", label="grey")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=80)


def panels(title: str):
    """(a figure with two panels, the panels)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    figure.suptitle(title)
    return figure, figure.subplots(1, 2)


def thin_and_thick(axis, x: np.ndarray, curves: np.ndarray, label: str, line: str) -> None:
    axis.plot(x, curves.T, color=line, linewidth=0.7, alpha=0.5)
    axis.plot(x, curves.mean(0), color=line, linewidth=2, label=label)


def draw_sheet(nets: dict[str, Network], short_side: int, path: Path) -> None:
    """The held-out photographs of `train/photographs`: grey, in the colors of each network, true."""
    rows = []
    for file in sorted((PHOTOGRAPHS / "held_out").glob("*/*.jpg")):
        square = chroma.middle(read(file, SIDE))
        grey = quality.paint(square[None], np.zeros((1, 1, 1, 2), np.float32))[0]
        rows.append((file.stem, [grey, *(paint(net, square, short_side) for net in nets.values()), square]))
    save(sheet.draw(rows, ("grey", *nets, "true"), across=2), path)


def paint(net: Network, square: np.ndarray, short_side: int, vector: np.ndarray | None = None) -> np.ndarray:
    """A square `[S, S, 3]` uint8 in the network's colors, which sees it at `short_side`, as in training.

    vector: global features `[1, F]` in place of its own.
    """
    small = shrink(square, short_side)[None]
    if vector is None:
        ab = quality.to_numpy(chroma.predict(net, net.xp.asarray(small))[0])
    else:
        ab = ab_with(net, small, vector)
    return quality.paint(square[None], ab)[0]


def ab_with(net: Network, rgb: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """a* and b* `[N, H/2, W/2, 2]` predicted with these global features `[N, F]`."""
    luminance = luminance_of(net, rgb)
    values = net.colorize_local(luminance, vector)
    return quality.to_numpy(chroma.as_ab(values, luminance, net.settings.color_space, net.backend))


def luminance_of(net: Network, rgb: np.ndarray, size: int = 0) -> Array:
    """The network's input for pixels `[N, H, W, 3]`, resized to `size` if given."""
    luminance, _ = color.encode(net.xp.asarray(rgb), net.settings.color_space, backend=net.backend)
    return resize(luminance, size, size) if size else luminance


def shrink(square: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS))


def save(image: Image.Image, path: Path) -> None:
    """As JPEG, small enough to be committed."""
    image.save(path, quality=58, optimize=True)
