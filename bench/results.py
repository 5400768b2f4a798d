"""Rows of results: one form for all commands, written as CSV together with where, when and from what they came."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import BenchError
from bench.measure.machine import machine
from ltbc.nn.weights import write_whole

KEY = ("command", "backend", "dtype", "op", "layer", "work", "batch", "size", "width", "config", "quantity")
FIGURES = ("p50", "p20", "p80", "rounds", "tflops", "gbytes_s", "matrix_share", "done_share", "memory_share",
           "ratio", "ratio_p20", "ratio_p80", "ceiling_tflops", "ceiling_gbytes_s", "compile_s", "cache_bytes",
           "tolerance", "mark", "note")
CONDITIONS = ("cpu", "cores", "threads", "gpu", "python", "versions", "date", "commit")
FIELDS = (*KEY, *FIGURES, *CONDITIONS)
Row = dict[str, Any]  # of FIELDS; times in seconds, memory in bytes, ratios PyTorch / ours


def conditions() -> Row:
    """The columns that say where, when and from what, from `machine`."""
    found = machine()
    versions = " ".join(f"{name}={version}" for name, version in found["versions"].items())
    return {**{name: found[name] for name in CONDITIONS if name != "versions"}, "versions": versions}


class Table:
    """Rows as they come, each time written as CSV: what was measured before a run was stopped is there, and whole."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows = path, list[Row]()

    def add(self, rows: Iterable[Row]) -> None:
        self.rows += rows
        self.write()

    def write(self, preliminary: Iterable[Row] = ()) -> None:
        """The file anew, with rows at its end that the next call no longer has."""
        if self.path:
            write(self.path, [*self.rows, *preliminary])


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Writes rows as CSV, with this machine's conditions; floats with five digits. The file is whole at any time."""
    same, text = conditions(), io.StringIO()
    writer = csv.DictWriter(text, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in {**row, **same}.items()})
    write_file(path, text.getvalue())


def write_file(path: str | Path, text: str) -> None:
    """Whole or not at all. Raises BenchError where that cannot be."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise BenchError(f"{path}: cannot be written ({error.strerror or error})") from None


def read(path: str | Path) -> list[Row]:
    """The rows of a CSV file; figures as floats where they are there. Raises BenchError for another kind of file."""
    try:
        with open(path, newline="") as file:
            return parse(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def parse(text: str, path: str | Path) -> list[Row]:
    """The rows of a file's text, as `read` gives them."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = list(reader)
    if missing := set((*KEY, "p50")) - set(reader.fieldnames or ()):
        raise BenchError(f"{path}: not results of this program (no column {', '.join(sorted(missing))})")
    for number, row in enumerate(rows, 2):
        for name in FIGURES:
            if row.get(name) and name not in ("mark", "note"):
                try:
                    row[name] = float(row[name])
                except ValueError:
                    raise BenchError(f"{path}:{number}: {name} must be a number, got {row[name]!r}") from None
    return rows


def rivals(rows: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """Of `kernels`' rows of one dtype the fastest one of PyTorch's by (layer, operation, work)."""
    found: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = row["layer"], row["op"], row["work"]
        if row["config"].startswith("torch") and (key not in found or row["p50"] < found[key]["p50"]):
            found[key] = row
    return found


def seconds(t: float) -> str:
    """ "1.23 s", "45.6 ms", "789 us"."""
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if t * factor >= 1 or unit == "us":
            value = t * factor
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    return ""


def size(n: float) -> str:
    return f"{n / 2**30:.2f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"
