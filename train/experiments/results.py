"""What the runs of an experiment come to: measured on held-out pictures, with intervals, as tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltbc.nn import Network, default_backend
from ltbc.nn.backends import array_module_of
from ltbc.train import leavings, quality
from ltbc.train import score as chroma
from ltbc.train.pictures.folder import Pictures

REPLICATES = 2000  # of the bootstrap
ENOUGH_SEEDS, ENOUGH_STEPS = 3, 200  # below, a table names no winner
COLUMNS = {  # the names in `Measured.figures`: (title, format)
    "gain": ("chroma PSNR over grey, dB", "{:.3f}"), "rgb_psnr": ("RGB PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"), "ciede2000": ("CIEDE2000", "{:.2f}"), "colorfulness": ("colorfulness", "{:.1f}"),
    "top1": ("top-1, %", "{:.1f}"), "top5": ("top-5, %", "{:.1f}"),
}


class Measured:
    """A finished run, measured. mse: chroma's squared error `[N]`; figures: by the names of COLUMNS."""

    def __init__(self, run: Path, pictures: Pictures, grey: float) -> None:
        self.run, self.net = run, load(run)
        result = quality.measure(self.net, pictures)
        self.mse = result.values[quality.OURS]["chroma_mse"]
        told = result.summary(quality.OURS)
        self.figures: dict[str, float | None] = {name: told.get(name) for name in COLUMNS}
        self.figures["gain"] = told["chroma_psnr"] - chroma.psnr(grey)
        for k in (1, 5):
            share = result.top(k)
            self.figures[f"top{k}"] = None if share is None else 100 * share


def load(run: Path) -> Network:
    backend = default_backend()
    return Network.load(run / leavings.WEIGHTS, backend, xp=array_module_of(backend))


def grey_error(pictures: Pictures) -> float:
    """The root mean square of the true a* and b*."""
    means = [(chroma.true_ab(squares) ** 2).mean((1, 2, 3)) for squares in chroma.batches_of_squares(pictures)]
    return float(np.sqrt(np.concatenate(means).mean()))


def difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Chroma PSNR of an arm less that of another, in dB, from squared errors `[seeds, N]`.

    mean, and seeds: one a seed (same pictures, order and crops). low, high: a 95 % bootstrap interval, over pictures
    (the same ones for both) and seeds together. With three seeds it is rather too narrow than too wide.
    """
    seeds = decibels(ours.mean(1), theirs.mean(1))
    rng = np.random.default_rng(0)
    drawn = np.empty(REPLICATES)
    for i in range(REPLICATES):
        chosen, pictures = (rng.integers(0, n, n) for n in ours.shape)
        weights = np.bincount(pictures, minlength=ours.shape[1]) / ours.shape[1]
        drawn[i] = decibels(ours[chosen] @ weights, theirs[chosen] @ weights).mean()
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {"mean": float(seeds.mean()), "seeds": seeds.tolist(), "low": float(low), "high": float(high)}


def decibels(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """By how many dB the squared error `ours` is smaller than `theirs`."""
    return 10 * np.log10(theirs / ours)


def tables(arms: dict[str, list[Measured]], steps: int = ENOUGH_STEPS) -> str:
    """Markdown: every arm's figures (mean, smallest to largest over seeds), and its difference to the first arm.

    steps: of each run.
    """
    lines = ["| | " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for label, runs in arms.items():
        lines.append(f"| {label} | " + " | ".join(cell(runs, name) for name in COLUMNS) + " |")
    first, *others = arms
    lines += ["", f"| against {first} | chroma PSNR, dB | 95 % interval | each seed | |", "| --- " * 5 + "|"]
    errors = {label: np.stack([one.mse for one in runs]) for label, runs in arms.items()}
    for label in others:
        d = difference(errors[label], errors[first])
        seeds = ", ".join(f"{x:+.3f}" for x in d["seeds"])
        told = verdict(d, steps)
        lines.append(f"| {label} | {d['mean']:+.3f} | {d['low']:+.3f} to {d['high']:+.3f} | {seeds} | {told} |")
    return "\n".join(lines) + "\n"


def verdict(d: dict[str, Any], steps: int = ENOUGH_STEPS) -> str:
    """A difference counts where the interval and every seed are on one side of 0, and there were enough of both.

    All signs of n seeds are the same by chance in one of 2^(n-1) cases; runs of few steps have not learned what is
    compared.
    """
    if len(d["seeds"]) < ENOUGH_SEEDS or steps < ENOUGH_STEPS:
        return f"too few to tell: wanted {ENOUGH_SEEDS} seeds of {ENOUGH_STEPS} steps"
    if d["low"] > 0 and min(d["seeds"]) > 0:
        return "better"
    return "worse" if d["high"] < 0 and max(d["seeds"]) < 0 else "within noise"


def cell(runs: Sequence[Measured], name: str) -> str:
    form, values = COLUMNS[name][1], [x for run in runs if (x := run.figures[name]) is not None]
    if not values:
        return "–"
    mean, low, high = (form.format(x) for x in (np.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / leavings.METRICS).read_text().splitlines()]


def curve(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """(steps, chroma error on the held-out pictures) of a run's measurements."""
    points = [(line["step"], line["held_out"]["chroma_error"]) for line in lines_of(run) if "held_out" in line]
    steps, errors = np.array(points).T
    return steps, errors


def class_curve(run: Path, window: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """(steps, cross entropy in training), means over `window` steps."""
    values = np.array([(line["step"], line["classes"]) for line in lines_of(run) if "classes" in line])
    window = min(window, len(values))
    steps, losses = values[: len(values) // window * window].reshape(-1, window, 2).mean(1).T
    return steps, losses
