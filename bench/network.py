"""Forward pass and training step of the whole network, ours against every configuration of PyTorch, in one run.

Every configuration, of any arithmetic and layout, eager or compiled, runs once, those that promise most first; what
takes more than twice as long as the best so far is dropped, and said. The fastest then run in turns with ours, round by
round, and the ratio is that of those rounds: against the fastest of all, or "of those tried" where the time (--minutes)
did not suffice for all, or an arithmetic was so slow in one form that its others were left out. Peak memory is measured
in processes of their own, in time kept for it.
"""

import argparse
import json
import sys
import time
from typing import Any

from bench import BenchError, options, results
from bench.measure.machine import machine, where
from bench.measure.memory import peak
from bench.measure.timing import Events, Race, Spread, Times, Wall, race
from bench.measure.trials import IN_TURNS, Tried, fastest, trials
from bench.measure.work import OurStep, check_network, data_seconds, inputs, on_host, our_work, torch_device
from bench.torch.configs import Config, TorchSide
from bench.torch.ops import configure
from ltbc.nn import Network
from ltbc.nn.backends import array_module_of

QUICK_MINUTES, MINUTES = 0.85, 7.3
ROUNDS = (3, 15)
FINALISTS, NEAR = 3, 1.2  # at most so many, whose first runs took at most so many times the fastest one's
RESERVED, MEMORY = 0.25, 40.0  # share of the time of one kind of work kept for its peak memory; seconds at most
LEAST_MEMORY = 3.0  # seconds without which a process for it is not started
OF_THOSE = "of those tried"
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
    args = parse(argv)
    (backend, dtype), *more = options.chosen(args)
    if more:
        raise BenchError("one backend and one dtype a run")
    args.backend, args.dtype = backend, dtype
    configure(backend)
    out = sys.stderr if args.json == "-" else sys.stdout  # the table; JSON on the terminal stays alone
    say = lambda *text: print(*text, file=out, flush=True)  # noqa: E731
    say(f"{where()}; ours: {backend} {dtype}; width {args.width:g}, "
        f"{args.size}x{args.size}, 205 classes{'; quick: eager configurations only' * args.quick}")
    say("checked: " + check_network(new_network(args), args.size))
    say(COLUMNS.format("work", "batch", "configuration", "median", "ratio", "20 to 80 %", "").rstrip())
    plan = [(work, batch) for batch in args.batch for work in args.work]
    weights = [SETUP + (1 if work == "forward" else 3) * batch for work, batch in plan]
    budget = Budget(time.perf_counter(), args.minutes, weights)  # our kernels have been compiled
    table, found = results.Table(args.csv), list[dict]()
    try:
        for work, batch in plan:
            found.append(measure(work, batch, args, budget.next(), say, table))
            if args.json not in (None, "-"):
                results.write_file(args.json, json_of(found))
    finally:  # also of a run that was interrupted
        if args.json == "-":
            print(json_of(found))
    return 0


def json_of(found: list[dict]) -> str:
    return json.dumps(found, indent=1) + "\n"


def parse(argv: list[str]) -> argparse.Namespace:
    p = options.parser("network", __doc__)
    p.add_argument("--work", nargs="+", choices=("forward", "step"), default=["forward", "step"])
    p.add_argument("--batch", type=options.positive(int), nargs="+", help="default 1 8 32, and 128 on a GPU")
    p.add_argument("--quick", action="store_true", help="batch 8, eager configurations only, no memory: under a minute")
    p.add_argument("--minutes", type=options.positive(float),
                   help=f"for all after the check, which compiles our kernels once (default {MINUTES:g})")
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
    """One kind of work at one batch size, until `end`; prints its lines and adds the CSV's rows; the JSON object."""
    net, data = new_network(args), inputs(batch, args.size, args.size)
    clock = Events(flushed=False) if args.backend == "gpu" else Wall(flushed=False)
    ours, side = our_work(work, net, data), TorchSide(on_host(net), data, torch_device(args.backend))
    clock.time(ours)  # compiles our kernels, allocates
    alone = clock.time(ours)
    now = time.perf_counter()
    timed = end if args.quick else end - min(MEMORY, RESERVED * (end - now))
    say(COLUMNS.format(work, batch, "ours", results.seconds(alone), "", "", "first run").rstrip())

    def keep(tried: Tried, config: Config) -> None:
        table.write(single_runs(work, batch, args, tried.seconds))
        t = tried.seconds.get(config)
        note = "" if tried.notes[config] == IN_TURNS else tried.notes[config]
        shown = (results.seconds(t), f"{t / alone:.2f}", "first runs") if t else ("-", "", "")
        say(COLUMNS.format("", "", config.name, *shown, note).rstrip())

    tried = trials(work, side, clock, args.quick, now + TRIALS * (timed - now), keep)
    times = tried.seconds
    left = timed - time.perf_counter()
    best = finalists(tried, alone, left)
    for again in range(2):  # once more where, in turns, they lose to another one's first runs
        functions = {"ours": ours} | {config.name: tried.functions[config] for config in best}
        one_round = alone + sum(times[config] for config in best)
        left = timed - time.perf_counter()
        if again and left < ROUNDS[0] * one_round:
            break
        least = max(1, min(ROUNDS[0], int(left / one_round)))
        final = race(functions, left - one_round, (least, ROUNDS[1]), clock, warm=False)
        times |= {config: final.times[config.name].median for config in best}
        if not best or (first := fastest(times)) in best or first not in tried.functions:
            break
        best = [first, fastest({config: times[config] for config in best})]
    found, winner = report(work, batch, args, final, functions, tried, say, table)
    if not args.quick:
        memory(work, batch, winner, args, end, say, table)
    return found


def finalists(tried: Tried, ours: float, left: float) -> list[Config]:
    """Those to be measured in turns: the fastest, as many as some rounds with ours leave time for, one at least."""
    times = {config: tried.seconds[config] for config in tried.functions}
    best = [c for c in sorted(times, key=times.__getitem__)[:FINALISTS] if times[c] < NEAR * min(times.values())]
    while len(best) > 1 and ROUNDS[0] * (ours + sum(times[config] for config in best)) > left:
        best.pop()
    return best


def columns(work: str, batch: int, args: argparse.Namespace, quantity: str = "seconds") -> results.Row:
    """What all rows of that work have in common."""
    return {"command": "network", "backend": args.backend, "dtype": args.dtype, "work": work, "batch": batch,
            "size": args.size, "width": args.width, "quantity": quantity}


def single_runs(work: str, batch: int, args: argparse.Namespace, seconds: dict[Config, float]) -> list[results.Row]:
    """Rows of configurations that have been tried: what there is of a run that is stopped before it ranks them."""
    return [columns(work, batch, args) | {"config": c.name, "p50": t, "note": "first runs, then stopped"}
            for c, t in seconds.items()]


def report(
    work: str, batch: int, args: argparse.Namespace, final: Race, functions: dict[str, Any], tried: Tried, say: Any,
    table: results.Table,
) -> tuple[dict, Config | None]:
    """Prints what the turns gave and adds the CSV's rows, also of what was dropped; the JSON object and the winner."""
    ours, common = Spread.of(final.times["ours"].seconds), columns(work, batch, args)
    names = {config.name: config for config in tried.notes}
    finals = {name: final.times[name] for name in final.times if name != "ours"}
    winner = min(finals, key=lambda name: finals[name].median, default="")
    notes = ["quick: eager configurations only"] * args.quick + [OF_THOSE] * bool(tried.left_out or args.quick)
    row = common | spread_columns(final.times["ours"]) | {"config": "ours", "note": "; ".join(notes) or "of all"}
    ratio = final.ratio(winner, "ours") if winner else None
    mark = (ratio or ours).mark(final.others)
    if ratio:
        row |= {"ratio": ratio.median, "ratio_p20": ratio.low, "ratio_p80": ratio.high}
    rows = [row | {"mark": mark}]
    say(COLUMNS.format(work, batch, "ours, in turns with", results.seconds(ours.median), "", "",
                       ours.mark(final.others)).rstrip())
    for name in sorted(finals, key=lambda name: finals[name].median):
        spread = final.ratio(name, "ours")
        said = [spread.mark(final.others), *["the fastest " + (OF_THOSE if notes else "of all")] * (name == winner)]
        say(COLUMNS.format("", "", name, results.seconds(finals[name].median), f"{spread.median:.2f}",
                           f"{spread.low:.2f} to {spread.high:.2f}", ", ".join(filter(None, said))).rstrip())
        rows.append(common | {"config": name, "note": tried.notes[names[name]], "mark": said[0]}
                    | spread_columns(finals[name]))
    if not winner:
        say("no configuration of PyTorch was done in the time that there was (--minutes)")
    rows += [common | {"config": config.name, "p50": tried.seconds.get(config), "note": note}
             for config, note in tried.notes.items() if config.name not in finals]
    table.add(rows + parts(work, batch, args, functions, common, winner, say))
    found = machine() | {"quick": True} if args.quick else machine()
    torch_s = {config.name: t for config, t in tried.seconds.items()}
    return {"machine": found, "work": work, "batch": batch, "ours_s": ours.median, "torch_s": torch_s,
            "ratio_best": ratio and ratio.median, "spread": ratio and [ratio.low, ratio.high], "best": winner,
            "of": OF_THOSE if notes else "of all"}, names.get(winner)


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
    if winner:
        found |= {f"{winner}, {k}": v for k, v in OurStep.medians(functions[winner].parts).items()}
    for side in ("ours", *[winner] * bool(winner)):
        line = ", ".join(f"{k.rpartition(', ')[2]} {results.seconds(v)}" for k, v in found.items()
                         if k.rpartition(", ")[0] == side)
        say(COLUMNS.format("", "", f"  parts of {side}:", "", "", "", "").rstrip() + " " + line)
    return [common | {"work": f"step: {k.rpartition(', ')[2]}", "config": k.rpartition(", ")[0], "p50": v}
            for k, v in found.items()]


def memory(
    work: str, batch: int, best: Config | None, args: argparse.Namespace, end: float, say: Any, table: results.Table
) -> None:
    """Prints peak memory of ours and of PyTorch's fastest configuration and adds the CSV's rows."""
    task = {"work": work, "batch": batch, "size": [args.size] * 2, "global_size": args.size,
            "width": args.width, "backend": args.backend, "dtype": args.dtype}
    shown = []
    for name, side in (("ours", "ours"), *([(best.name, list(best))] if best else [])):
        row = columns(work, batch, args, "bytes") | {"config": name}
        try:
            if (left := end - time.perf_counter()) < LEAST_MEMORY:
                raise BenchError("no time left (--minutes)")
            row["p50"] = peak(left, side=side, **task)["bytes"]
            shown.append(f"{name} {results.size(row['p50'])}")
        except BenchError as error:
            row["note"] = f"not measured: {error}"
            shown.append(f"{name} {row['note']}")
        table.add([row])
    say(COLUMNS.format("", "", "  peak memory beyond the libraries:", "", "", "", "").rstrip() + " " + ", ".join(shown))
