"""Every planted error of `mutations` is caught by the test that it names, in a copy of the project."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations import MUTATIONS

ROOT = Path(__file__).parents[1]
FOLDERS = ("kernels", "nn", "train", "colorize", "bench", "tests")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs tests in forks")
MISTAKES = ("SyntaxError", "NameError", "ImportError", "ModuleNotFoundError", "UnboundLocalError", "fixture")


class Copy:
    """The project's sources in a folder of their own, and a server that runs tests there."""

    def __init__(self, root: Path) -> None:
        self.root, self.report = root, root / "report.txt"
        for folder in filter(lambda folder: (ROOT / folder).is_dir(), FOLDERS):
            shutil.copytree(ROOT / folder, root / folder, ignore=only_sources)
        shutil.copy(ROOT / "pyproject.toml", root)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "tests/mutation_server.py"], cwd=root, env=kept | settings | {"PYTHONPATH": str(root)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, profile: str, *tests: str) -> tuple[int, str]:
        """(pytest's exit code, its report)"""
        print(self.report, f"--hypothesis-profile={profile}", *tests, file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline()), self.report.read_text()


def only_sources(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if not (Path(folder, n).is_dir() or n.endswith((".py", ".json"))) or n == "__pycache__"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    copy = Copy(tmp_path_factory.mktemp("mutated"))
    yield copy
    copy.server.stdin.close()
    copy.server.wait()


def test_the_list():
    assert len(MUTATIONS) >= 15 and len({m.name for m in MUTATIONS}) == len(MUTATIONS)
    for m in MUTATIONS:
        count = (ROOT / m.file).read_text().count(m.old)
        assert count == 1, f"{m.name}: {m.file} holds {count} times {m.old!r}, must hold it once"


def test_the_named_tests_pass_as_it_stands(copy):
    code, report = copy.run("smoke", *sorted({m.test for m in MUTATIONS}))
    assert code == 0, report


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.file}: {m.name}")
def test_mutation_is_caught(mutation, copy):
    path = copy.root / mutation.file
    source = path.read_text()
    mutated = source.replace(mutation.old, mutation.new)
    assert mutated != source
    ast.parse(mutated)
    path.write_text(mutated)
    try:
        code, report = copy.run("mutations", mutation.test)
    finally:
        path.write_text(source)
    assert code == pytest.ExitCode.TESTS_FAILED, f"{mutation.test} does not catch it:\n{report}"
    assert not any(mistake in report for mistake in MISTAKES), f"the mutation is no program:\n{report}"
