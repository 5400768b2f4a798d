"""Gradient checkers held against each other: ours, PyTorch's (slow and fast), JAX's, SciPy's and Chainer's method.

Each runs over the pairs of bench/gradients/, right and wrong, with its own defaults. Counted is what it finds, whom it
accuses wrongly, calls of forward and seconds. What a checker has no way to express is "cannot". Those that are not
installed are left out.
"""

import argparse

from bench import BenchError, options, results
from bench.gradients.measure import measured
from bench.gradients.table import tables
from bench.gradients.tools import TOOLS, missing
from bench.measure.machine import core_count, machine


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench gradcheck", description=__doc__)
    p.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    p.add_argument("--only", default="", metavar="TEXT", help="pairs whose name has this in it")
    p.add_argument("--largest", type=options.positive(int), default=10**7, help="elements (default 10 million)")
    p.add_argument("--seconds", type=options.positive(float), default=60.0, help="for a pair and checker (default 60)")
    p.add_argument("--csv", type=options.Path, metavar="FILE", help="also write the rows into this file")
    args = p.parse_args(argv)
    absent = missing()
    print(f"{machine()['cpu']}, {core_count()} cores; at most {args.seconds:g} s for a pair and checker")
    table = results.Table(args.csv)
    for tool in args.tools:
        if tool in absent:
            print(f"{tool}: left out, is not installed; {absent[tool]}")
            continue
        for row in measured(tool, args.largest, args.seconds, args.only):
            table.rows.append(row)
        table.write()
        print(f"{tool}: {sum(row['config'] == tool for row in table.rows)} pairs", flush=True)
    if not table.rows:
        raise BenchError(f"no pair has {args.only!r} in its name" if args.only else "no checker is installed")
    print("\n" + "\n".join(tables(table.rows)))
    return 0
