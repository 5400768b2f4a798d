"""Two git revisions measured in turns, on one machine in one run: is B faster than A?

Each is a worktree with a process and a folder of compiled code of its own; this checkout's benchmark runs their kernels
round by round on the same fresh values, and checks the results of both. "." is this checkout as it is. The verdict is
that of Wilcoxon's signed-rank test over the rounds, two-sided, at 1 % for all cases together (Holm), where the medians
also differ by more than --margin; so a revision against itself says "same". With --gate the exit status is 1 where B is
slower.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import BenchError, options, results
from bench.measure.cases import Case, cases
from bench.measure.guest import ROOT, Guest, Turn
from bench.measure.machine import where
from bench.measure.timing import Race, Spread, Wall, race

LEVEL = 0.01  # of the test, for all cases together
ROUNDS = (12, 200)
COLUMNS = "{:<18} {:<12} {:<9} {:>9} {:>9} {:>7} {:>13} {:>6} {:>8}  {}"
HEADER = ("operation", "layer", "work", "A", "B", "A / B", "20 to 80 %", "rounds", "p", "B is")


class Found(NamedTuple):
    """Of a case: the rounds of A and B, and the test's probability of such ranks if they were alike."""

    case: Case
    race: Race
    p: float


def main(argv: list[str]) -> int:
    p = options.parser("revisions", __doc__)
    p.add_argument("a", metavar="A", help="a revision, such as HEAD~3, or . for this checkout")
    p.add_argument("b", metavar="B")
    p.add_argument("--op", help="one operation, such as conv3x3")
    p.add_argument("--layer", help="one layer (low.3) or part (low)")
    p.add_argument("--work", choices=("forward", "backward"), help="one of the two")
    p.add_argument("--batch", type=options.positive(int), default=8)
    p.add_argument("--seconds", type=options.positive(float), default=3.0, help="for each case (default 3)")
    p.add_argument("--margin", type=options.positive(float), default=0.01, help="share, default 0.01")
    p.add_argument("--gate", action="store_true", help="exit status 1 where B is slower than A")
    args = p.parse_args(argv)
    ((backend, dtype), *more) = options.chosen(args)
    if more:
        raise BenchError("one backend and one dtype a run")
    chosen = [case for case in cases(options.settings(args), args.size, args.batch) if selected(case, args)]
    if not chosen:
        raise BenchError("no case has that operation, layer and work; `ltbc layers` lists the layers")
    with ExitStack() as stack:
        sides = {name: stack.enter_context(revision(text)) for name, text in (("A", args.a), ("B", args.b))}
        print(f"{where()}; {backend} {dtype}, batch {args.batch}")
        for name, (label, _) in sides.items():
            print(f"{name}: {label}")
        print(COLUMNS.format(*HEADER), flush=True)
        guests, found = {name: guest for name, (_, guest) in sides.items()}, list[Found]()
        for case in chosen:
            found.append(measure(case, guests, backend, dtype, args.seconds))
            print(line(found[-1], ""), flush=True)
    verdicts = judged(found, args.margin)
    print(f"\nby rank tests at {LEVEL:.0%} for all {len(found)} cases together, and more than {args.margin:.1%} apart:")
    for one, verdict in zip(found, verdicts):
        if verdict != "same":
            print(line(one, verdict))
    print(", ".join(f"{verdicts.count(name)} {name}" for name in ("faster", "slower", "same")))
    table = results.Table(args.csv)
    table.add(row for one, verdict in zip(found, verdicts) for row in rows(one, verdict, sides, backend, dtype, args))
    return 1 if args.gate and "slower" in verdicts else 0


def selected(case: Case, args: argparse.Namespace) -> bool:
    layer = args.layer in (None, case.layer, case.layer.split(".")[0])
    return layer and args.op in (None, case.op) and args.work in (None, case.work)


@contextmanager
def revision(text: str) -> Iterator[tuple[str, Guest]]:
    """Within the context: a process that runs the kernels of that revision, and what it is called."""
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-revision-"))
        if text == ".":
            label, root = f"{git('rev-parse', '--short', 'HEAD')} and what was changed since", ROOT
        else:
            commit = git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
            label, root = f"{text}: " + git("log", "-1", "--format=%h %cs %s", commit), Path(cache, "tree")
            git("worktree", "add", "--detach", "--quiet", str(root), commit)
            stack.callback(git, "worktree", "remove", "--force", str(root))
        try:
            guest = Guest(None, root, LTBC_CACHE=str(Path(cache, "compiled")))
        except Exception as error:
            raise BenchError(f"{text}: this benchmark cannot run its kernels: {error}") from error
        stack.callback(guest.stop)
        if not Path(guest.package).is_relative_to(root.resolve()):
            raise BenchError(f"{text}: its kernels are taken from {guest.package}, not from {root}")
        yield label, guest


def git(*command: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"git {' '.join(command)}: {(done.stderr.strip().splitlines() or ['no such revision'])[-1]}")
    return done.stdout.strip()


def measure(case: Case, guests: dict[str, Guest], backend: str, dtype: str, seconds: float) -> Found:
    """Both checked before and after, timed in turns. Raises CheckError where one of them is wrong."""
    clock = Wall()
    turns = {name: Turn(guest, case, backend, dtype, clock) for name, guest in guests.items()}
    for turn in turns.values():
        turn.check()
    found = race(turns, seconds, ROUNDS, clock)
    for turn in turns.values():
        turn.check()
    a, b = (found.times[name].seconds for name in "AB")
    return Found(case, found, rank_test(a, b))


def rank_test(a: np.ndarray, b: np.ndarray) -> float:
    """Probability of ranks that differ so much, round by round, if A and B were alike."""
    from scipy.stats import wilcoxon

    differences = np.log(a / b)
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def judged(found: list[Found], margin: float) -> list[str]:
    """What B is to A in each case: "faster", "slower" or "same". Holm: the smallest p is held against LEVEL / n, the
    next against LEVEL / (n - 1), until one fails."""
    verdicts = ["same"] * len(found)
    for rank, i in enumerate(sorted(range(len(found)), key=lambda i: found[i].p)):
        if found[i].p > LEVEL / (len(found) - rank):
            break
        ratio = found[i].race.ratio("A", "B").median
        if ratio > 1 + margin or ratio < 1 / (1 + margin):
            verdicts[i] = "faster" if ratio > 1 else "slower"
    return verdicts


def line(one: Found, verdict: str) -> str:
    times, ratio = one.race.times, one.race.ratio("A", "B")
    return COLUMNS.format(
        one.case.op, one.case.layer, one.case.work[:9], results.seconds(times["A"].median),
        results.seconds(times["B"].median), f"{ratio.median:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}",
        len(times["A"].seconds), f"{one.p:.1e}", " ".join(filter(None, (verdict, ratio.mark(one.race.others)))),
    ).rstrip()


def rows(
    one: Found, verdict: str, sides: dict[str, tuple[str, Guest]], backend: str, dtype: str, args: argparse.Namespace
) -> Iterator[results.Row]:
    """The CSV's rows; the ratio of B's is A's time / B's."""
    ratio = one.race.ratio("A", "B")
    for name, (label, _) in sides.items():
        t, low, high = Spread.of(one.race.times[name].seconds)
        yield {"command": "revisions", "backend": backend, "dtype": dtype, "op": one.case.op, "layer": one.case.layer,
               "work": one.case.work, "batch": args.batch, "size": args.size, "width": args.width, "config": name,
               "quantity": "seconds", "p50": t, "p20": low, "p80": high, "mark": ratio.mark(one.race.others),
               "rounds": len(one.race.times[name].seconds)} | ({} if name == "A" else {
                   "ratio": ratio.median, "ratio_p20": ratio.low, "ratio_p80": ratio.high}) | {
                       "note": f"{label}" + f"; {verdict}, p {one.p:.1e}" * (name == "B")}
