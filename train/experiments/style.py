"""Style transfer (the paper, 4.5 and 4.10): the global features of another picture, near to it in meaning or not.

Every held-out picture is colored with its own global features, with those of another picture of its class (near) and
with those of a picture of another class (far), mixed in by degrees. What is counted: how far the colors move from
those of the picture's own features, and how large the error is. The paper's claim is that only near pictures serve.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltbc.nn import Network
from ltbc.nn.study.drawing import TAPS, plot_style
from ltbc.train import TrainError, quality, sheet
from ltbc.train import score as chroma
from ltbc.train.experiments.figures import (
    PHOTOGRAPHS,
    SIDE,
    ab_with,
    luminance_of,
    paint,
    panels,
    save,
    shrink,
    thin_and_thick,
)
from ltbc.train.experiments.results import difference
from ltbc.train.pictures.folder import Pictures
from ltbc.train.pictures.photograph import read

KINDS = {"near": "of the same class", "far": "of another class"}
BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH = 32
STYLES = ("water/eilean-donan", "field/cow", "desert/red-pyramid", "flowers/flower")
PICTURES = ("mountain/great-wall-of-china", "town/pont-du-gard", "town/china", "town/berlin-cathedral", "animals/moose")


@dataclass
class Style:
    """mse, moved: near or far -> `[N, len(BLENDS)]`, squared error and squared distance from the own colors."""

    mse: dict[str, np.ndarray]
    moved: dict[str, np.ndarray]


def partners(labels: np.ndarray, near: bool, seed: int = 0) -> np.ndarray:
    """For each picture another one, drawn from its own class or from the others. Raises TrainError without any."""
    rng, everyone = np.random.default_rng(seed), np.arange(len(labels))
    chosen = np.empty(len(labels), np.int64)
    for i, label in enumerate(labels):
        pool = everyone[((labels == label) == near) & (everyone != i)]
        if not len(pool):
            raise TrainError("style: wanted at least two held-out pictures a class, and two classes")
        chosen[i] = rng.choice(pool)
    return chosen


def measure(net: Network, pictures: Pictures) -> Style:
    """The style transfer of a network between held-out pictures."""
    style = Style({}, {})
    others = {kind: partners(pictures.labels, kind == "near") for kind in KINDS}
    squares = np.concatenate(list(chroma.batches_of_squares(pictures)))
    vectors = np.concatenate([features(net, squares[i : i + BATCH]) for i in range(0, len(squares), BATCH)])
    for kind, chosen in others.items():
        mse, moved = [], []
        for start in range(0, len(squares), BATCH):
            part = slice(start, start + BATCH)
            own, foreign = vectors[part], vectors[chosen[part]]
            blended = np.stack([ab_with(net, squares[part], own + b * (foreign - own)) for b in BLENDS], 1)
            mse.append(((blended - chroma.true_ab(squares[part])[:, None]) ** 2).mean((2, 3, 4)))
            moved.append(((blended - blended[:, :1]) ** 2).mean((2, 3, 4)))
        style.mse[kind], style.moved[kind] = np.concatenate(mse), np.concatenate(moved)
    return style


def features(net: Network, rgb: np.ndarray) -> np.ndarray:
    """The global vectors `[N, F]` of pixels `[N, H, W, 3]`, float32."""
    vector, _ = net.global_features(luminance_of(net, rgb, net.settings.global_size))
    return quality.to_numpy(vector).astype(np.float32)


def table(styles: list[Style]) -> str:
    """Markdown: for each blend, how far the colors move and how large the error is, near and far (means over runs)."""
    lines = ["| share of the other's features | moved, near | moved, far | error, near | error, far "
             "| near less far, chroma PSNR, dB |", "| --- " * 6 + "|"]
    for i, blend in enumerate(BLENDS):
        cells = [f"{rms(styles, what, kind)[:, i].mean():.2f}" for what in ("moved", "mse") for kind in KINDS]
        near, far = (np.stack([style.mse[kind][:, i] for style in styles]) for kind in KINDS)
        d = difference(near, far)
        told = f"{d['mean']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})" if blend else "0"
        lines.append(f"| {blend:g} | {' | '.join(cells)} | {told} |")
    return "\n".join(lines) + "\n"


def rms(styles: list[Style], what: str, kind: str) -> np.ndarray:
    """`[runs, len(BLENDS)]`: the root mean squares over pictures."""
    return np.sqrt([getattr(style, what)[kind].mean(0) for style in styles])


def draw_curves(styles: list[Style], grey: float, title: str, path: Path) -> None:
    """Error and movement over the blend, near and far; each run thin, their mean thick."""
    figure, axes = panels(title)
    names = {"mse": "chroma error, held-out pictures", "moved": "distance from the own colors"}
    for axis, (what, name) in zip(axes, names.items()):
        plot_style(axis, "share of the other picture's global features", name)
        for (kind, label), line in zip(KINDS.items(), TAPS):
            thin_and_thick(axis, np.array(BLENDS), rms(styles, what, kind), label, line)
    axes[0].axhline(grey, color="grey", linestyle=":", label="grey")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=80)


def draw_sheet(net: Network, short_side: int, path: Path) -> None:
    """Photographs (rows) with the global features of others (columns); the first row are those others."""
    squares = {name: chroma.middle(read(PHOTOGRAPHS / "held_out" / f"{name}.jpg", SIDE)) for name in STYLES + PICTURES}
    vectors = {name: features(net, shrink(squares[name], short_side)[None]) for name in STYLES}
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    rows = [("the others; the network sees them in grey", [white, *(squares[name] for name in STYLES)])]
    for name in PICTURES:
        styled = [paint(net, squares[name], short_side, vectors[style]) for style in STYLES]
        rows.append((name.split("/")[1], [paint(net, squares[name], short_side), *styled]))
    save(sheet.draw(rows, ("its own features", *(name.split("/")[1] for name in STYLES))), path)
