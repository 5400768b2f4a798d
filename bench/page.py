"""One page for a machine, to be looked at on a phone, too: roofline, layers, network, scaling and history.

Everything is in the file. Bars are text and boxes, which become as narrow as the screen; the other plots are there
twice, wide and narrow, as SVG.
"""

import base64
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from html import escape
from pathlib import Path

from bench import history, plots, plots_history, plots_scaling, results
from bench.results import Row

STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 0 auto; padding: 0 16px 48px }
h1 { font-size: 1.4em } h2 { font-size: 1.15em; margin: 2em 0 .4em } p { color: #555; margin: .3em 0 }
img { width: 100%; height: auto; display: block }
.row { display: grid; grid-template-columns: 13em 1fr; gap: 0 .8em; padding: .35em 0; border-top: 1px solid #eee }
.name { overflow-wrap: anywhere } .ratio { font-weight: 600 } .slow { color: #b22222 }
.bar { height: .55em; border-radius: 2px; background: #1f6f8b; min-width: 1px } .torch { background: #d98e3f }
.time { font-size: .85em; color: #555; overflow-wrap: anywhere }
@media (max-width: 640px) { .row { grid-template-columns: 1fr } }
"""
NARROW = "(max-width: 640px)"
Draw = Callable[[Path], None]


def page(rows: list[Row], runs: list[history.Run], machine: str) -> str:
    """HTML of all that there is. runs: for the history, the oldest first."""
    first = rows[0]
    parts = [f"<h1>{escape(first['gpu'] or first['cpu'])}</h1><p>{escape(machine)}</p>"
             "<p>Ratio: PyTorch's time / ours; red where ours is slower, ? where the figure is noisy.</p>"]
    network = [r for r in rows if r["command"] == "network" and r["quantity"] == "seconds" and r["p50"]]
    for work, title in (("forward", "Forward pass"), ("step", "Training step")):
        of_work = [r for r in network if r["work"] == work]
        parts += section(f"{title} of the network", map(network_row, together(of_work)))
    kernels = [r for r in rows if r["command"] == "kernels" and r["p50"]]
    for backend, dtype in dict.fromkeys((r["backend"], r["dtype"]) for r in kernels):
        some = [r for r in kernels if (r["backend"], r["dtype"]) == (backend, dtype)]
        if any(r["tflops"] for r in some if r["config"] == "ours"):
            both = (partial(plots.roofline, some, narrow=n) for n in (False, True))
            parts += drawn(f"Roofline, {backend} {dtype}", *both)
        theirs = results.rivals(some)
        pairs = [(r, theirs.get((r["layer"], r["op"], r["work"]))) for r in some if r["config"] == "ours"]
        longest = max(float(r["p50"]) for pair in pairs for r in pair if r)
        parts += section(f"Layers, {backend} {dtype}, batch {some[0]['batch']}",
                         (bars(f"{a['layer']} {a['work']} ({a['op']})", a, b, longest) for a, b in pairs))
    scaling = [r for r in rows if r["command"] == "scaling"]
    if any(r["p50"] for r in scaling):
        parts += drawn("Scaling", *(partial(plots_scaling.scaling, scaling, narrow=n) for n in (False, True)))
    if runs:
        parts += drawn("History", *(partial(plots_history.history, runs, narrow=n) for n in (False, True)))
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>bench: {escape(plots.where(first))}</title><style>{STYLE}</style>{''.join(parts)}</html>\n")


def section(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return [f"<h2>{escape(title)}</h2>", *found] if found else []


def together(rows: list[Row]) -> Iterable[tuple[Row, Row | None, float]]:
    """(ours, the fastest of PyTorch's in turns with it, the longest time) of each dtype and batch."""
    for mine in (r for r in rows if r["config"] == "ours"):
        same = [r for r in rows if all(r[k] == mine[k] for k in ("backend", "dtype", "batch", "size", "width"))]
        rival = min((r for r in same if r["config"] != "ours" and r["p20"]), key=lambda r: r["p50"], default=None)
        yield mine, rival, max(r["p50"] for r in (mine, rival) if r)


def network_row(found: tuple[Row, Row | None, float]) -> str:
    mine, rival, longest = found
    return bars(f"{mine['dtype']}, batch {mine['batch']}", mine, rival, longest)


def bars(name: str, mine: Row, rival: Row | None, longest: float) -> str:
    """A name with its ratio, and the two times as bars with their words."""
    ratio = ""
    if mine["ratio"]:
        noisy = "?" if mine["mark"] else ""
        ratio = f" <span class='ratio{' slow' * (mine['ratio'] < 1)}'>{mine['ratio']:.2f}{noisy}</span>"
    lines = []
    for row, kind, who in ((mine, "", "ours"), (rival, " torch", "")):
        if row:
            text = f"{results.seconds(row['p50'])} {who or row['config']}"
            lines.append(f"<div class='bar{kind}' style='width:{100 * row['p50'] / longest:.1f}%'></div>"
                         f"<div class=time>{escape(text)}</div>")
    return f"<div class=row><div class=name>{escape(name)}{ratio}</div><div>{''.join(lines)}</div></div>"


def drawn(title: str, wide: Draw, narrow: Draw) -> list[str]:
    """A plot in both forms, of which the browser takes the one that fits."""
    return [f"<h2>{escape(title)}</h2><picture><source media='{NARROW}' srcset='{svg(narrow)}'>"
            f"<img alt='{escape(title)}' src='{svg(wide)}'></picture>"]


def svg(draw: Draw) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.svg"
        draw(path)
        return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()
