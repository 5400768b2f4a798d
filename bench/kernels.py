"""Every operation at every layer shape, forward and backward: checked, then timed beside PyTorch, in turns.

Caches are flushed before every run and weights prepared beforehand, as for a layer whose turn comes in a network.
The rival is the fastest that PyTorch has for it: each of its dtypes and layouts is tried, those more than twice as
slow as another one are dropped, and the others run in turns with ours.
"matrix" is the share of the ceiling of products, counting those of the formula, "done" counting those that were done:
Winograd's method needs fewer, so that the first may exceed 100 %. On a CPU the ceiling is that of registers.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import BenchError, CheckError, options, results
from bench.measure import overrides
from bench.measure.calls import arguments, call, place
from bench.measure.cases import Case, cases
from bench.measure.ceilings import Ceilings, ceilings
from bench.measure.check import check, method_of
from bench.measure.guest import Guest, Turn, check_file
from bench.measure.machine import where
from bench.measure.sweep import sweep, swept
from bench.measure.timing import Events, Race, Spread, Wall, race
from bench.measure.work import torch_device
from bench.torch.ops import configure, emulated, promising, torch_calls
from ltbc.nn import default_backend
from ltbc.nn.network import as_dtype

COLUMNS = "{:<18} {:<12} {:<9} {:>9} {:>19} {:>8} {:>7} {:>6} {:>8} {:>7} {:>9} {:<22} {:>6} {:>13} {}"
HEADER = ("operation", "layer", "work", "median", "20 to 80 %", "TFLOP/s", "matrix", "done", "GB/s", "memory",
          "PyTorch", "its fastest", "ratio", "20 to 80 %", "")
DROPPED = 2.0  # times the fastest one's time: a variant of PyTorch's that is not timed in turns
SHORT = {"value_and_gradient": "both"}


def main(argv: list[str]) -> int:
    args = parse(argv)
    guest = Guest(check_file(args.with_)) if args.with_ else None
    try:
        return run(args, guest)
    finally:
        if guest:
            guest.stop()


def run(args: argparse.Namespace, guest: Guest | None) -> int:
    if args.tile:
        backends = args.backend or [default_backend()]
        overrides.use_tiles(dict(args.tile), backends[0], args.op)
    pairs, table, works, failed = options.chosen(args), results.Table(args.csv), None, list[str]()
    if guest:
        args.op, works, misspelt = guest.works(args.op, operations(args))
        failed += map(str, misspelt)
    print(f"{where()}; width {args.width:g}, {args.size}x{args.size}, batch {args.batch}; "
          "ratio = PyTorch's time / ours", flush=True)
    for backend, dtype in pairs:
        configure(backend)
        found = chosen(args, works)
        if not found:
            raise BenchError("no case has that operation, layer and work; `ltbc layers` lists the layers")
        if slow := emulated(torch_device(backend)):
            print(f"PyTorch: {slow}, and is not tried in it", flush=True)
        limits = ceilings(dtype, backend)
        print(f"\n{backend} {dtype}; {limits.line()}\n{COLUMNS.format(*HEADER)}", flush=True)
        for case in found:
            try:
                table.add(measure(case, backend, dtype, limits, guest, args))
            except CheckError as error:
                failed.append(str(error))
                print(error, flush=True)
            except Exception as error:
                if backend != "gpu" or isinstance(error, BenchError):
                    raise
                failed.append(f"{case.name}: {type(error).__name__}: {error}")  # time on a GPU is scarce: the others
                print(failed[-1], flush=True)  # still get their turn
    if failed:
        print("bench kernels: not timed, because they failed or are wrong: "
              f"{len(failed)}, the first: {failed[0].splitlines()[0]}", file=sys.stderr)
    return 1 if failed else 0


def parse(argv: list[str]) -> argparse.Namespace:
    p = options.parser("kernels", __doc__)
    p.add_argument("--op", help="one operation, such as conv3x3")
    p.add_argument("--layer", help="one layer (low.3) or part (low)")
    p.add_argument("--work", choices=("forward", "backward"), help="one of the two")
    p.add_argument("--batch", type=options.positive(int), default=8)
    p.add_argument("--with", dest="with_", type=Path, metavar="FILE",
                   help="a Python file with forward and/or backward of one operation: OP = 'conv3x3' in it, or --op")
    p.add_argument("--sweep", metavar="NAME=VALUES", help="one layer over a size: Cout=32..512, side=28,56 or N=1..32")
    p.add_argument("--tile", type=overrides.tile, nargs="+", metavar="NAME=NUMBER", default=[],
                   help="in place of the kernels' own, such as rows=12 (cpu) or BLOCK_P=64 (gpu, with --op)")
    p.add_argument("--compile", action="store_true",
                   help="also how long our kernels of a case take to compile (cpu), and the size of what is kept of it")
    p.add_argument("--seconds", type=options.positive(float), default=1.0, help="for each case (default 1)")
    args = p.parse_args(argv)
    if args.tile and (args.backend or [""])[0] == "gpu" and not args.op:
        raise BenchError("--tile on a GPU is of one operation: say which with --op")
    if args.tile and args.compile:
        raise BenchError("--compile is of the kernels' own tiles, not of --tile")
    if args.op and args.op not in (ops := sorted(operations(args))):
        raise BenchError(f"--op must be one of {', '.join(ops)}, got {args.op}")
    return args


def operations(args: argparse.Namespace) -> dict[str, set[str]]:
    """The functions of every operation that there are cases of."""
    found: dict[str, set[str]] = {}
    for case in cases(options.settings(args), args.size, 1):
        found.setdefault(case.op, set()).add(case.work)
    return found


def chosen(args: argparse.Namespace, works: set[str] | None) -> list[Case]:
    """The cases to be measured, in order."""
    if args.sweep:
        over = swept(sweep(args.sweep), options.settings(args), args.size, args.batch, args.op, args.layer)
        return [case for case in over if args.work in (None, case.work) and (not works or case.work in works)]
    return [case for case in cases(options.settings(args), args.size, args.batch) if selected(case, args, works)]


def selected(case: Case, args: argparse.Namespace, works: set[str] | None) -> bool:
    layer = not args.layer or case.layer == args.layer or case.layer.split(".")[0] == args.layer
    return layer and args.op in (None, case.op) and args.work in (None, case.work) and (not works or case.work in works)


def measure(
    case: Case, backend: str, dtype: str, limits: Ceilings, guest: Guest | None, args: argparse.Namespace
) -> list[results.Row]:
    """Checks ours and, where given, the user's; times them beside PyTorch; prints a line each; the CSV's rows."""
    check(case, backend, dtype)
    arrays = arguments(case, dtype)
    functions: dict[str, Any] = {"ours": call(case, place(arrays, backend), dtype, backend)}
    clock = Events() if backend == "gpu" else Wall()
    if guest:
        functions["yours"] = yours = Turn(guest, case, backend, dtype, clock)
        yours.check()
    functions |= rivals(case, arrays, dtype, torch_device(backend), clock)
    found = race(functions, args.seconds, clock=clock)
    if guest:
        yours.check()
    rows = [row(case, name, found, backend, dtype, limits, args) for name in functions]
    if args.compile and backend == "cpu":
        rows[0] |= (cost := compiling(case, dtype))
    for name, line in zip(functions, rows):
        if name in ("ours", "yours"):
            print_row(case, name, line, found)
    if args.compile and backend == "cpu":
        kept = f"{cost['cache_bytes'] / 1024:.0f} KiB kept"
        print(f"  compiled in {results.seconds(cost['compile_s'])}, {kept}", flush=True)
    return rows


def compiling(case: Case, dtype: str) -> results.Row:
    """What the first call takes beyond another one in a process with nothing compiled, and what it leaves there."""
    with tempfile.TemporaryDirectory(prefix="bench-compile-") as folder:
        guest = Guest(None, LTBC_CACHE=folder)
        try:
            turn = Turn(guest, case, "cpu", dtype, Wall(flushed=False))
            begun = time.perf_counter()
            turn.check()
            first, begun = time.perf_counter() - begun, time.perf_counter()
            turn.check()
            later = time.perf_counter() - begun
        finally:
            guest.stop()
        kept = sum(file.stat().st_size for file in Path(folder).iterdir())
        return {"compile_s": max(0.0, first - later), "cache_bytes": kept}


def rivals(
    case: Case, arrays: dict[str, np.ndarray], dtype: str, device: str, clock: Any
) -> dict[str, Callable[[], Any]]:
    """Of all that PyTorch has for the case, what is at most DROPPED times as slow as the fastest."""
    dtypes = promising(device)
    dtypes += [dtype] if dtype in ("float16", "float64") else []
    functions, seconds = dict[str, Callable[[], Any]](), dict[str, float]()
    for name, make in torch_calls(case, arrays, device, dtypes).items():
        function = make()
        clock.time(function)
        seconds[name] = clock.time(function)
        functions = {n: f for n, f in (functions | {name: function}).items()
                     if seconds[n] <= DROPPED * min(seconds.values())}
    return functions


def row(
    case: Case, name: str, found: Race, backend: str, dtype: str, limits: Ceilings, args: argparse.Namespace
) -> results.Row:
    """One CSV row. PyTorch's share of the ceilings is given too; the ratio is that of its fastest variant to this."""
    times = found.times[name]
    t, low, high = Spread.of(times.seconds)
    traffic = case.bytes(as_dtype(dtype))
    rival = fastest(found)
    ratio = found.ratio(rival, name) if rival else None
    notes = [f"against {rival}"] * bool(rival and not name.startswith("torch"))
    notes += [f"{tile}={value}" for tile, value in args.tile] if name == "ours" else []
    figures = {"ratio": ratio.median, "ratio_p20": ratio.low, "ratio_p80": ratio.high} if ratio else {}
    return {
        "command": "kernels", "backend": backend, "dtype": dtype, "op": case.op, "layer": case.layer, "work": case.work,
        "batch": case.batch, "size": args.size, "width": args.width, "config": name, "quantity": "seconds",
        "p50": t, "p20": low, "p80": high, "rounds": len(times.seconds),
        "tflops": case.flops / t / 1e12, "gbytes_s": traffic / t / 1e9, "matrix_share": case.flops / t / limits.flops,
        "done_share": done(case, dtype) / t / limits.flops if name == "ours" and backend == "cpu" else None,
        "memory_share": traffic / t / limits.bytes, **figures,
        "note": "; ".join(notes) or None,
        "ceiling_tflops": limits.flops / 1e12, "ceiling_gbytes_s": limits.bytes / 1e9,
        "mark": (ratio or Spread(t, low, high)).mark(found.others),
    }


def fastest(found: Race) -> str:
    """Name of the fastest rival; "" where there is none."""
    return min((n for n in found.times if n.startswith("torch")), key=lambda n: found.times[n].median, default="")


def done(case: Case, dtype: str) -> float:
    """The operations of the cpu backend's method, those of tiles beyond an edge included."""
    if case.op != "conv3x3":
        return case.flops
    how, y = method_of(case, "cpu", dtype), case.results.get("y") or case.inputs["y"]
    if how.y != "winograd":
        return case.flops
    return case.flops * how.transforms.tiles(*y[:3]).total * how.transforms.p**2 / (9 * np.prod(y[:3]))


def print_row(case: Case, name: str, line: results.Row, found: Race) -> None:
    rival = fastest(found)
    ratio = [f"{line['ratio']:.2f}", f"{line['ratio_p20']:.2f} to {line['ratio_p80']:.2f}"] if rival else ["-", "-"]
    products = [f"{line['tflops']:.3f}", f"{line['matrix_share']:.0%}"] if case.flops else ["-", "-"]
    products.append(f"{line['done_share']:.0%}" if line["done_share"] else "-")
    print(COLUMNS.format(
        case.op if name == "ours" else "  yours", case.layer, SHORT.get(case.work, case.work),
        results.seconds(line["p50"]), f"{results.seconds(line['p20'])} to {results.seconds(line['p80'])}",
        *products, f"{line['gbytes_s']:.1f}", f"{line['memory_share']:.0%}",
        results.seconds(found.times[rival].median) if rival else "-", rival.removeprefix("torch ") or "-", *ratio,
        line["mark"],
    ).rstrip(), flush=True)
