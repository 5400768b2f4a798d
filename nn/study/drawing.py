"""What the pictures of the operations are drawn with: cells, grids, arrows, in one set of colors."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

INK, PALE, LINE = "#1f2933", "#eef1f4", "#8a94a0"
BLUE, ORANGE, GREEN, RED = "#8fc1f0", "#f6b26b", "#9bd08f", "#f0958b"  # light enough for dark letters on them
TAPS = ("#2b6cb0", "#c05621", "#2f855a")  # of lines: tap 0, 1, 2


def canvas(width: float, height: float, columns: int = 1) -> tuple[Any, list[Axes]]:
    """A white figure of that size in inches with `columns` empty panels, whose unit is the same in x and y."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained")
    for ax in axes[0]:
        ax.set_axis_off()
        ax.set_aspect("equal")
    return figure, list(axes[0])


def frame(ax: Axes, x: tuple[float, float], y: tuple[float, float], title: str = "") -> None:
    """The part of the plane that the panel shows; y points down."""
    ax.set_xlim(*x)
    ax.set_ylim(y[1], y[0])
    if title:
        ax.set_title(title, fontsize=11, color=INK)


def cell(ax: Axes, x: float, y: float, text: str = "", color: str = PALE, w: float = 1, h: float = 1) -> None:
    """A box whose upper left corner is (x, y), with a word in its middle."""
    ax.add_patch(Rectangle((x, y), w, h, facecolor=color, edgecolor=LINE, linewidth=1))
    ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9.5, color=INK)


def row(ax: Axes, x: float, y: float, texts: list[str], colors: list[str] | str = PALE, step: float = 1) -> None:
    """Boxes side by side, `step` apart."""
    for i, text in enumerate(texts):
        cell(ax, x + i * step, y, text, colors if isinstance(colors, str) else colors[i])


def word(ax: Axes, x: float, y: float, text: str, size: float = 10, **style: Any) -> None:
    usual: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "color": INK}
    ax.text(x, y, text, **usual | style)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK, width: float = 1.4) -> None:
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, color=color, linewidth=width, **style))


def plot_style(ax: Axes, x: str, y: str) -> None:
    """An ordinary plot: axes named, no frame above and right."""
    ax.set_axis_on()
    ax.set_aspect("auto")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(x, color=INK)
    ax.set_ylabel(y, color=INK)
