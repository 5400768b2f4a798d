"""Times of the network over commits, as a picture."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.history import Run
from bench.plots import save, where
from bench.results import Row, seconds

KINDS = {"forward": "forward pass", "step": "training step"}
STYLES = {"bfloat16": "-", "float32": "--"}


def history(runs: list[Run], path: Path, narrow: bool = False) -> None:
    """Ours, a panel for each kind of work, a line for each batch and dtype. narrow: one below the other."""
    works = [work for work in KINDS if any(row["work"] == work for run in runs for row in run.rows)]

    def draw(figure: Any) -> None:
        shape = (len(works), 1) if narrow else (1, len(works))
        for ax, work in zip(figure.subplots(*shape, squeeze=False).ravel(), works):
            panel(ax, runs, work)
            ax.set_title(f"{KINDS[work]}, ours", loc="left", fontsize=11)
        figure.suptitle(where(runs[-1].rows[0]), fontsize=11)

    save(path, 4.4 if narrow else 5.2 * len(works), 4.0 * len(works) if narrow else 4.4, draw)


def panel(ax: Any, runs: list[Run], work: str) -> None:
    keys = sorted({(row["dtype"], float(row["batch"])) for run in runs for row in run.rows if row["work"] == work})
    batches = sorted({batch for _, batch in keys})
    for dtype, batch in keys:
        points: list[tuple[int, Row]] = [
            (i, row) for i, run in enumerate(runs) for row in run.rows
            if (row["work"], row["dtype"], float(row["batch"])) == (work, dtype, batch)]
        color = plt.get_cmap("viridis")(0.85 * batches.index(batch) / max(1, len(batches) - 1))
        ax.plot([i for i, _ in points], [row["p50"] for _, row in points], STYLES.get(dtype, ":"), color=color)
        for i, row in points:
            low, high = (row[name] or row["p50"] for name in ("p20", "p80"))
            ax.plot([i, i], [low, high], color=color, linewidth=1)
            ax.plot(i, row["p50"], "o", color=color, mfc="white" if row["mark"] else color, markersize=5)
        i, last = points[-1]
        ax.annotate(f"{dtype}, batch {batch:g}: {seconds(last['p50'])}", (i, last["p50"]), (0, 6), fontsize=8,
                    textcoords="offset points", ha="right" if i else "left", color=color)
    ax.set(yscale="log", xlim=(-0.5, len(runs) - 0.5))
    ax.margins(y=0.12)
    shown = range(0, len(runs), -(-len(runs) // 10))
    ax.set_xticks(list(shown), [f"{runs[i].date[5:]} {runs[i].commit}" for i in shown], rotation=60, ha="right",
                  fontsize=8)
    ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(),
                 major_formatter=FuncFormatter(lambda t, _: seconds(t)))
    ax.grid(alpha=0.2)
