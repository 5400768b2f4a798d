"""A session of tests: how long property tests draw, and what is said at the end."""

import subprocess
import sys

import pytest

from tests import ROOT

SESSION = """
import pytest
from hypothesis import given, settings, strategies as st
from tests import conftest

conftest.THOROUGH_SECONDS = 0.5
drawn = []

@settings(max_examples=2)
@given(st.integers())
def test_draws(n):
    drawn.append(n)

def test_count():
    print("drawn:", len(drawn))
    assert {wanted}

@given(st.integers())
def test_fails(n):
    assert n < 12

@pytest.mark.parametrize("n", (1, 2))
def test_left_out(n):
    pytest.skip("needs a moon: launch one")
"""


@pytest.mark.parametrize("profile, wanted", [
    ("default", "len(drawn) == 2"), ("thorough", "len(drawn) > 20 and len(set(drawn)) > 8"),
])
def test_a_session(profile, wanted, tmp_path):
    """What was skipped stands at the end, once; thorough draws fresh examples whatever a test says of their number."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "test_it.py").write_text(SESSION.format(wanted=wanted))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hypothesis-profile={profile}"]
    command += ["--rootdir", tmp_path, "-c", ROOT / "pyproject.toml", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "2 not tested: needs a moon: launch one" in done.stdout.splitlines()[-2:], done.stdout
    assert "1 failed, 2 passed, 2 skipped" in done.stdout and "n=12" in done.stdout, done.stdout
