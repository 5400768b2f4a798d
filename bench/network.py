"""Forward pass and training step of the whole network, ours against every configuration of PyTorch, in one run.

Every configuration runs a few times, of which the shortest after the first counts; the fastest then run in turns with
ours, round by round, and the ratio is that of those rounds. All the time there is (--minutes) is used; what it does not
suffice for is said. Ours in float32 is compared with PyTorch in float32, else with all its arithmetics. Peak memory is
measured afterwards, each side in a process of its own.
"""

import argparse
import json
import sys
import time
from typing import Any

from bench import BenchError, options, results
from bench.measure.machine import core_count, machine
from bench.measure.memory import peak
from bench.measure.timing import Events, Race, Spread, Times, Wall, race
from bench.measure.trials import fastest, trials
from bench.measure.work import OurStep, check_network, data_seconds, inputs, on_host, our_work, torch_device
from bench.torch.configs import Config, TorchSide
from bench.torch.ops import configure
from ltbc.nn import Network
from ltbc.nn.backends import array_module_of

QUICK_MINUTES, MINUTES = 0.85, 7.3
ROUNDS = (3, 15)
FINALISTS, NEAR = 3, 1.2  # at most so many, whose first runs took at most so many times the fastest one's
RESERVED = 0.2  # of the time, for peak memory
SETUP = 24.0  # what making all configurations takes, in units of what one more picture takes
TRIALS = 0.65  # of the time of one kind of work, for the first runs of every configuration; then come the turns
COLUMNS = "{:<8} {:>5}  {:<51} {:>9} {:>8} {:>13} {}"


class Budget:
    """Seconds of the whole run from `begun` on, dealt out by weight to what is still to be done."""

    def __init__(self, begun: float, minutes: float, weights: list[float]) -> None:
        self.end, self.weights = begun + 60 * minutes, weights

    def next(self) -> float:
        """When the next piece of work should be done."""
        now = time.perf_counter()
        share = self.weights[0] / sum(self.weights)
        del self.weights[0]
        return now + max(0.0, self.end - now) * share


def main(argv: list[str]) -> int:
    args, begun = parse(argv), time.perf_counter()
    (backend, dtype), *more = options.chosen(args)
    if more:
        raise BenchError("one backend and one dtype a run")
    args.backend, args.dtype = backend, dtype
    configure(backend)
    out = sys.stderr if args.json == "-" else sys.stdout  # the table; JSON on the terminal stays alone
    say = lambda *text: print(*text, file=out, flush=True)  # noqa: E731
    say(f"{machine()['gpu'] or machine()['cpu']}, {core_count()} cores; ours: {backend} {dtype}; width {args.width:g}, "
        f"{args.size}x{args.size}, 205 classes{'; quick: eager configurations only' * args.quick}")
    say("checked: " + check_network(new_network(args), args.size))
    say(COLUMNS.format("work", "batch", "configuration", "median", "ratio", "20 to 80 %", "").rstrip())
    plan = [(work, batch) for batch in args.batch for work in args.work]
    weights = [SETUP + (1 if work == "forward" else 3) * batch for work, batch in plan]
    budget = Budget(begun, args.minutes * (1 if args.quick else 1 - RESERVED), weights)
    table, found = results.Table(args.csv), list[dict]()
    try:
        for work, batch in plan:
            found.append(measure(work, batch, args, budget.next(), say, table))
            if args.json not in (None, "-"):
                results.write_file(args.json, json_of(found))
    finally:  # also of a run that was interrupted
        if args.json == "-":
            print(json_of(found))
    if not args.quick:
        memory(found, args, begun + 60 * args.minutes, say, table)
    return 0


def json_of(found: list[dict]) -> str:
    return json.dumps([one["json"] for one in found], indent=1) + "\n"


def parse(argv: list[str]) -> argparse.Namespace:
    p = options.parser("network", __doc__)
    p.add_argument("--work", nargs="+", choices=("forward", "step"), default=["forward", "step"])
    p.add_argument("--batch", type=options.positive(int), nargs="+", help="default 1 8 32, and 128 on a GPU")
    p.add_argument("--quick", action="store_true", help="batch 8, eager configurations only, no memory: under a minute")
    p.add_argument("--minutes", type=options.positive(float), help=f"for everything (default {MINUTES:g})")
    p.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON into a file, or instead of the table")
    args = p.parse_args(argv)
    gpu = (args.backend or [""])[0] == "gpu" or options.runs("gpu")
    args.batch = args.batch or ([8] if args.quick else [1, 8, 32, 128] if gpu else [1, 8, 32])
    args.minutes = args.minutes or (QUICK_MINUTES if args.quick else MINUTES)
    return args


def new_network(args: argparse.Namespace) -> Network:
    xp = array_module_of(args.backend)
    return Network(args.width, global_size=args.size, backend=args.backend, dtype=args.dtype, xp=xp)


def measure(work: str, batch: int, args: argparse.Namespace, end: float, say: Any, table: results.Table) -> dict:
    """One kind of work at one batch size, until `end`; prints its lines and adds the CSV's rows.

    Keys: json, best, work, batch."""
    net, data = new_network(args), inputs(batch, args.size, args.size)
    clock = Events(flushed=False) if args.backend == "gpu" else Wall(flushed=False)
    ours, side = our_work(work, net, data), TorchSide(on_host(net), data, torch_device(args.backend))
    for _ in range(2):
        clock.time(ours)  # compiles our kernels, allocates
    now = time.perf_counter()
    only = "float32" if args.dtype == "float32" else ""
    keep = lambda tried: table.write(single_runs(work, batch, args, tried.seconds))  # noqa: E731
    tried = trials(work, side, clock, args.quick, now + TRIALS * (end - now), keep, only)
    times = tried.seconds
    best = [c for c in sorted(times, key=times.__getitem__)[:FINALISTS] if times[c] < NEAR * min(times.values())]
    for _ in range(2):  # once more where, in turns, they lose to another one's first runs
        functions = {"ours": ours} | {config.name: tried.functions[config] for config in best}
        final = race(functions, end - time.perf_counter(), ROUNDS, clock, warm=False)
        times |= {config: final.times[config.name].median for config in best}
        if fastest(times) in best:
            break
        best = [fastest(times), fastest({config: times[config] for config in best})]
    return report(work, batch, args, final, functions, {c.name: t for c, t in times.items()},
                  {c.name: note for c, note in tried.notes.items()}, best, say, table)


def columns(work: str, batch: int, args: argparse.Namespace, quantity: str = "seconds") -> results.Row:
    """What all rows of that work have in common."""
    return {"command": "network", "backend": args.backend, "dtype": args.dtype, "work": work, "batch": batch,
            "size": args.size, "width": args.width, "quantity": quantity}


def single_runs(work: str, batch: int, args: argparse.Namespace, seconds: dict[Config, float]) -> list[results.Row]:
    """Rows of configurations that have been tried: what there is of a run that is stopped before it ranks them."""
    return [columns(work, batch, args) | {"config": c.name, "p50": t, "note": "first runs, then stopped"}
            for c, t in seconds.items()]


def report(
    work: str, batch: int, args: argparse.Namespace, final: Race, functions: dict[str, Any], times: dict[str, float],
    notes: dict[str, str], best: list[Config], say: Any, table: results.Table,
) -> dict:
    """Prints what was found and adds the CSV's rows; JSON object and the fastest configuration."""
    ours = Spread.of(final.times["ours"].seconds)
    finalists = {name: final.times[name] for name in final.times if name != "ours"}
    winner = min(finalists, key=lambda name: finalists[name].median)
    ratio = final.ratio(winner, "ours")
    say(COLUMNS.format(work, batch, "ours", results.seconds(ours.median), "", "", ours.mark(final.others)).rstrip())
    common = columns(work, batch, args)
    quick = "quick: eager configurations only" if args.quick else ""
    rows = [common | spread_columns(final.times["ours"]) | {"config": "ours", "note": quick,
            "ratio": ratio.median, "ratio_p20": ratio.low, "ratio_p80": ratio.high, "mark": ratio.mark(final.others)}]
    medians = times | {name: t.median for name, t in finalists.items()}
    for name in sorted(medians, key=medians.__getitem__) + [name for name in notes if name not in medians]:
        row = common | {"config": name, "note": notes[name]}
        if name in finalists:
            spread = final.ratio(name, "ours")
            line = (f"{spread.median:.2f}", f"{spread.low:.2f} to {spread.high:.2f}", spread.mark(final.others))
            row |= spread_columns(finalists[name]) | {"mark": line[2], "note": quick}
        elif name in medians:
            line = (f"{medians[name] / ours.median:.2f}", "not in turns", "")
            row |= {"p50": medians[name]}
        else:
            line = ("", "", notes[name])
        shown = results.seconds(medians[name]) if name in medians else "-"
        say(COLUMNS.format("", "", name, shown, *line).rstrip())
        rows.append(row)
    table.add(rows + parts(work, batch, args, functions, common, winner, say))
    found = machine() | {"quick": True} if args.quick else machine()
    return {"work": work, "batch": batch, "best": next(c for c in best if c.name == winner), "json": {
        "machine": found, "work": work, "batch": batch, "ours_s": ours.median, "torch_s": medians,
        "ratio_best": ratio.median, "spread": [ratio.low, ratio.high]}}


def spread_columns(times: Times) -> results.Row:
    t, low, high = Spread.of(times.seconds)
    return {"p50": t, "p20": low, "p80": high, "rounds": len(times.seconds)}


def parts(
    work: str, batch: int, args: argparse.Namespace, functions: dict[str, Any], common: results.Row, winner: str,
    say: Any,
) -> list[results.Row]:
    """Prints where the time of a step goes, on both sides, and what making its input takes; the CSV's rows."""
    if work != "step" or args.backend == "gpu":  # there a step is one graph, on either side
        return []
    found = {f"ours, {k}": v for k, v in OurStep.medians(functions["ours"].parts).items()}
    found["ours, data"] = data_seconds(batch, args.size, args.backend)
    found |= {f"{winner}, {k}": v for k, v in OurStep.medians(functions[winner].parts).items()}
    for side in ("ours", winner):
        line = ", ".join(f"{k.rpartition(', ')[2]} {results.seconds(v)}" for k, v in found.items()
                         if k.rpartition(", ")[0] == side)
        say(COLUMNS.format("", "", f"  parts of {side}:", "", "", "", "").rstrip() + " " + line)
    return [common | {"work": f"step: {k.rpartition(', ')[2]}", "config": k.rpartition(", ")[0], "p50": v}
            for k, v in found.items()]


def memory(found: list[dict], args: argparse.Namespace, end: float, say: Any, table: results.Table) -> None:
    """Prints peak memory of ours and of PyTorch's fastest configuration and adds the CSV's rows."""
    say("peak memory beyond the loaded libraries, each side in a process of its own:")
    for one in found:
        common = columns(one["work"], one["batch"], args, "bytes")
        task = {"work": one["work"], "batch": one["batch"], "size": [args.size] * 2, "global_size": args.size,
                "width": args.width, "backend": args.backend, "dtype": args.dtype}
        shown = []
        for name, side in (("ours", "ours"), (one["best"].name, list(one["best"]))):
            row = common | {"config": name}
            try:
                if time.perf_counter() > end:
                    raise BenchError("no time left (--minutes)")
                row["p50"] = peak(max(30.0, end - time.perf_counter()), side=side, **task)["bytes"]
                shown.append(results.size(row["p50"]))
            except BenchError as error:
                row["note"] = f"not measured: {error}"
                shown.append("not measured")
            table.add([row])
        say(f"{one['work']:<8} {one['batch']:>5}  ours {shown[0]}, {one['best'].name} {shown[1]}")
