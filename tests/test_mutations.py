"""Every planted error is caught by the test that it names, in a copy of the project; the gpu backend's under Triton."""

import os
from importlib.util import find_spec

import pytest

from tests.tools import (
    checker_mutations,
    cpu_mutations,
    gpu_mutations,
    gpu_trip_mutations,
    judge_mutations,
    mutations,
    program_mutations,
)
from tests.tools.mutated import Copy, assert_caught, assert_in_place

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs tests in forks")
ON_TRITON = (
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("triton"), reason="the kernels need Triton: pip install 'triton>=3.6'"),
)
LISTS = [
    pytest.param(mutations.MUTATIONS, id="all"),
    pytest.param(program_mutations.FIRST, id="programs"),
    pytest.param(program_mutations.REST, id="programs, more", marks=pytest.mark.slow),
    pytest.param(checker_mutations.MUTATIONS, id="checker"),
    pytest.param(judge_mutations.FIRST, id="judges"),
    pytest.param(judge_mutations.REST, id="judges, more", marks=pytest.mark.slow),
    pytest.param(cpu_mutations.MUTATIONS, id="cpu", marks=pytest.mark.slow),
    pytest.param(gpu_mutations.MUTATIONS, id="gpu", marks=ON_TRITON),
    pytest.param(gpu_trip_mutations.MUTATIONS, id="gpu, trips", marks=ON_TRITON),
]
EACH = [pytest.param(m, id=f"{m.file}: {m.name}", marks=rows.marks) for rows in LISTS for m in rows.values[0]]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A copy for each environment, made when it is asked for; that of cpu kernels keeps compiled code of its own."""
    made = {}

    def copy_for(mutation):
        cpu = mutation in cpu_mutations.MUTATIONS
        if cpu not in made:
            root = tmp_path_factory.mktemp("mutated")
            own = cpu_mutations.ENVIRONMENT | {"LTBC_CACHE": str(root / "compiled")} if cpu else {}
            made[cpu] = Copy(root, **own)
        return made[cpu]

    yield copy_for
    for copy in made.values():
        copy.close()


@pytest.mark.parametrize("rows", LISTS)
def test_the_list(rows):
    assert len(rows) >= 15
    assert_in_place(rows)


@pytest.mark.parametrize("rows", LISTS)
def test_the_named_tests_pass_as_it_stands(copies, rows):
    code, report = copies(rows[0]).run("smoke", *sorted({m.test for m in rows}))
    assert code == 0, report


@pytest.mark.parametrize("mutation", EACH)
def test_mutation_is_caught(mutation, copies):
    assert_caught(mutation, copies(mutation))
