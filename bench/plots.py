"""Pictures of results. Every figure takes rows of one machine and writes a PNG; growth is in `plots_scaling.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

from bench.results import Row, rivals, seconds  # noqa: E402

OURS, TORCH = "#1f6f8b", "#d98e3f"
COLORS = {"conv3x3": "#1f6f8b", "upsample2x_conv3x3": "#7b3294", "linear": "#2ca25f", "fusion": "#c51b7d",
          "upsample2x": "#999999", "adadelta": "#e6550d", "chroma_loss": "#8c6d31", "class_loss": "#bd9e39",
          "color": "#3182bd"}
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110})


def save(path: Path, width: float, height: float, draw: Callable[[Any], None]) -> None:
    figure = plt.figure(figsize=(width, height), layout="constrained")
    draw(figure)
    figure.savefig(path)
    plt.close(figure)


def where(row: Row) -> str:
    """ "AMD EPYC, Zen 5, 2 cores": what a figure was measured on."""
    return row["gpu"].partition(" (")[0] or f"{row['cpu'].partition(' (')[0]}, {row['cores']} cores"


def title(row: Row) -> str:
    return f"{where(row)}; {row['backend']} {row['dtype']}" + f", batch {row['batch']}" * bool(row["batch"])


def roofline(rows: list[Row], path: Path, narrow: bool = False) -> None:
    """FLOP/s over FLOPs a byte of every layer, beneath this machine's measured ceilings. rows: kernels', one dtype."""
    rows = [row for row in rows if row["tflops"]]
    ours = [row for row in rows if row["config"] == "ours"]
    theirs = rivals(rows)
    products, traffic = ours[0]["ceiling_tflops"], ours[0]["ceiling_gbytes_s"]

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        low = min(r["tflops"] for r in rows) / 2
        x = np.array([min(intensity(r) for r in ours) / 2, max(intensity(r) for r in ours) * 2])
        edge = products * 1e3 / traffic
        ax.plot([x[0], edge, x[1]], [x[0] * traffic / 1e3, products, products], color="black", linewidth=1.5, zorder=1)
        for row in ours:
            color, shape = COLORS[row["op"]], "o" if row["work"] == "forward" else "s"
            rival = theirs.get((row["layer"], row["op"], row["work"]))
            if rival:
                both = [row["tflops"], rival["tflops"]]
                ax.plot([intensity(row)] * 2, both, color=color, alpha=0.3, linewidth=1)
                ax.plot(intensity(row), rival["tflops"], shape, mfc="white", mec=color, markersize=6)
            ax.plot(intensity(row), row["tflops"], shape, color=color, markersize=6)
        ax.set(xscale="log", yscale="log", xlim=x, ylim=(low, 2 * max(products, *(r["tflops"] for r in rows))),
               xlabel="FLOPs a byte (each array moved once)", ylabel="TFLOP/s")
        ax.grid(alpha=0.2)
        ax.text(edge, products * 1.1, f"matrix unit {products:.3g} TFLOP/s")
        if max(r["tflops"] for r in ours) > products:
            above = "above the roof: Winograd, with\nfewer products than the formula counts"
            ax.text(0.01, 0.98, above if narrow else above.replace("\n", " "), color="grey",
                    transform=ax.transAxes, va="top", fontsize=9)
        for text in ax.texts:
            text.set_in_layout(False)  # or a long one would push the axes together
        figure.draw_without_rendering()  # fixes the scales, from which the slope of the text follows
        start = x[0] * 1.2
        ends = ax.transData.transform([(start, start * traffic), (edge, edge * traffic)])
        slope = np.degrees(np.arctan2(*(ends[1] - ends[0])[::-1]))
        ax.text(start, start * traffic / 1e3 * 1.3, f"memory {traffic:.3g} GB/s", rotation=slope,
                rotation_mode="anchor")
        ax.set_title(title(ours[0]), loc="left", fontsize=9 if narrow else None)
        keys = [Line2D([], [], color=COLORS[op], linewidth=4, label=op) for op in dict.fromkeys(r["op"] for r in ours)]
        shapes = [("o", "forward", "grey"), ("s", "backward", "grey"), ("o", "PyTorch", "white")]
        keys += [Line2D([], [], color="grey", marker=m, mfc=fill, linestyle="", label=t) for m, t, fill in shapes]
        if narrow:
            figure.legend(handles=keys, frameon=False, loc="outside lower center", ncols=2, fontsize=9)
        else:
            ax.legend(handles=keys, frameon=False, loc="lower right", fontsize=9)

    width, height = (4.4, 6.0) if narrow else (8.0, 5.5)
    save(path, width, height, draw)


def intensity(row: Row) -> float:
    """FLOPs a byte."""
    return row["tflops"] * 1e3 / row["gbytes_s"]


def layers(rows: list[Row], path: Path) -> None:
    """Times of every layer, ours and PyTorch's, with their ratio. rows: kernels', one dtype."""
    ours = {(r["layer"], r["op"], r["work"]): r for r in rows if r["config"] == "ours" and r["tflops"]}
    theirs = rivals(rows)
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
                            color="black" if row["ratio"] >= 1 else "firebrick")
            ax.set(title=work, xlabel="milliseconds (whisker: 20 to 80 %)", xlim=(0, max(ends) * 1.15e3))
        axes[0].set_yticks(range(len(names)), [name[0] for name in names])
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        axes[0].legend(frameon=False, loc="lower right")
        some = next(iter(ours.values()))
        figure.suptitle(f"{title(some)}: time, and PyTorch's time / ours (red: slower; ?: noisy)", fontsize=11)

    save(path, 11, max(3.0, 1.2 + 0.32 * len(names)), draw)


def bars(ax: Any, places: list[float], rows: list[Row | None], color: str, label: str) -> None:
    t = np.array([r["p50"] if r else 0 for r in rows]) * 1e3
    low, high = (np.array([r[name] if r else 0 for r in rows]) * 1e3 for name in ("p20", "p80"))
    whiskers = [np.maximum(t - low, 0), np.maximum(high - t, 0)]
    ax.barh(places, t, 0.38, color=color, label=label, xerr=whiskers, error_kw={"linewidth": 0.8, "ecolor": "#444444"})


BATCHES = ("#9ecae1", "#3182bd", "#08306b", "black")  # of the markers, from the smallest batch on


def network(rows: list[Row], path: Path) -> None:
    """Every configuration of PyTorch that was measured: its time / ours, at every batch. rows: network's, one dtype."""
    rows = [row for row in rows if row["work"] in ("forward", "step") and row["quantity"] == "seconds" and row["p50"]]
    ours = {(row["work"], row["batch"]): row["p50"] for row in rows if row["config"] == "ours"}
    batches = sorted({batch for _, batch in ours}, key=int)
    works = [work for work in ("forward", "step") if any(row["work"] == work for row in rows)]
    names = {work: ranked([r for r in rows if r["work"] == work and r["config"] != "ours"], ours) for work in works}

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(works), 1, squeeze=False, sharex=True, height_ratios=[len(names[w]) for w in works])
        for ax, work in zip(axes[:, 0], works):
            ax.axvline(1, color=OURS, linewidth=2, zorder=0)
            for batch, color in zip(batches, BATCHES):
                found = [r for r in rows if (r["work"], r["batch"]) == (work, batch) and r["config"] != "ours"]
                times = [r["p50"] / ours[work, batch] for r in found]
                ax.plot(times, [names[work].index(r["config"]) for r in found], "o", color=color, markersize=6)
            ax.set_yticks(range(len(names[work])), [name.removeprefix("torch ") for name in names[work]])
            ax.set_ylim(len(names[work]) - 0.4, -0.6)
            mine = ", ".join(f"batch {b}: {seconds(ours[work, b])}" for b in batches if (work, b) in ours)
            kind = {"forward": "forward pass", "step": "training step"}[work]
            ax.set_title(f"{kind} (ours at {mine})", loc="left", fontsize=11)
            ax.set(xscale="log")
            ax.grid(axis="both", alpha=0.25)
            ax.xaxis.set(major_locator=LogLocator(subs=(1, 1.5, 2, 3, 5, 7)), minor_locator=NullLocator(),
                         major_formatter=FuncFormatter(lambda v, _: f"{v:g}"))
            ax.tick_params(labelbottom=True)
        axes[-1, 0].set_xlabel("PyTorch's time / ours (right of the line: ours is faster)")
        dots = [Line2D([], [], color=color, marker="o", linestyle="", label=f"batch {batch}")
                for batch, color in zip(batches, BATCHES)]
        figure.legend(handles=dots, loc="outside lower center", ncols=len(dots), frameon=False)
        figure.suptitle(title({**rows[0], "batch": ""}), fontsize=11)

    save(path, 10, 2.6 + 0.26 * sum(map(len, names.values())), draw)


def ranked(rows: list[Row], ours: dict[tuple[str, str], float]) -> list[str]:
    """Names of configurations, the nearest to ours first."""
    shares: dict[str, list[float]] = {}
    for row in rows:
        shares.setdefault(row["config"], []).append(row["p50"] / ours[row["work"], row["batch"]])
    return sorted(shares, key=lambda name: float(np.mean(shares[name])))


MARKERS = {"forward": ("o", "result"), "dx": (">", "dx"), "dw": ("s", "dw"), "db": ("d", "db")}


def diff(rows: list[Row], path: Path) -> None:
    """Errors of every layer's results beside what is allowed, a panel for each backend and dtype that has any."""
    pairs = list(dict.fromkeys((row["backend"], row["dtype"]) for row in rows if row["p50"]))
    names = list(dict.fromkeys(row["layer"] for row in rows))

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(pairs), squeeze=False, sharey=True)[0]
        for ax, pair in zip(axes, pairs):
            for row in rows:
                work, _, name = row["work"].partition(": ")
                key = "forward" if work == "forward" else {"dmid": "dx", "dglobal": "dx"}.get(name, name)
                y = names.index(row["layer"]) + 0.2 * (list(MARKERS).index(key) - 1.5)
                if (row["backend"], row["dtype"]) == pair and row["p50"]:
                    ax.plot([row["p50"], row["tolerance"]], [y, y], color="#cccccc", linewidth=1, zorder=0)
                    ax.plot(row["tolerance"], y, "|", color="black", markersize=5)
                    ax.plot(row["p50"], y, MARKERS[key][0], color="firebrick" if row["mark"] else OURS, markersize=4)
            ax.set(xscale="log", title=" ".join(pair), xlabel="relative error; | is what is allowed")
            ax.grid(axis="x", alpha=0.25)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        shapes = [Line2D([], [], color=OURS, marker=m, linestyle="", label=t) for m, t in MARKERS.values()]
        figure.legend(handles=shapes, loc="outside lower center", ncols=len(shapes), frameon=False)
        figure.suptitle(f"{where(rows[0])}: every layer alone against the reference in float64", fontsize=11)

    save(path, 1.5 + 3.4 * len(pairs), 1.8 + 0.28 * len(names), draw)
