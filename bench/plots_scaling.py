"""How time and memory grow, as a picture: measured points and the fitted powers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.plots import OURS, TORCH, save, title
from bench.results import Row


class Panel(NamedTuple):
    """title: of the column. series: `work` of its rows and what they are called. label, n: of the axis."""

    title: str
    series: dict[str, str]
    label: str
    n: Callable[[Row], float]


PANELS = (
    Panel("colorizing one picture", {"colorize": "the network alone", "file": "file to file",
                                     "file, full size": "file to file, full size"},
          "pixels", lambda r: float(r["size"]) ** 2),
    Panel("a training step over batch", {"batch": ""}, "pictures", lambda r: float(r["batch"])),
    Panel("a training step over width", {"width": ""}, "width", lambda r: float(r["width"])),
    Panel("a training step over processes", {"processes": "sharing cores and batch",
                                             "processes, a core each": "a core and pictures each"},
          "processes", lambda r: float(r["config"].split()[0])),
)
COLORS = (OURS, TORCH, "#7b3294")
QUANTITIES = {"seconds": ("seconds", 1), "bytes": ("GiB", 2**-30)}


def scaling(rows: list[Row], path: Path, narrow: bool = False) -> None:
    """Time and memory of every study over what grows. narrow: one below the other."""
    rows = [row for row in rows if row["p50"]]
    panels = [panel for panel in PANELS if any(row["work"] in panel.series for row in rows)]

    def draw(figure: Any) -> None:
        shape = (2 * len(panels), 1) if narrow else (2, len(panels))
        axes = figure.subplots(*shape, squeeze=False)
        for column, panel in zip(axes.reshape(-1, 2) if narrow else axes.T, panels):
            for ax, quantity in zip(column, QUANTITIES):
                for color, (work, name) in zip(COLORS, panel.series.items()):
                    series(ax, [r for r in rows if r["work"] == work], quantity, panel, name, color)
                limits(ax, panel, [r for r in rows if r["work"] in panel.series and r["config"] != "growth"])
                ax.set(xlabel=panel.label, ylabel=QUANTITIES[quantity][0])
                ax.legend(frameon=False, loc="upper left", fontsize=8, handletextpad=0.1)
            column[0].set_title(panel.title, loc="left", fontsize=11)
        figure.suptitle(title({**rows[0], "batch": ""}), fontsize=11)

    width, height = (4.4, 5.4 * len(panels)) if narrow else (3.7 * len(panels), 6.6)
    save(path, width, height, draw)


def series(ax: Any, rows: list[Row], quantity: str, panel: Panel, name: str, color: str) -> None:
    """Points with their whiskers, and the fitted power through them."""
    found, factor = [r for r in rows if r["quantity"] == quantity], QUANTITIES[quantity][1]
    if not found:
        return
    x, y = np.array([panel.n(r) for r in found]), np.array([r["p50"] * factor for r in found])
    for r, at in zip(found, x):
        if r["p20"]:
            ax.plot([at, at], [r["p20"] * factor, r["p80"] * factor], color=color, linewidth=1)
    fit = {r["quantity"]: r["p50"] for r in rows if r["config"] == "growth"}
    between, said = np.geomspace(x.min(), x.max(), 50), ""
    if (k := fit.get(f"exponent of {quantity}")) is not None:
        said, curve = f"{panel.label}$^{{{k:.2f}}}$", np.exp(np.mean(np.log(y) - k * np.log(x))) * between**k
    elif (slope := fit.get(f"{quantity} a megapixel")) is not None:
        start, slope = fit[f"{quantity} at the start"] * factor, slope * factor
        said, curve = f"{start:.2g} + {slope:.2g} a megapixel", start + slope * between / 1e6
    ax.plot(x, y, "o", color=color, markersize=5, label=": ".join(filter(None, (name, said))))
    if said:
        ax.plot(between, curve, color=color, linewidth=1, alpha=0.5, zorder=0)


def limits(ax: Any, panel: Panel, rows: list[Row]) -> None:
    """Both axes logarithmic, with a tick at every point; room above the points for the legend."""
    ax.set(xscale="log", yscale="log")
    low, high = ax.get_ylim()
    ax.set_ylim(low / 1.1, high * (high / low) ** (0.13 * len(panel.series)) * 1.1)
    steps = (1, 2, 5) if high > 8 * low else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)
    ax.yaxis.set(major_locator=LogLocator(subs=steps), minor_locator=NullLocator(),
                 major_formatter=FuncFormatter(lambda v, _: f"{v:g}"))
    ax.grid(alpha=0.2)
    ticks = {panel.n(r): f"{r['size']}\N{SUPERSCRIPT TWO}" if panel.label == "pixels" else f"{panel.n(r):g}"
             for r in rows}
    ax.set_xticks(list(ticks), list(ticks.values()), rotation=45 if panel.label == "pixels" else 0)
    ax.xaxis.set_minor_locator(NullLocator())
