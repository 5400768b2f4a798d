"""For pytest: short reports of wrong gradients, `--gradcheck-seed`, and a marker and a fixture for tolerances.

    @pytest.mark.gradcheck(tolerance=1e-4)
    def test_dense(): ...

    def test_other(gradcheck_defaults):
        with gradcheck_defaults(tolerance=1e-4): ...
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .defaults import current, defaults
from .errors import GradientError

HIDDEN = str(Path(__file__).parent)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradcheck")
    group.addoption("--gradcheck-seed", type=int, default=None, help="seed of the gradient checks that name none (0)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gradcheck(tolerance, seed): for the gradient checks of a test that name none")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    seed = item.config.getoption("--gradcheck-seed")
    values: dict[str, Any] = {} if seed is None else {"seed": seed}
    for marker in item.iter_markers("gradcheck"):
        if marker.args:
            raise pytest.UsageError("gradcheck: the marker takes tolerance= and seed=")
        values = {**marker.kwargs, **values}
    with defaults(**{**current, **values}):
        return (yield)


@pytest.fixture
def gradcheck_defaults() -> Any:
    """`gradcheck.defaults`."""
    return defaults


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report: Any = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, GradientError):
        report.longrepr = _Short(call.excinfo)
    return report


class _Short:
    """The user's line, the message and its notes."""

    def __init__(self, excinfo: pytest.ExceptionInfo) -> None:
        entries = list(excinfo.traceback)
        own = [entry for entry in entries if not str(entry.path).startswith(HIDDEN)]
        last = (own or entries)[-1]
        self.where, self.line = f"{last.path}:{last.lineno + 1}", str(last.statement).strip()
        self.message = f"{type(excinfo.value).__name__}: {excinfo.value}"
        notes = getattr(excinfo.value, "__notes__", ())
        self.notes = [note for note in notes if note.startswith("check_")]  # the call to be pasted, not hypothesis' own

    def __str__(self) -> str:
        return "\n".join([f"{self.where}: {self.line}", *(f"E   {line}" for line in (self.message, *self.notes))])

    def toterminal(self, out: Any) -> None:
        out.line(f"{self.where}: {self.line}")
        for line in (self.message, *self.notes):
            out.line(f"E   {line}", red=True, bold=True)
