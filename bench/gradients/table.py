"""What the rows of `python -m bench gradcheck` come to, as tables in Markdown."""

from collections.abc import Callable, Iterable
from statistics import mean, median

from bench.results import Row, seconds

BINS = {"up to 99": 99, "100 to 1,000": 1000, "20,000 to 100,000": 10**5, "a million": 10**6, "10 million": 10**7}


def tables(rows: list[Row]) -> list[str]:
    """All sizes together, then by size, then what ours lacks."""
    tools = list(dict.fromkeys(row["config"] for row in rows))
    lines = ["| checker | wrong ones found | told from the right one | right ones accused | cannot | not in time |",
             "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {tool} | {' | '.join(summary([row for row in rows if row['config'] == tool]))} |" for tool in tools]
    lines += ["", "| elements | checker | found | accused | calls: right, wrong | CPU seconds: right, wrong |",
              "| --- | --- | --- | --- | --- | --- |"]
    low = -1
    for name, high in BINS.items():
        for tool in tools:
            some = [row for row in rows if row["config"] == tool and low < int(row["size"]) <= high]
            if some:
                lines.append(f"| {name} | {tool} | {' | '.join(by_size(some))} |")
        low = high
    return [*lines, "", *lacking(rows)]


def summary(rows: list[Row]) -> list[str]:
    """Found, told apart, accused, cannot, late, of one tool. What it cannot express, or not in time, is no pair of its
    table."""
    wrong, right = judged(rows)
    accused = {(row["op"], row["size"]) for row in right if row["mark"] != "passed"}
    found = [row for row in wrong if row["mark"] == "alarm"]
    apart = [row for row in found if (row["op"], row["size"]) not in accused]
    return [f"{len(found)} of {len(wrong)}", str(len(apart)), f"{len(accused)} of {len(right)}",
            *(str(sum(row["mark"] == mark for row in rows)) for mark in ("cannot", "late"))]


def by_size(rows: list[Row]) -> list[str]:
    wrong, right = judged(rows)
    found, accused = sum(row["mark"] == "alarm" for row in wrong), sum(row["mark"] != "passed" for row in right)
    return [f"{found} of {len(wrong)}", f"{accused} of {len(right)}",
            both(right, wrong, lambda some: f"{median(row['rounds'] for row in some):g}"),
            both(right, wrong, lambda some: seconds(mean(row["p50"] for row in some)))]


def judged(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """(wrong, right) ones on which a verdict came."""
    there = [row for row in rows if row["mark"] not in ("cannot", "late")]
    return [row for row in there if row["work"]], [row for row in there if not row["work"]]


def both(right: list[Row], wrong: list[Row], text: Callable[[list[Row]], str]) -> str:
    return ", ".join(text(some) if some else "-" for some in (right, wrong))


def lacking(rows: list[Row]) -> list[str]:
    """Wrong pairs that another checker finds and ours does not; right ones that ours accuses."""
    ours = {key(row): row["mark"] for row in rows if row["config"] == "ours"}
    others = {key(row) for row in rows if row["config"] != "ours" and row["work"] and row["mark"] == "alarm"}
    missed = [k for k in ours if k in others and ours[k] != "alarm"]
    accused = [k for k in ours if not k[1] and ours[k] != "passed"]
    return [f"Found by another checker and not by ours: {names(missed)}.", f"Accused by ours: {names(accused)}."]


def key(row: Row) -> tuple[str, str, str]:
    return row["op"], row["work"], str(row["size"])


def names(keys: list[tuple[str, str, str]]) -> str:
    return "; ".join(f"{entry}{': ' * bool(fault)}{fault} ({size})" for entry, fault, size in keys) or "none"
