"""How time and memory grow: colorizing over the picture's pixels, in the network alone and by the program from file to
file; a training step over batch, width and the number of processes.

Every point is measured in a process of its own, so that its peak memory is its own: for the network beyond what its
libraries take, for programs all that the largest process holds. Growth is fitted as c n^k by least squares between
logarithms; k comes with its standard error. A k of 1 is growth in proportion. For programs, whose start-up does not
grow, it is a + b n, by least squares of relative errors.

Processes share one machine: first its cores and one batch (ideal: the same time), then each has a core and pictures of
its own (ideal: the same time, for more pictures).
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bench import BenchError, options, results
from bench.measure import programs
from bench.measure.machine import core_count, where
from bench.measure.memory import peak
from bench.measure.timing import Spread

SIDES = (224, 384, 512, 768, 1024, 1536, 2048)
BATCHES, WIDTHS = (1, 2, 4, 8, 16, 32), (0.25, 0.5, 0.75, 1.0, 1.5)
STUDIES = {  # what each consists of, as `work` of the CSV's rows, with what it is counted in
    "colorize": {"colorize": "pixels"}, "file": {"file": "pixels", "file, full size": "pixels"},
    "batch": {"batch": "pictures"}, "width": {"width": "width"},
    "processes": {"processes": "processes", "processes, a core each": "processes"},
}
COLUMNS = "{:<22} {:>13} {:>9} {:>19} {:>9} {}"
HEADER = ("what", "", "median", "20 to 80 %", "memory", "")


class Point(NamedTuple):
    """A measurement to be made. n: what growth is fitted over; measure: returns {"bytes", "seconds", "others"}."""

    label: str
    n: float
    columns: results.Row
    measure: Callable[[], dict[str, Any]]


def main(argv: list[str]) -> int:
    args = parse(argv)
    ((args.backend, args.dtype), *more) = options.chosen(args)
    if more:
        raise BenchError("one backend and one dtype a run")
    print(f"{where()}; {args.backend} {args.dtype}", flush=True)
    print(COLUMNS.format(*HEADER).rstrip())
    table = results.Table(args.csv)
    for name in args.only:
        for work, unit in STUDIES[name].items():
            study(work, unit, points(work, args), args, table)
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    p = options.parser("scaling", __doc__)
    p.add_argument("--only", nargs="+", choices=STUDIES, default=tuple(STUDIES))
    p.add_argument("--sides", type=options.positive(int, 8), nargs="+", default=SIDES, help="of pictures to colorize")
    p.add_argument("--batches", type=options.positive(int), nargs="+", default=BATCHES)
    p.add_argument("--widths", type=options.positive(float), nargs="+", default=WIDTHS)
    p.add_argument("--processes", type=options.positive(int), nargs="+", help="default 1, 2, 4 ... up to the cores")
    p.add_argument("--batch", type=options.positive(int), default=8, help="of the steps over width and processes")
    args = p.parse_args(argv)
    args.processes = args.processes or [2**i for i in range(core_count().bit_length())]
    return args


def points(work: str, args: argparse.Namespace) -> Iterator[Point]:
    """What is measured of one kind of work. Of file to file every other side: 224, 512, 1024, 2048, as in the paper."""
    same = {"global_size": args.size, "backend": args.backend, "dtype": args.dtype}
    columns = {"command": "scaling", "backend": args.backend, "dtype": args.dtype, "work": work, "config": "ours"}
    network = partial(partial, peak, side="ours", runs=3, **same)

    def row(batch: int, side: int, width: float) -> results.Row:
        return columns | {"batch": batch, "size": side, "width": width}

    if work == "colorize":
        for side in args.sides:
            yield Point(f"{side}x{side}", side**2, row(1, side, args.width),
                        network(work="forward", batch=1, size=[side, side], width=args.width))
    elif work.startswith("file"):
        render = "full" if work != "file" else ""
        for side in args.sides[::2]:
            yield Point(f"{side}x{side}", side**2, row(1, side, args.width),
                        partial(programs.colorize, side, width=args.width, render=render, **same))
    elif work in ("batch", "width"):
        over = [(n, args.width, n) for n in args.batches] if work == "batch" else [
            (args.batch, width, width) for width in args.widths]
        for batch, width, n in over:
            yield Point(f"{work} {n:g}", n, row(batch, args.size, width),
                        network(work="step", batch=batch, size=[args.size] * 2, width=width))
    else:
        alone = work != "processes"
        for n in args.processes if args.backend == "cpu" or not alone else ():
            batch = args.batch * (n if alone else 1)
            yield Point(f"{n}, batch {batch}", n, row(batch, args.size, args.width) | {"config": f"{n} processes"},
                        partial(programs.train, n, batch, args.size, args.width, args.backend, args.dtype,
                                alone))


def study(work: str, unit: str, found: Iterator[Point], args: argparse.Namespace, table: results.Table) -> None:
    """Measures and prints the points and their growth; adds the CSV's rows."""
    measured: list[tuple[float, float, float]] = []
    for point in found:
        try:
            got = point.measure()
        except BenchError as error:  # such as a picture too large for this machine's memory: a result, too
            print(COLUMNS.format(work, point.label, "-", "-", "-", error), flush=True)
            table.add([point.columns | {"quantity": "seconds", "note": str(error)}])
            continue
        t = Spread.of(np.array(got["seconds"]))
        mark = t.mark(got["others"])
        print(COLUMNS.format(work, point.label, results.seconds(t.median),
              f"{results.seconds(t.low)} to {results.seconds(t.high)}", results.size(got["bytes"]), mark).rstrip(),
              flush=True)
        times = {"p50": t.median, "p20": t.low, "p80": t.high, "rounds": len(got["seconds"]), "mark": mark}
        table.add([point.columns | {"quantity": "seconds"} | times,
                   point.columns | {"quantity": "bytes", "p50": got["bytes"]}])
        measured.append((point.n, t.median, got["bytes"]))
    table.add(growths(work, unit, measured, args))


def growths(
    work: str, unit: str, measured: list[tuple[float, float, float]], args: argparse.Namespace
) -> list[results.Row]:
    """Prints the fitted growth of time and memory; the CSV's rows."""
    if len(measured) < 2:
        return []
    n, seconds, size = np.array(measured).T
    columns = {"command": "scaling", "backend": args.backend, "dtype": args.dtype, "work": work, "config": "growth"}
    if work.startswith("file"):
        (t, each), (held, more) = line(n / 1e6, seconds), line(n / 1e6, size)
        print(f"{work}: time grows like {t:.2f} s + {each:.2f} s a megapixel, memory like {results.size(held)} + "
              f"{results.size(more)} a megapixel")
        found = {"seconds at the start": t, "seconds a megapixel": each, "bytes at the start": held,
                 "bytes a megapixel": more}
        return [columns | {"quantity": quantity, "p50": value, "note": "a + b n"} for quantity, value in found.items()]
    fits = {"seconds": growth(n, seconds), "bytes": growth(n, size)}
    few = len(measured) == 2
    of = {what: f"{unit}^{k:.2f}" + ("" if few else f" (+-{error:.2f})") for what, (k, error) in fits.items()}
    print(f"{work}: time grows like {of['seconds']}, memory like {of['bytes']}{'; two points, no error' * few}")
    note = f"{unit}^k, " + ("of two points" if few else "+- one standard error")
    return [columns | {"quantity": f"exponent of {what}", "p50": k, "note": note}
            | ({} if few else {"p20": k - error, "p80": k + error})
            for what, (k, error) in fits.items()]


def growth(n: Any, values: Any) -> tuple[float, float]:
    """(k, its standard error, 0 of two points) of values = c n^k, least squares between logarithms."""
    x, y = np.log(n), np.log(values)
    x = x - x.mean()
    k = float(x @ y / (x @ x))
    left = y - y.mean() - k * x
    return k, float(np.sqrt(left @ left / max(1, len(x) - 2) / (x @ x)))


def line(n: Any, values: Any) -> tuple[float, float]:
    """(a, b) of values = a + b n, with the least sum of squared relative errors."""
    a, b = np.linalg.lstsq(np.stack([1 / values, n / values], 1), np.ones(len(n)))[0]
    return float(a), float(b)
