"""nn/PAPER.md says what is so: its values are the program's, its lines stand in the files, what it names exists."""

import re
from importlib import import_module

import pytest

from tests import ROOT

TEXT = (ROOT / "nn" / "PAPER.md").read_text()
VALUES = re.findall(r"`([a-z_][\w.]*):([^`]+) == ([^`]+)`", TEXT)  # module, expression, what it equals
LINES = re.findall(r"`([\w/]+\.py): ([^`]+)`", TEXT)
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py)(?:::?(\w+))?`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| statement"))]


def holds(module: str, expression: str, value: str) -> bool:
    names = vars(import_module(f"ltbc.{module}"))
    return eval(expression, dict(names)) == eval(value, dict(names))


def test_the_table_has_references():
    assert len(REFERENCES) > 30 and len(VALUES) > 20 and len(LINES) > 6


@pytest.mark.parametrize("module, expression, value", VALUES)
def test_values_are_those_of_the_program(module, expression, value):
    assert holds(module, expression, value), f"nn/PAPER.md: {module}:{expression} is not {value}"


def test_a_value_that_changed_is_found():
    assert holds("nn.network", "ALPHA", "1 / 300") and not holds("nn.network", "ALPHA", "1 / 200")
    assert not holds("nn.architecture", 'PARTS["fusion"]', '(("fusion", 512),)')


@pytest.mark.parametrize("file, line", LINES)
def test_lines_stand_in_the_files(file, line):
    assert line in (ROOT / file).read_text(), f"nn/PAPER.md quotes {line}, which {file} does not say"


@pytest.mark.parametrize("file, name", REFERENCES)
def test_reference_exists(file, name):
    assert (ROOT / file).is_file(), f"nn/PAPER.md names {file}, which is not there"
    assert name or not file.startswith("tests/") or file == "tests/nn/test_paper.py", f"{file}: which test?"
    if name:
        definition = re.compile(rf"^(def |class |){name}\b", re.MULTILINE)
        assert definition.search((ROOT / file).read_text()), f"nn/PAPER.md names {name}, which {file} does not define"


def test_every_statement_of_the_paper_points_somewhere():
    for row in ROWS[: next(k for k, r in enumerate(ROWS) if r.startswith("| question"))]:
        _, _, where, test, _ = re.split(r"(?<!\\)\|", row.replace(r"\|", ""))
        assert "`" in where and ("`tests/" in test or test.strip() == "–"), row
