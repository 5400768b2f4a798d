"""Measures this machine: network, kernels, scaling and diff one after the other, into a folder of bench/results/ of
that machine's name; then tables, plots and the README's part (`report --readme`).

On two cores of a Zen 5 16 minutes with --minutes 11 (network 10, kernels 2, scaling 3, diff 1), during which nothing
else should run (diff alone takes no times). PyTorch keeps what it compiles: a second run of network has time for more
of its configurations. Every part is a process of its own and writes its rows as it gets them. One that fails or finds
something wrong is said so at the end, the others go on.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench.measure.machine import short_name
from bench.report import ROOT

PARTS = ("network", "kernels", "scaling", "diff")
QUICK = {  # a rehearsal: everything is run once, and small
    "diff": ["--width", "0.1", "--size", "64"], "kernels": ["--seconds", "0.02", "--width", "0.1", "--size", "64"],
    "network": ["--quick", "--minutes", "0.3", "--width", "0.1", "--size", "64"],
    "scaling": ["--width", "0.1", "--size", "64", "--sides", "64", "96", "128", "--batches", "1", "2", "4",
                "--widths", "0.1", "0.15", "0.2"],
}


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench all", description=__doc__)
    p.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="the others stay as they are")
    p.add_argument("--folder", type=Path, help="default: bench/results/MACHINE, with --quick runs/bench-quick")
    p.add_argument("--minutes", default="7.3", help="for network (default 7.3)")
    p.add_argument("--quick", action="store_true", help="a rehearsal with small networks; README.md stays as it is")
    args = p.parse_args(argv)
    folder = args.folder or ROOT / ("runs/bench-quick" if args.quick else f"bench/results/{short_name()}")
    failed = []
    for part in args.only:
        extra = QUICK[part] if args.quick else ["--minutes", args.minutes] if part == "network" else []
        if not run(part, "--csv", folder / f"{part}.csv", *extra):
            failed.append(part)
    if not run("report", *([folder] if args.quick or args.folder else ["--readme"])):
        failed.append("report")
    if failed:
        print(f"bench all: failed, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(*command: object) -> bool:
    """Whether `python -m bench COMMAND` went well; says how long it took."""
    begun = time.perf_counter()
    words = list(map(str, command))
    print(f"\n$ python -m bench {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "bench", *words], cwd=ROOT)
    print(f"({(time.perf_counter() - begun) / 60:.1f} minutes)", flush=True)
    return done.returncode == 0
