"""What a check that passed tells: a dict of the largest relative errors, which prints as a table."""

from dataclasses import dataclass, field


@dataclass
class Row:
    """One argument, or one leaf of a nested one."""

    name: str
    error: float = 0.0
    tolerance: float = 0.0
    directions: int = 0
    step: float = 0.0
    moved: bool = False  # the point given was not smooth: checked beside it
    notes: list[str] = field(default_factory=list)


class Result(dict[str, float]):
    """{argument: largest relative error}; `str` gives a table.

    rows: of each argument checked. unchecked: {argument: why}. calls: {"forward": n, "backward": n}. dtype: what
    forward computed in. notes: what else is to be known, such as kinks at the point given. moved: whether any
    argument was.
    """

    def __init__(
        self, operation: str, rows: list[Row], unchecked: dict[str, str], calls: dict[str, int], dtype: str,
        notes: list[str],
    ) -> None:
        super().__init__({row.name: row.error for row in rows})
        self.operation, self.rows, self.unchecked, self.calls = operation, rows, unchecked, calls
        self.dtype, self.notes = dtype, notes

    @property
    def moved(self) -> bool:
        return any(row.moved for row in self.rows)

    def __str__(self) -> str:
        head = ("argument", "error", "tolerance", "directions", "step", "point")
        cells = [head, *(_cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
        calls = ", ".join(f"{count} {name}" for name, count in self.calls.items())
        lines.insert(0, f"{self.operation}: right in {self.dtype}; calls: {calls}")
        lines += [f"not checked: {name} ({why})" for name, why in self.unchecked.items()]
        lines += [f"{row.name}: {note}" for row in self.rows for note in row.notes]
        return "\n".join(lines + self.notes)

    __repr__ = __str__

    def __reduce__(self):  # a dict of another constructor needs to be told how it is copied
        return Result, (self.operation, self.rows, self.unchecked, self.calls, self.dtype, self.notes)


def _cells(row: Row) -> tuple[str, ...]:
    if not row.directions:
        return row.name, "-", "-", "0", "-", "empty"
    return (
        row.name, f"{row.error:.1e}", f"{row.tolerance:.1e}", str(row.directions),
        f"{row.step:.0e}" if row.step else "none", "moved" if row.moved else "given",
    )
