"""The planted errors of the gpu backend, under Triton's interpreter: see `test_mutations`."""

import os

import pytest

pytest.importorskip("triton", reason="the gpu backend's kernels need Triton: pip install 'triton>=3.6'")

from tests.gpu_mutations import MUTATIONS  # noqa: E402
from tests.mutated import Copy, assert_caught, assert_in_place  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="runs tests in forks")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    copy = Copy(tmp_path_factory.mktemp("mutated"))
    yield copy
    copy.close()


def test_the_list():
    assert len(MUTATIONS) >= 15
    assert_in_place(MUTATIONS)


def test_the_named_tests_pass_as_it_stands(copy):
    code, report = copy.run("smoke", *sorted({m.test for m in MUTATIONS}))
    assert code == 0, report


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.file}: {m.name}")
def test_mutation_is_caught(mutation, copy):
    assert_caught(mutation, copy)
