"""A copy of the project in which errors are planted one by one, and the tests run that must catch them."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.tools.mutations import Mutation

FOLDERS = ("ltbc", "gradcheck", "kernels", "nn", "train", "colorize", "bench", "tests")
MISTAKES = (
    "SyntaxError", "NameError", "ImportError", "ModuleNotFoundError", "UnboundLocalError", "fixture",
    "outside of the scope of a kernel",
)


class Copy:
    """The project's sources in a folder of their own, and a server that runs tests there."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root, self.report = root, root / "report.txt"
        for folder in filter(lambda folder: (ROOT / folder).is_dir(), FOLDERS):
            shutil.copytree(ROOT / folder, root / folder, symlinks=True, ignore=only_sources)
        shutil.copy(ROOT / "pyproject.toml", root)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "tests/tools/mutation_server.py"], cwd=root,
            env=kept | settings | environment | {"PYTHONPATH": str(root)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def run(self, profile: str, *tests: str) -> tuple[int, str]:
        """(pytest's exit code, its report)"""
        print(self.report, f"--hypothesis-profile={profile}", *tests, file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline()), self.report.read_text()


    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()


def only_sources(folder: str, names: list[str]) -> list[str]:
    kept = (".py", ".json", ".c", ".safetensors")
    return [n for n in names if not (Path(folder, n).is_dir() or n.endswith(kept)) or n == "__pycache__"]


def assert_in_place(mutations: list[Mutation]) -> None:
    """Names differ, and every old text stands once in its file."""
    assert len({m.name for m in mutations}) == len(mutations)
    for m in mutations:
        count = (ROOT / m.file).read_text().count(m.old)
        assert count == 1, f"{m.name}: {m.file} holds {count} times {m.old!r}, must hold it once"


def assert_caught(mutation: Mutation, copy: Copy) -> None:
    """The named test fails once the error is planted, and not because the mutation is no program."""
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
