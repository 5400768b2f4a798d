"""Two result files: what got faster or slower beyond the noise of both.

A row counts as faster where the 80th percentile of B lies below the 20th of A, as slower the other way round; rows
without percentiles (not in turns, memory) where they differ by more than --margin. Nothing is said of times during
which others used the machine (marked busy).
"""

import argparse
from pathlib import Path

from bench import BenchError, options, results
from bench.results import KEY, Row

SHOWN = ("backend", "dtype", "op", "layer", "work", "batch", "config")
HARDWARE = ("cpu", "cores", "gpu")


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench compare", description=__doc__)
    p.add_argument("before", type=Path, metavar="A.csv")
    p.add_argument("after", type=Path, metavar="B.csv")
    p.add_argument("--margin", type=options.positive(float), default=0.15, help="share, default 0.15")
    p.add_argument("--all", action="store_true", help="also what stayed within the noise")
    args = p.parse_args(argv)
    before, after = ({key(row): row for row in results.read(path)} for path in (args.before, args.after))
    common = [k for k in before if k in after and before[k]["p50"] and after[k]["p50"]]
    if not common:
        raise BenchError(f"{args.before} and {args.after} have no row in common")
    warn(before[common[0]], after[common[0]])
    verdicts = {k: verdict(before[k], after[k], args.margin) for k in common}
    for wanted in ("slower", "faster", *(("same", "unsure") if args.all else ())):
        of_kind = [k for k in common if verdicts[k] == wanted]
        for k in sorted(of_kind, key=lambda k: before[k]["p50"] / after[k]["p50"]):
            print(f"{wanted:<7} {line(before[k], after[k])}")
    counts = {name: list(verdicts.values()).count(name) for name in ("faster", "slower", "same", "unsure")}
    both = len(before.keys() & after)
    print(f"{counts['faster']} faster, {counts['slower']} slower, {counts['same']} within the noise, "
          f"{counts['unsure']} measured on a busy machine; only in A: {len(before) - both}, in B: {len(after) - both}")
    return 0


def key(row: Row) -> tuple:
    return tuple(row[name] for name in KEY)


def verdict(a: Row, b: Row, margin: float) -> str:
    """ "faster", "slower", "same" or "unsure": B against A (less time or memory is faster)."""
    if any((row.get("mark") or "").startswith("busy") for row in (a, b)):
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


def warn(a: Row, b: Row) -> None:
    """Says where the machines or what ran on them differ."""
    for name in (*HARDWARE, "versions"):
        if a.get(name) != b.get(name):
            print(f"note: A and B differ in {name}: {a.get(name) or 'none'} | {b.get(name) or 'none'}")
