"""Does training in bfloat16 take the same way as in float32? Loss curves from the same weights and batches.

Two runs in float32 part, too, where sums are added up in another order: the cpu backend in float32 shows how far such
roundings alone lead. What bfloat16 adds is to be held against that.
"""

from pathlib import Path

import numpy as np

from ltbc.nn.study.drawing import TAPS, plot_style
from ltbc.train.experiments.figures import panels, thin_and_thick
from ltbc.train.experiments.results import lines_of

Losses = dict[str, np.ndarray]  # label -> [seeds, steps]
SMOOTH = 20  # steps, of the means that are drawn


def losses(runs: list[Path]) -> np.ndarray:
    """`[seeds, steps]`: the loss of every step."""
    return np.array([[line["loss"] for line in lines_of(run) if "loss" in line] for run in runs])


def smooth(x: np.ndarray) -> np.ndarray:
    """Means over SMOOTH steps, along the last axis."""
    window = min(SMOOTH, x.shape[-1])
    sums = np.cumsum(np.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 0)]), -1)
    return (sums[..., window:] - sums[..., :-window]) / window


def table(arms: Losses) -> str:
    """Markdown: by how much the loss differs from the first arm's, over the first and the second half of the steps."""
    first, *others = arms
    half = max(1, arms[first].shape[1] // 2)
    lines = [f"| against {first} | steps | mean difference of the loss, each seed | root mean square of a step's |",
             "| --- " * 4 + "|"]
    for label in others:
        for part in (slice(0, half), slice(half, None)):
            theirs = arms[first][:, part]
            d = (arms[label][:, part] - theirs) / theirs.mean(1, keepdims=True)
            means = ", ".join(f"{x:+.2%}" for x in d.mean(1))
            steps = f"{part.start + 1} to {part.start + d.shape[1]}"
            lines.append(f"| {label} | {steps} | {means} | {np.sqrt((d**2).mean()):.1%} |")
    return "\n".join(lines) + "\n"


def draw_curves(arms: Losses, title: str, path: Path) -> None:
    """Losses (means over SMOOTH steps; each seed thin, their mean thick), and their difference to the first arm's."""
    figure, axes = panels(title)
    first = smooth(next(iter(arms.values())))
    steps = np.arange(first.shape[1]) + min(SMOOTH, next(iter(arms.values())).shape[1])
    plot_style(axes[0], "step", f"loss, mean of {SMOOTH} steps")
    plot_style(axes[1], "step", "difference to the reference, %")
    for (label, curves), line in zip(arms.items(), TAPS):
        thin_and_thick(axes[0], steps, smooth(curves), label, line)
        if curves is not next(iter(arms.values())):
            thin_and_thick(axes[1], steps, 100 * (smooth(curves) - first) / first, label, line)
    axes[1].axhline(0, color="grey", linewidth=1)
    for axis in axes:
        axis.legend(frameon=False)
    figure.savefig(path, dpi=80)
