"""What backends say on stderr stands in no table of a program, where both go to one file."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import bench.__main__ as bench
from ltbc.colorize.experiments import render_sizes
from ltbc.kernels.notices import say, table
from ltbc.nn.study import explain
from tests import ROOT

COMPILES = """
import numpy as np
from ltbc.kernels import adadelta
from ltbc.kernels.notices import table

with table():
    print("row 1")
    adadelta.step(*np.ones((4, 99), np.float32), backend="cpu")
    print("row 2")
print("later")
"""


def test_compiling_is_told_of_behind_a_table(tmp_path):
    found = subprocess.run([sys.executable, "-c", COMPILES], cwd=ROOT, env=os.environ | {"LTBC_CACHE": str(tmp_path)},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert re.fullmatch(r"row 1\nrow 2\ncpu: compiling kernels for \w+, once\nlater\n", found.stdout), found.stdout


def test_lines_wait_for_the_outermost_table(capsys):
    say("before")
    with table():
        say("first")
        with table():
            say("second")
        assert capsys.readouterr().err == "before\n"
    assert capsys.readouterr().err == "first\nsecond\n"
    say("after")
    assert capsys.readouterr().err == "after\n"


def test_lines_are_said_when_a_table_breaks_off(capsys):
    try:
        with table():
            say("a reason")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert capsys.readouterr().err == "a reason\n"


def told_within(monkeypatch, capsys, module, name, call):
    """What stderr has seen while `module.name`, called by `call`, is at work."""
    seen = []

    def works(*arguments, **options):
        say("cpu: compiling")
        seen.append(capsys.readouterr().err)
        return []

    monkeypatch.setattr(module, name, works)
    call()
    return *seen, capsys.readouterr().err


def test_programs_that_print_rows_while_kernels_compile(monkeypatch, capsys):
    command, photo = SimpleNamespace(main=None), str(ROOT / "colorize" / "contact_sheet.jpg")
    monkeypatch.setattr(bench, "import_module", lambda name: command)
    monkeypatch.setattr(render_sizes, "Colorizer", lambda weights: None)
    for module, name, call in (
        (command, "main", lambda: bench.main(["kernels"])),
        (render_sizes, "table", lambda: render_sizes.main([photo])),
        (explain, "kinds", lambda: explain.run(SimpleNamespace(terms=1))),
    ):
        assert told_within(monkeypatch, capsys, module, name, call) == ("", "cpu: compiling\n"), module
