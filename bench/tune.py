"""Searches tiles for the GPU kernels of one operation on the GPU at hand, and writes its table `tiles.json`.

Every layer shape of the network is a case. From the tile that the table has for it, one parameter at a time is doubled
or halved as long as that helps; the kernel alone is timed, with the caches flushed, and the winner is checked against
the reference before it goes into the table, with machine and date. The table is written after each kernel: a search
that was stopped, or ran out of its minutes, goes on when started again.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import BenchError, CheckError, options, results
from bench.measure.calls import arguments, call, place
from bench.measure.cases import Case, cases
from bench.measure.check import check
from bench.measure.machine import machine
from bench.measure.timing import Events, race
from ltbc.kernels.gpu import launch

Tile = dict[str, int]
SECONDS, ROUNDS = 0.05, (5, 30)  # for each tile
BETTER = 0.98  # of the best time so far: below that a tile counts as faster
LIMITS = {"num_warps": (1, 16), "num_stages": (1, 6)}  # blocks: from 16 to 256
ACCUMULATORS = 128  # float32 a thread, more spill
DOES_NOT_FIT = ("OutOfResources", "CompilationError", "PTXASError", "PassManager::run failed")  # Triton's words for it
BEFORE = ("derivative_kernel", "phase_weights_kernel")  # what an operation starts before the kernels that have tiles


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench tune", description=__doc__)
    p.add_argument("--op", required=True, help="the operation, such as conv3x3")
    p.add_argument("--layer", help="only this layer (low.3) or part (low)")
    p.add_argument("--dtype", choices=options.OF_BACKEND["gpu"], default="bfloat16")
    p.add_argument("--batch", type=options.positive(int), default=32)
    p.add_argument("--width", type=options.positive(float), default=1.0)
    p.add_argument("--size", type=options.positive(int, 8), default=224)
    p.add_argument("--minutes", type=options.positive(float), help="begin no other kernel after that time")
    p.add_argument("--again", action="store_true", help="search also what has been searched on this GPU")
    p.add_argument("--dry-run", action="store_true", help="search and print, write nothing")
    args = p.parse_args(argv)
    if why := options.refusal("gpu"):
        raise BenchError(f"only GPU kernels have tiles to search, and backend gpu cannot run here: {why}")
    path = table_of(args.op)
    if not path.is_file():
        raise BenchError(f"kernels/{args.op}/ has no tiles.json: nothing to search")
    end = time.monotonic() + 60 * args.minutes if args.minutes else math.inf
    done = (lambda rows, sizes: False) if args.again else searched
    for case in cases(options.settings(args), args.size, args.batch):
        if case.op == args.op and args.layer in (None, case.layer, case.layer.split(".")[0]):
            for kernel, row in tuned(case, args.dtype, Events(), done, end):
                if not args.dry_run:
                    table = json.loads(path.read_text())
                    write(path, table | {kernel: merged(table[kernel], [row])})
    if time.monotonic() > end:
        print(f"kernels/{args.op}/tiles.json: not all of it, the {args.minutes:g} minutes are over; start it again")
    return 0


def searched(rows: list[dict], sizes: dict[str, int]) -> bool:
    """Whether the table has a row for exactly these sizes that was measured on this GPU."""
    return any(
        dict(conditions(row)) == sizes and row.get("measured", "").startswith(f"{where()}, ") for row in rows
    )


def where() -> str:
    return machine()["gpu"].partition(" (")[0] or "no GPU"


def tuned(
    case: Case, dtype: str, clock: Any, done: Callable[[list[dict], dict[str, int]], bool] = searched,
    end: float = math.inf,
) -> Iterator[tuple[str, dict]]:
    """(kernel, new row) for each kernel that the case starts and that is not done, as long as `end` is not reached;
    prints a line each. The table itself is left as it is."""
    table = launch.tiles(case.op)
    run = call(case, place(arguments(case, dtype), "gpu"), dtype, "gpu")
    on_disk = json.loads(table_of(case.op).read_text())
    for kernel, (sizes, start, _) in picks(table, run).items():
        if done(on_disk[kernel], sizes) or time.monotonic() > end:
            continue

        def seconds(tile: Tile, kernel: str = kernel) -> float:
            with replaced(table[kernel], tile):
                try:
                    return race({"": alone(table, run, kernel)}, SECONDS, ROUNDS, clock).times[""].median
                except Exception as error:
                    if not any(word in f"{type(error).__name__}: {error}" for word in DOES_NOT_FIT):
                        raise
                    return math.inf

        before = seconds(start)
        tile, after = climb(start, seconds)
        if after == math.inf:
            print(f"{case.name}: {kernel} {sizes}: no tile fits, {start} neither", flush=True)
            continue
        try:
            with replaced(table[kernel], tile):
                check(case, "gpu", dtype, runs=3)  # values of the same buffers differ from run to run
        except CheckError as error:
            print(f"{case.name}: {kernel} {tile} is fast and wrong, left out: {error}")
            continue
        times = f"{results.seconds(before) if before < math.inf else 'none'} -> {results.seconds(after)}"
        print(f"{case.name}: {kernel} {sizes}: {tile}, {times}", flush=True)
        measured = f"{where()}, {machine()['date']}: {case.layer} batch {case.batch}, {times}"
        yield kernel, {**sizes, **tile, "measured": measured}


class Pick(NamedTuple):
    """A choice of a tile: the sizes that decide on it, the tile, and the starts (kernel, grid, arguments, options) of
    what works with it: the kernel, and what adds up the splits that it makes."""

    sizes: dict[str, int]
    tile: Tile
    starts: list[tuple]


def picks(table: dict[str, list[dict]], run: Callable[[], Any]) -> dict[str, Pick]:
    """Every choice made during a run, by the kernel's name in the table."""
    seen: dict[str, Pick] = {}
    pick, to = launch.pick, launch.target()

    def watched(rows: list[dict], **sizes: int) -> Tile:
        tile = pick(rows, **sizes)
        kernel = next(name for name, own in table.items() if own is rows)
        seen.pop(kernel, None)  # the last of them is the one that starts belong to
        seen[kernel] = Pick({"arch": to.capability, **sizes}, dict(tile), [])
        return tile

    def started(kernel: Any, *rest: Any) -> None:
        if seen and kernel.fn.__name__ not in BEFORE:
            list(seen.values())[-1].starts.append((kernel, *rest))
        type(to).run(to, kernel, *rest)

    launch.pick, to.run = watched, started
    try:
        run()
    finally:
        launch.pick = pick
        del to.run
    return seen


def alone(table: dict[str, list[dict]], run: Callable[[], Any], kernel: str) -> Callable[[], None]:
    """A function that starts that kernel and nothing else of the run, with its present tile."""
    starts, to = picks(table, run)[kernel].starts, launch.target()

    def again() -> None:
        for start in starts:
            to.run(*start)

    return again


def table_of(op: str) -> Path:
    return Path(launch.__file__).parents[1] / op / "tiles.json"


@contextmanager
def replaced(rows: list[dict], tile: Tile) -> Iterator[None]:
    """Within the context the table has one row, this tile for everything."""
    before = list(rows)
    rows[:] = [tile]
    try:
        yield
    finally:
        rows[:] = before


def climb(start: Tile, seconds: Callable[[Tile], float]) -> tuple[Tile, float]:
    """The best tile found from `start` by doubling or halving one parameter at a time, and its time."""
    best, time, tried = start, seconds(start), {tuple(start.items())}
    improved = True
    while improved:
        improved = False
        for candidate in neighbors(best):
            key = tuple(candidate.items())
            if key in tried:
                continue
            tried.add(key)
            t = seconds(candidate)
            if t < BETTER * time:
                best, time, improved = candidate, t, True
                break
    return best, time


def neighbors(tile: Tile) -> Iterator[Tile]:
    """Tiles that differ in one parameter and fit: by a factor of two, num_stages by one."""
    for name, value in tile.items():
        low, high = LIMITS.get(name, (16, 256))
        for other in (value - 1, value + 1) if name == "num_stages" else (value // 2, value * 2):
            candidate = {**tile, name: other}
            if low <= other <= high and accumulators(candidate) <= ACCUMULATORS:
                yield candidate


def accumulators(tile: Tile) -> float:
    """float32 sums a thread, of the two largest sides: which of them a kernel sums over is its own affair."""
    sides = sorted(value for name, value in tile.items() if name.startswith("BLOCK_"))[-2:]
    return (sides[0] * sides[-1] if len(sides) > 1 else 0) / (32 * tile.get("num_warps", 4))


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """The table with the new rows: they replace those of the same conditions. `launch.pick` takes the first row that
    fits, so rows come in falling order of their conditions, those without any last."""
    rows = {conditions(row): row for row in [*old, *new]}
    names = ("arch", "bytes", *sorted({k for row in rows.values() for k in dict(conditions(row))} - {"arch", "bytes"}))
    return sorted(rows.values(), key=lambda row: [-row.get(name, 0) for name in names])


def conditions(row: dict) -> tuple:
    return tuple((k, v) for k, v in row.items() if k.islower() and not k.startswith("num_") and k != "measured")


def write(path: Path, table: dict[str, list[dict]]) -> None:
    """One row a line."""
    kernels = [f'  "{name}": [\n' + ",\n".join(f"    {json.dumps(row)}" for row in rows) + "\n  ]"
               for name, rows in table.items()]
    path.write_text("{\n" + ",\n".join(kernels) + "\n}\n")
