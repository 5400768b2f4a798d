"""Our gradient checker over the whole corpus: every wrong pair is found, no right one is accused."""

import warnings

import pytest

from bench.gradients import cases
from bench.gradients.functions import Calls, Function
from bench.gradients.tools import TOOLS
from gradcheck import GradientError

CASES = list(cases())
QUICK = [case for case in CASES if case.size <= 10**5]
PASSING, LOCATING = 300, 350  # forward calls an argument at most, of the hardest right pair and the hardest wrong one


def name_and_size(case):
    return case.name


def checked(case):
    """(what it says or "", calls of forward an argument)."""
    pair, calls, said = case.pair(), Calls(), ""
    leaves = Function(pair, Calls()).leaves
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of overflow where a wrong backward means it
        try:
            TOOLS["ours"].check(pair, calls)
        except GradientError as error:
            said = str(error)
    return said, calls.n / max(1, len(leaves))


@pytest.mark.parametrize("case", [case for case in QUICK if not case.fault], ids=name_and_size)
def test_right_pairs_pass(case):
    said, calls = checked(case)
    assert not said and calls <= PASSING


@pytest.mark.parametrize("case", [case for case in QUICK if case.fault], ids=name_and_size)
def test_wrong_pairs_are_found(case):
    said, calls = checked(case)
    assert said and calls <= LOCATING


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.size == 10**6], ids=name_and_size)
def test_a_million_elements(case):
    said, calls = checked(case)
    assert bool(said) == bool(case.fault) and calls <= (150 if case.fault else 17)
    assert not said or "[999998]" in said
