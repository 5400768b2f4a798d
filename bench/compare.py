"""Two result files: what got faster or slower beyond the noise of both.

A row counts as faster where the 80th percentile of B lies below the 20th of A, as slower the other way round; rows
without percentiles (not in turns, memory) where they differ by more than --margin. Nothing is said of rows that are
marked noisy or busy. With --gate the exit status is 1 where something got slower, and 2 where A and B are of different
machines, of which nothing can be said.
"""

import argparse
import re
from pathlib import Path

from bench import BenchError, options, results
from bench.results import KEY, Row

SHOWN = ("backend", "dtype", "op", "layer", "work", "batch", "config")
HARDWARE = ("cpu", "cores", "threads", "gpu")
CLOCK = re.compile(r" @ [\d.]+ ?[GM]Hz| \(SM .*MHz\)")  # of CPUs and GPUs: it changes, or is only a name


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__)
    p.add_argument("before", type=Path, metavar="A.csv")
    p.add_argument("after", type=Path, metavar="B.csv")
    p.add_argument("--margin", type=options.positive(float), default=0.15, help="share, default 0.15")
    p.add_argument("--all", action="store_true", help="also what stayed within the noise")
    p.add_argument("--gate", action="store_true", help="exit status 1 where something got slower beyond the noise")
    args = p.parse_args(argv)
    before, after = ({key(row): row for row in results.read(path)} for path in (args.before, args.after))
    common = [k for k in before if k in after and before[k]["p50"] and after[k]["p50"]]
    if not common:
        raise BenchError(f"{args.before} and {args.after} have no row in common")
    first, last = before[common[0]], after[common[0]]
    for name, path, row in (("A", args.before, first), ("B", args.after, last)):
        print(f"{name}: {path}: {said(row)}")
    alike = warn(first, last)
    if args.gate and not alike:
        raise BenchError("A and B are of different machines: nothing can be said of what got slower")
    verdicts = {k: verdict(before[k], after[k], args.margin) for k in common}
    for wanted in ("slower", "faster", *(("same", "unsure") if args.all else ())):
        of_kind = [k for k in common if verdicts[k] == wanted]
        for k in sorted(of_kind, key=lambda k: before[k]["p50"] / after[k]["p50"]):
            print(f"{wanted:<7} {line(before[k], after[k])}")
    counts = {name: list(verdicts.values()).count(name) for name in ("faster", "slower", "same", "unsure")}
    both = len(before.keys() & after)
    print(f"{counts['faster']} faster, {counts['slower']} slower, {counts['same']} within the noise, "
          f"{counts['unsure']} noisy or measured on a busy machine; "
          f"only in A: {len(before) - both}, in B: {len(after) - both}")
    return 1 if args.gate and counts["slower"] else 0


def said(row: Row) -> str:
    """Machine, threads, date and commit that the file's rows name."""
    where = row.get("gpu") or f"{row.get('cpu')}, {row.get('cores')} cores"
    return f"{where}; {row.get('date') or 'no date'}, commit {row.get('commit') or 'unknown'}"


def hardware(row: Row, name: str) -> str:
    """What a column says of the machine itself: no clocks, no levels of instructions, whose names are ours, and of a
    CPU that gives family and model those."""
    text = CLOCK.sub("", row.get(name) or "")
    if name != "cpu":
        return text
    known = re.search(r"family \w+ model \w+", text)
    return f"{text.partition(' (')[0].partition(',')[0]}, {known[0]}" if known else text.partition(" (")[0]


def key(row: Row) -> tuple:
    return tuple(row[name] for name in KEY)


def verdict(a: Row, b: Row, margin: float) -> str:
    """ "faster", "slower", "same" or "unsure": B against A (less time or memory is faster)."""
    if any((row.get("mark") or "").startswith(("busy", "noisy")) for row in (a, b)):
        return "unsure"
    if all(row.get("p20") and row.get("p80") for row in (a, b)):
        lower, higher = b["p80"] < a["p20"], b["p20"] > a["p80"]
    else:
        lower, higher = b["p50"] < a["p50"] / (1 + margin), b["p50"] > a["p50"] * (1 + margin)
    return "faster" if lower else "slower" if higher else "same"


def line(a: Row, b: Row) -> str:
    show = {"seconds": results.seconds, "bytes": results.size}.get(a["quantity"], "{:.3g}".format)
    marks = ", ".join(f"{name} was {row['mark']}" for name, row in (("A", a), ("B", b)) if row.get("mark"))
    what = " ".join(str(a[name]) for name in SHOWN if a.get(name))
    times = f"{show(a['p50'])} -> {show(b['p50'])}, {a['p50'] / b['p50']:.2f} times"
    return f"{what}: {times}" + (f" ({marks})" if marks else "")


def warn(a: Row, b: Row) -> bool:
    """Says where the machines or what ran on them differ; whether the machines are alike."""
    alike = True
    for name in HARDWARE:
        both = [row.get(name) for row in (a, b)]
        if name == "threads" and not all(both):  # files of before they were noted
            continue
        if hardware(a, name) != hardware(b, name):
            alike = False
            print(f"note: A and B differ in {name}: {a.get(name) or 'none'} | {b.get(name) or 'none'}")
    if a.get("versions") != b.get("versions"):
        print(f"note: A and B differ in versions: {a.get('versions') or 'none'} | {b.get('versions') or 'none'}")
    return alike
