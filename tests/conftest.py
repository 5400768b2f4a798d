"""Test sessions: few and the same examples on every run, outputs poisoned with NaN, one thread a worker; at the end it
is said what was not tested."""

import os
import sys
import time
from collections import Counter
from functools import wraps

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton, as PyTorch does
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: set before NumPy and PyTorch start threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from ltbc.kernels.arrays import is_float

pytest_plugins = ["gradcheck.pytest_plugin"]  # by its entry point where gradcheck is installed

COMMON = {"deadline": None, "derandomize": True, "database": None, "print_blob": False}
hypothesis.settings.register_profile("default", max_examples=25, **COMMON)
hypothesis.settings.register_profile("thorough", max_examples=25, **COMMON | {"derandomize": False, "print_blob": True})
FIND = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a failure need not be made small
hypothesis.settings.register_profile("mutations", max_examples=25, phases=FIND, **COMMON)
hypothesis.settings.register_profile("smoke", max_examples=2, **COMMON)
hypothesis.settings.load_profile("default")  # pytest --hypothesis-profile=thorough takes another
THOROUGH_SECONDS = 6


def pytest_collection_modifyitems(config, items):
    """With the profile thorough every property test goes on with fresh examples as long as its time lasts; once with a
    seed, whose examples are the same each time."""
    if config.getoption("--hypothesis-profile") == "thorough" and config.getoption("--hypothesis-seed") is None:
        for item in items:
            if hasattr(item.obj, "hypothesis"):
                item.obj = again_and_again(item.obj)


def again_and_again(test):
    @wraps(test)
    def for_some_time(*args, **kwargs):
        end = time.monotonic() + THOROUGH_SECONDS
        while time.monotonic() < end:
            test(*args, **kwargs)

    return for_some_time


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """At the end a line for each reason for which tests were skipped: how many, and what to do."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, number in Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped).items():
        terminalreporter.write_line(f"{number} not tested: {reason}", yellow=True)


@pytest.fixture(autouse=True)
def poisoned_empty(monkeypatch):
    """`empty` and `empty_like` of floats give NaN, so that an element that nobody writes shows."""
    for xp in filter(None, (np, sys.modules.get("cupy"))):
        for name in ("empty", "empty_like"):
            monkeypatch.setattr(xp, name, poisoned(getattr(xp, name)))


def poisoned(allocate):
    def poisoned_allocate(*args, **kwargs):
        x = allocate(*args, **kwargs)
        if is_float(x.dtype):
            x.fill(np.nan)
        return x

    return poisoned_allocate
