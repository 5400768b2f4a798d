"""nn/PAPER.md points at what is there: every file, every name in it, every test."""

import re

import pytest

from tests import ROOT

TEXT = (ROOT / "nn" / "PAPER.md").read_text()
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py)(?:::?(\w+))?`", TEXT)))


def test_the_table_has_references():
    assert len(REFERENCES) > 25


@pytest.mark.parametrize("file, name", REFERENCES)
def test_reference_exists(file, name):
    assert (ROOT / file).is_file(), f"nn/PAPER.md names {file}, which is not there"
    if name:
        definition = re.compile(rf"^(def |class |){name}\b", re.MULTILINE)
        assert definition.search((ROOT / file).read_text()), f"nn/PAPER.md names {name}, which {file} does not define"
