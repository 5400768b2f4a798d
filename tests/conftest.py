"""Test sessions: few and the same examples on every run, outputs poisoned with NaN, one thread a worker."""

import os
import sys

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton, as PyTorch does
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: set before NumPy and PyTorch start threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from ltbc.kernels.arrays import is_float

COMMON = {"deadline": None, "derandomize": True, "database": None, "print_blob": False}
hypothesis.settings.register_profile("default", max_examples=25, **COMMON)
hypothesis.settings.register_profile("thorough", max_examples=500, **COMMON | {"derandomize": False})
FIND = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a failure need not be made small
hypothesis.settings.register_profile("mutations", max_examples=25, phases=FIND, **COMMON)
hypothesis.settings.register_profile("smoke", max_examples=2, **COMMON)
hypothesis.settings.load_profile("default")  # pytest --hypothesis-profile=thorough takes another


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
