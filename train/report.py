"""`ltbc report RUN`: a run as one HTML file that needs nothing else: curves, pictures over time, speed, settings.

It is made from what the run has left (metrics.jsonl, settings.json, samples/), also while it lasts.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import base64
import html
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ltbc.nn.weights import write_whole
from ltbc.train import TrainError
from ltbc.train.journal import lines
from ltbc.train.leavings import METRICS, SAMPLES

WINDOW = 50  # steps of the means that are drawn, at most a fifth of the run
STYLE = "body{font:16px sans-serif;max-width:64em;margin:auto;padding:0 1em}img{max-width:100%}td{padding-right:1em}"
SHOWN = 12  # sheets of samples


def main(arguments: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="ltbc report", description=(__doc__ or "").partition("\n")[0])
    p.add_argument("run", metavar="RUN", help="folder of a run of ltbc train")
    p.add_argument("--out", metavar="FILE", help="default: RUN/report.html")
    options = p.parse_args(arguments)
    run = Path(options.run)
    out = Path(options.out or run / "report.html")
    try:
        write_whole(out, page(run).encode())
    except OSError as error:
        print(f"report: {error.filename or out}: {error.strerror or error}", file=sys.stderr)
        return 2
    except TrainError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(f"look at {out}")
    return 0


def page(run: Path) -> str:
    """The report. Raises TrainError where there is no run, or none of its steps."""
    rows = read(run)
    steps = [row for row in rows if "loss" in row]
    measured = [row for row in rows if "held_out" in row]
    if not steps:
        raise TrainError(f"{run}: no steps in {METRICS}; is that a run?")
    name = html.escape(run.resolve().name)
    parts = [f"<h1>{name}</h1>", table(facts(steps, measured)), embedded(curves(steps, measured), "png")]
    samples = sorted((run / SAMPLES).glob("*.jpg"))
    chosen = [samples[i] for i in np.unique(np.linspace(0, len(samples) - 1, min(SHOWN, len(samples))).astype(int))]
    if chosen:
        parts.append("<h2>Held-out pictures over time</h2><p>grey, then ours and the truth</p>")
        parts += [f"<h3>step {int(file.stem)}</h3>{embedded(file.read_bytes(), 'jpeg')}" for file in chosen]
    parts.append("<h2>Settings</h2>" + table(settings(run)))
    body = "\n".join(parts)
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
            f"<style>{STYLE}</style><body>\n{body}\n</body></html>\n")


def read(run: Path) -> list[dict[str, Any]]:
    """The lines of the journal; one that was cut off does not count."""
    found = []
    for line in lines(run / METRICS):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def settings(run: Path) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in json.loads((run / "settings.json").read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {"settings.json": "cannot be read"}


def facts(steps: list[dict], measured: list[dict]) -> dict[str, str]:
    """What a run has come to."""
    last = steps[-1]
    tail = [row["loss"] for row in steps[-window(steps) :]]
    waited = float(np.mean([row["data_wait"] for row in steps]))
    told = {
        "steps": f"{last['step']}", "minutes of training": f"{last['seconds'] / 60:.1f}",
        "pictures a second": f"{np.median([row['images_per_s'] for row in steps]):.4g} (median)",
        "waiting for pictures": f"{waited:.1%} of the time (mean over steps)",
        "loss": f"{np.mean(tail):.5f}, mean of the last {len(tail)} steps",
    }
    for name in ("held_out", "held_out_average"):
        scores = [(row[name]["chroma_error"], row["step"], row[name]) for row in measured if name in row]
        if scores:
            error, step, score = min(scores, key=lambda one: one[:2])
            more = "" if score.get("ciede2000") is None else f", CIEDE2000 {score['ciede2000']:.2f}"
            more += "" if score.get("top5") is None else f", top-5 {score['top5']:.1f} %"
            told[f"best on held-out pictures{', average of the weights' * name.endswith('average')}"] = (
                f"chroma error {error:.2f} (grey {score['grey_error']:.2f}) at step {step}{more}")
    return told


def window(steps: list[dict]) -> int:
    return max(1, min(WINDOW, len(steps) // 5))


def curves(steps: list[dict], measured: list[dict]) -> bytes:
    """Losses, errors on the held-out pictures, speed and waiting over the steps, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    at = np.array([row["step"] for row in steps])
    size = window(steps)
    panels = (("color: rms error of a* and b*", 220 * np.sqrt([row["chroma"] for row in steps])),
              ("scene: cross entropy", np.array([row["classes"] for row in steps])),
              ("pictures a second", np.array([row["images_per_s"] for row in steps])))
    for axis, (title, values) in zip((axes[0, 0], axes[0, 1], axes[1, 1]), panels):
        axis.plot(at, values, alpha=0.25, linewidth=0.8)
        axis.plot(at[size - 1 :], np.convolve(values, np.ones(size) / size, "valid"), color="tab:blue",
                  label=f"mean of {size} steps")
        axis.set(title=title, xlabel="step", ylim=(0, 1.5 * float(np.percentile(values, 99)) or 1))
        axis.legend()
    axis = axes[1, 0]
    for name, label in (("held_out", "weights"), ("held_out_average", "their average")):
        points = [(row["step"], row[name]["chroma_error"]) for row in measured if name in row]
        if points:
            axis.plot(*np.array(points).T, marker=".", label=label)
    if measured:
        axis.axhline(measured[-1]["held_out"]["grey_error"], color="grey", linestyle=":", label="grey")
        axis.legend()
    axis.set(title="held-out pictures: chroma error" if measured else "no held-out pictures", xlabel="step")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90, format="png")
    plt.close(figure)
    return buffer.getvalue()


def embedded(data: bytes, kind: str) -> str:
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def table(rows: dict[str, str]) -> str:
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in rows.items())
    return f"<table>{cells}</table>"


if __name__ == "__main__":
    sys.exit(main())
