"""All committed results of a machine over the commits that they were measured at, as a plot.

Reads every version of the network's files in its folder from git, and the files as they are now. A line is one kind of
work at one batch size and dtype; figures marked noisy or busy are hollow.
"""

import argparse
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench import BenchError, results
from bench.report import RESULTS, ROOT
from bench.results import Row


class Run(NamedTuple):
    """Results of one measurement: its date and commit, and ours of the network."""

    date: str
    commit: str
    rows: tuple[Row, ...]


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench history", description=__doc__)
    p.add_argument("machines", nargs="*", metavar="MACHINE", help="folders of bench/results, default all")
    p.add_argument("--out", type=Path, default=ROOT / "runs/history", help="folder for the PNGs (default runs/history)")
    args = p.parse_args(argv)
    from bench.plots_history import history

    for name in args.machines or sorted(folder.name for folder in RESULTS.iterdir() if folder.is_dir()):
        found = runs(RESULTS / name)
        if not found:
            raise BenchError(f"{name}: no results of `bench network` there, now or in git")
        path = args.out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        history(found, path)
        first, last = (f"{run.date} {run.commit}" for run in (found[0], found[-1]))
        print(f"{path}: {len(found)} measurements, {first} to {last}")
    return 0


def runs(folder: Path) -> list[Run]:
    """Every measurement of the network in a folder of results, the oldest first."""
    found: dict[tuple[str, str], dict[tuple, Row]] = {}
    for text, name in versions(folder):
        try:
            rows = results.parse(text, name)
        except BenchError:  # of another form, from before this one
            continue
        for row in rows:
            if row["command"] == "network" and row["config"] == "ours" and row["quantity"] == "seconds" and row["p50"]:
                if not row["work"].startswith("step:"):
                    run = found.setdefault((row["date"], row["commit"]), {})
                    run[tuple(row[key] for key in results.KEY)] = row
    return [Run(date, commit, tuple(run.values())) for (date, commit), run in found.items()]


def versions(folder: Path) -> list[tuple[str, str]]:
    """(text, name) of the folder's files of the network, as they were committed, the oldest first, and as they are."""
    place = folder.resolve().relative_to(ROOT.resolve()).as_posix() if folder.is_relative_to(ROOT) else ""
    found = []
    log = git("log", "--reverse", "--format=%x00%h", "--name-only", "--", f"{place}/network*.csv") if place else ""
    for entry in filter(None, log.split("\0")):
        commit, *files = entry.split()
        found += [(git("show", f"{commit}:{file}"), f"{commit}:{file}") for file in files]
    now = [(file.read_text(), str(file)) for file in sorted(folder.glob("network*.csv"))]
    return [one for one in found if one[0]] + now


def git(*command: str) -> str:
    """What git says; nothing where it cannot, as for a file that a commit took away, or without a repository."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout if not done.returncode else ""
