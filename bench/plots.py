"""Pictures of results: roofline, bars a layer, growth. Every figure takes rows of one machine and writes a PNG."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

from bench.results import Row  # noqa: E402

OURS, TORCH = "#1f6f8b", "#d98e3f"
COLORS = {"conv3x3": "#1f6f8b", "upsample2x_conv3x3": "#7b3294", "linear": "#2ca25f", "fusion": "#c51b7d",
          "upsample2x": "#999999", "adadelta": "#e6550d", "chroma_loss": "#8c6d31", "class_loss": "#bd9e39",
          "color": "#3182bd"}  # fmt: skip
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})


def save(path: Path, width: float, height: float, draw: Callable[[Any], None]) -> None:
    figure = plt.figure(figsize=(width, height), layout="constrained")
    draw(figure)
    figure.savefig(path)
    plt.close(figure)


def title(row: Row) -> str:
    """ "AMD EPYC, 2 cores, cpu bfloat16, batch 8": what a figure was measured on."""
    where = row["gpu"].partition(" (")[0] or f"{row['cpu'].partition(' (')[0]}, {row['cores']} cores"
    return f"{where}, {row['backend']} {row['dtype']}" + f", batch {row['batch']}" * bool(row["batch"])


def roofline(rows: list[Row], path: Path) -> None:
    """FLOP/s over FLOPs a byte of every layer, beneath this machine's measured ceilings. rows: kernels', one dtype."""
    rows = [row for row in rows if row["tflops"]]
    ours = [row for row in rows if row["config"] == "ours"]
    theirs = {(r["layer"], r["work"]): r for r in rows if r["config"] == "torch"}
    products, traffic = ours[0]["ceiling_tflops"], ours[0]["ceiling_gbytes_s"]

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        low = min(r["tflops"] for r in rows) / 2
        x = np.array([min(intensity(r) for r in ours) / 2, max(intensity(r) for r in ours) * 2])
        edge = products * 1e3 / traffic
        ax.plot([x[0], edge, x[1]], [x[0] * traffic / 1e3, products, products], color="black", linewidth=1.5)
        for row in ours:
            color, shape = COLORS[row["op"]], "o" if row["work"] == "forward" else "s"
            rival = theirs.get((row["layer"], row["work"]))
            if rival:
                both = [row["tflops"], rival["tflops"]]
                ax.plot([intensity(row)] * 2, both, color=color, alpha=0.3, linewidth=1)
                ax.plot(intensity(row), rival["tflops"], shape, mfc="white", mec=color, markersize=6)
            ax.plot(intensity(row), row["tflops"], shape, color=color, markersize=6)
        ax.set(xscale="log", yscale="log", xlim=x, ylim=(low, products * 3),
               xlabel="FLOPs a byte (each array moved once)", ylabel="TFLOP/s")  # fmt: skip
        ax.text(x[1], products * 1.15, f"matrix unit {products:.3g} TFLOP/s", ha="right")
        figure.draw_without_rendering()  # fixes the scales, from which the slope of the text follows
        start = x[0] * 1.2
        ends = ax.transData.transform([(start, start * traffic), (edge, edge * traffic)])
        slope = np.degrees(np.arctan2(*(ends[1] - ends[0])[::-1]))
        ax.text(start, start * traffic / 1e3 * 1.3, f"memory {traffic:.3g} GB/s", rotation=slope,
                rotation_mode="anchor")  # fmt: skip
        ax.set_title(title(ours[0]), loc="left")
        keys = [Line2D([], [], color=COLORS[op], linewidth=4, label=op) for op in dict.fromkeys(r["op"] for r in ours)]
        shapes = [("o", "forward", "grey"), ("s", "backward", "grey"), ("o", "PyTorch", "white")]
        keys += [Line2D([], [], color="grey", marker=m, mfc=fill, linestyle="", label=t) for m, t, fill in shapes]
        ax.legend(handles=keys, frameon=False, loc="lower right", fontsize=9)

    save(path, 8, 5.5, draw)


def intensity(row: Row) -> float:
    """FLOPs a byte."""
    return row["tflops"] * 1e3 / row["gbytes_s"]


def layers(rows: list[Row], path: Path) -> None:
    """Times of every layer, ours and PyTorch's, with their ratio. rows: kernels', one dtype."""
    ours = {(r["layer"], r["op"], r["work"]): r for r in rows if r["config"] == "ours" and r["tflops"]}
    theirs = {(r["layer"], r["op"], r["work"]): r for r in rows if r["config"] == "torch"}
    names = list(dict.fromkeys(key[:2] for key in ours))

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        for ax, work in zip(axes, ("forward", "backward")):
            places = range(len(names))
            mine = [ours.get((*name, work)) for name in names]
            other = [theirs.get((*name, work)) for name in names]
            bars(ax, [i - 0.2 for i in places], mine, OURS, "ours")
            bars(ax, [i + 0.2 for i in places], other, TORCH, "PyTorch")
            ends = [max(r["p80"] for r in pair if r) if any(pair) else 0 for pair in zip(mine, other)]
            for i, row in enumerate(mine):
                if row and row["ratio"]:
                    text = f"{row['ratio']:.2f}x{'?' if row['mark'] else ''}"
                    ax.text(ends[i] * 1e3 + max(ends) * 15, i, text, va="center", fontsize=8,
                            color="black" if row["ratio"] >= 1 else "firebrick")  # fmt: skip
            ax.set(title=work, xlabel="milliseconds (whisker: 20 to 80 %)", xlim=(0, max(ends) * 1.15e3))
        axes[0].set_yticks(range(len(names)), [name[0] for name in names])
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        axes[0].legend(frameon=False, loc="lower right")
        some = next(iter(ours.values()))
        figure.suptitle(f"{title(some)}: time, and PyTorch's time / ours (red: slower; ?: noisy)", fontsize=11)

    save(path, 11, 1.2 + 0.32 * len(names), draw)


def bars(ax: Any, places: list[float], rows: list[Row | None], color: str, label: str) -> None:
    t = np.array([r["p50"] if r else 0 for r in rows]) * 1e3
    low, high = (np.array([r[name] if r else 0 for r in rows]) * 1e3 for name in ("p20", "p80"))
    whiskers = [np.maximum(t - low, 0), np.maximum(high - t, 0)]
    ax.barh(places, t, 0.38, color=color, label=label, xerr=whiskers, error_kw={"linewidth": 0.8, "ecolor": "#444444"})


def scaling(rows: list[Row], path: Path) -> None:
    """Time and memory of every study over what grows, with the fitted power."""
    axis = {
        "colorize": ("pixels", lambda r: float(r["size"]) ** 2),
        "batch": ("pictures a step", lambda r: float(r["batch"])),
        "width": ("width", lambda r: float(r["width"])),
    }
    studies = [name for name in axis if any(r["work"] == name for r in rows)]

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, len(studies), squeeze=False)
        for column, name in zip(axes.T, studies):
            label, count = axis[name]
            for ax, quantity, unit, factor in zip(column, ("seconds", "bytes"), ("seconds", "GiB"), (1, 2**-30)):
                found = [r for r in rows if r["work"] == name and r["quantity"] == quantity and r["p50"]]
                x, y = np.array([count(r) for r in found]), np.array([r["p50"] * factor for r in found])
                ax.plot(x, y, "o", color=OURS)
                for r, at in zip(found, x):
                    if r["p20"]:
                        ax.plot([at, at], [r["p20"] * factor, r["p80"] * factor], color=OURS, linewidth=1)
                for fit in rows:
                    if fit["work"] == name and fit["quantity"] == f"exponent of {quantity}":
                        k = fit["p50"]
                        line = np.exp(np.mean(np.log(y) - k * np.log(x))) * x**k
                        ax.plot(x, line, color=TORCH, linewidth=1, zorder=0, label=f"{label}$^{{{k:.2f}}}$")
                        ax.legend(frameon=False, loc="upper left")
                ax.set(xscale="log", yscale="log", xlabel=label, ylabel=unit, ylim=(y.min() / 1.7, y.max() * 1.7))
                ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(),
                             major_formatter=FuncFormatter(lambda v, _: f"{v:g}"))  # fmt: skip
                ticks(ax, x, [f"{r['size']}²" for r in found] if name == "colorize" else [f"{v:g}" for v in x])
            heading = "colorizing one picture" if name == "colorize" else f"a training step over {name}"
            column[0].set_title(heading, loc="left")
        figure.suptitle(title({**rows[0], "batch": ""}), fontsize=11)

    save(path, 4 * len(studies), 6, draw)


def ticks(ax: Any, x: Any, labels: list[str]) -> None:
    ax.set_xticks(x, labels, rotation=45 if len(x) > 5 else 0)
    ax.xaxis.set_minor_locator(NullLocator())
