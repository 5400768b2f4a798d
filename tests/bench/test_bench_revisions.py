"""Two revisions in turns: the verdict from given rounds, and a revision that got slower."""

import numpy as np
import pytest

from bench import results, revisions
from bench.__main__ import main
from bench.measure.cases import Case
from bench.measure.timing import Race, Times

CASE = Case("linear", "l", "forward", 2, {"x": (2, 3), "w": (3, 4), "b": (4,)}, {"y": (2, 4)}, {"y": 3})
SMALL = ["--width", "0.03", "--size", "16", "--backend", "reference", "--dtype", "float32", "--seconds", "0.01"]


def found(a, b):
    a, b = np.array(a), np.array(b)
    return revisions.Found(CASE, Race({"A": Times(a), "B": Times(b)}, 0.0), revisions.rank_test(a, b))


def test_the_verdict_is_that_of_ranks_over_rounds():
    rng = np.random.default_rng(0)
    rounds = 1 + rng.exponential(1, 20)  # a machine that others use: from 1 to 4 times as slow, for both
    assert revisions.judged([found(rounds, rounds * 0.95)], 0.01) == ["faster"]
    assert revisions.judged([found(rounds, rounds * 1.05)], 0.01) == ["slower"]
    assert revisions.judged([found(rounds, rounds)], 0.01) == ["same"] and found(rounds, rounds).p == 1
    assert revisions.judged([found(rounds, rounds * 1.005)], 0.01) == ["same"]  # clear, but within the margin
    assert revisions.judged([found(rounds[:3], rounds[:3] * 2)], 0.01) == ["same"]  # three rounds say nothing


def test_of_many_alike_none_is_faster_or_slower():
    """At 1 % for each by itself three of 300 would be."""
    rng = np.random.default_rng(1)
    alike = [found(*(1 + rng.exponential(1, (2, 15)))) for _ in range(300)]
    assert sum(one.p < 0.01 for one in alike) > 0
    assert set(revisions.judged(alike, 0.01)) == {"same"}


def test_this_checkout_against_itself(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(revisions, "ROUNDS", (3, 3))
    command = ["revisions", ".", ".", "--layer", "class.0", *SMALL, "--csv", str(tmp_path / "r.csv"), "--gate"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.count("linear             class.0") == 2 and out.endswith("0 faster, 0 slower, 2 same\n")
    assert [row["config"] for row in results.read(tmp_path / "r.csv")] == ["A", "B"] * 2


def test_a_revision_that_is_none_is_named(capsys):
    assert main(["revisions", "no-such-revision", ".", *SMALL]) == 2
    assert capsys.readouterr().err.startswith("bench revisions: git rev-parse")


@pytest.mark.slow
def test_kernels_are_those_of_the_revision_and_its_worktree_is_gone_afterwards():
    with revisions.revision("HEAD") as (label, guest):
        assert "bench-revision-" in guest.package and label.startswith("HEAD: ") and guest.root.is_dir()
    assert not guest.root.exists() and str(guest.root) not in revisions.git("worktree", "list")
