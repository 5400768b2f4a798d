"""How time and memory grow: colorizing over the picture's pixels, a training step over batch and over width.

Every point is measured in a process of its own, so that its peak memory is its own. Growth is fitted as c n^k by least
squares between logarithms; k comes with its standard error. A k of 1 is growth in proportion.
"""

import argparse
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench import BenchError, options, results
from bench.machine import core_count, machine
from bench.memory import peak
from bench.timing import Spread

SIDES = (224, 384, 512, 768, 1024, 1536, 2048)
BATCHES, WIDTHS = (1, 2, 4, 8, 16, 32), (0.25, 0.5, 0.75, 1.0, 1.5)
STUDIES = ("colorize", "batch", "width")
COLUMNS = "{:<10} {:>10} {:>12} {:>19} {:>10} {}"


def main(argv: list[str]) -> int:
    args = parse(argv)
    ((args.backend, args.dtype), *more) = options.chosen(args)
    if more:
        raise BenchError("one backend and one dtype a run")
    print(f"{machine()['gpu'] or machine()['cpu']}, {core_count()} cores; {args.backend} {args.dtype}")
    print(COLUMNS.format("what", "", "median", "20 to 80 %", "memory", "").rstrip())
    rows: list[results.Row] = []
    studies = {
        "colorize": [point(args, "forward", 1, side, args.width, f"{side}x{side}", side**2) for side in args.sides],
        "batch": [point(args, "step", n, args.size, args.width, f"batch {n}", n) for n in args.batches],
        "width": [point(args, "step", args.batch, args.size, w, f"width {w:g}", w) for w in args.widths],
    }
    for name in args.only:
        rows += study(name, studies[name], args)
    if find_spec("train.distributed") is None:
        print("processes: not measured, this checkout has no data-parallel training (train/distributed.py)")
    if args.csv:
        results.write(args.csv, rows)
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    p = options.parser("scaling", __doc__)
    p.add_argument("--only", nargs="+", choices=STUDIES, default=STUDIES)
    p.add_argument("--sides", type=options.positive(int, 8), nargs="+", default=SIDES, help="of pictures to colorize")
    p.add_argument("--batches", type=options.positive(int), nargs="+", default=BATCHES)
    p.add_argument("--widths", type=options.positive(float), nargs="+", default=WIDTHS)
    p.add_argument("--batch", type=options.positive(int), default=8, help="of the steps over width")
    return p.parse_args(argv)


def point(args: argparse.Namespace, work: str, batch: int, side: int, width: float, label: str, n: float) -> dict:
    """One measurement to be made: the task of `memory.main`, its label and what it is counted in."""
    task = {"side": "ours", "work": work, "batch": batch, "size": [side, side], "global_size": args.size,
            "width": width, "backend": args.backend, "dtype": args.dtype, "runs": 3}
    return {"label": label, "n": n, "task": task}


def study(name: str, points: list[dict], args: argparse.Namespace) -> list[results.Row]:
    """Measures and prints the points and their growth; the CSV's rows."""
    rows: list[results.Row] = []
    measured: list[tuple[float, float, float]] = []
    for one in points:
        task = one["task"]
        common = {"command": "scaling", "backend": args.backend, "dtype": args.dtype, "work": name,
                  "batch": task["batch"], "size": task["size"][0], "width": task["width"], "config": "ours"}
        try:
            found = peak(**task)
        except BenchError as error:  # such as a picture too large for this machine's memory: a result, too
            print(COLUMNS.format(name, one["label"], "-", "-", "-", error))
            rows.append(common | {"quantity": "seconds", "note": str(error)})
            continue
        t = Spread.of(np.array(found["seconds"]))
        mark = t.mark(found["others"])
        print(COLUMNS.format(name, one["label"], results.seconds(t.median),
              f"{results.seconds(t.low)} to {results.seconds(t.high)}", results.size(found["bytes"]), mark).rstrip(),
              flush=True)  # fmt: skip
        times = {"p50": t.median, "p20": t.low, "p80": t.high, "rounds": len(found["seconds"]), "mark": mark}
        rows += [common | {"quantity": "seconds"} | times, common | {"quantity": "bytes", "p50": found["bytes"]}]
        measured.append((one["n"], t.median, found["bytes"]))
    return rows + growths(name, measured, args)


def growths(name: str, measured: list[tuple[float, float, float]], args: argparse.Namespace) -> list[results.Row]:
    """Prints the fitted growth of time and memory; the CSV's rows."""
    if len(measured) < 3:
        print(f"{name}: no growth fitted, that needs three points")
        return []
    unit = {"colorize": "pixels", "batch": "pictures", "width": "width"}[name]
    n, seconds, size = np.array(measured).T
    fits = {"seconds": growth(n, seconds), "bytes": growth(n, size)}
    (kt, et), (km, em) = fits.values()
    print(f"{name}: time grows like {unit}^{kt:.2f} (+-{et:.2f}), memory like {unit}^{km:.2f} (+-{em:.2f})")
    return [{"command": "scaling", "backend": args.backend, "dtype": args.dtype, "work": name, "config": "growth",
             "quantity": f"exponent of {what}", "p50": k, "p20": k - e, "p80": k + e,
             "note": f"{unit}^k, +- one standard error"}
            for what, (k, e) in fits.items()]  # fmt: skip


def growth(n: Any, values: Any) -> tuple[float, float]:
    """(k, its standard error) of values = c n^k, least squares between logarithms."""
    x, y = np.log(n), np.log(values)
    x = x - x.mean()
    k = float(x @ y / (x @ x))
    left = y - y.mean() - k * x
    return k, float(np.sqrt(left @ left / max(1, len(x) - 2) / (x @ x)))
