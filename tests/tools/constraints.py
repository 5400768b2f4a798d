"""`python -m tests.tools.constraints`: holds constraints.txt, the versions that were tested, against those installed.

`--write` writes the file. All that pyproject.toml asks for belongs in it, with what that asks for in turn; only the
extra `gpu` does not, which has not been tested.
"""

import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import ROOT

FILE = ROOT / "constraints.txt"
HEAD = """\
# The versions that the tests passed with; the cpu backend's helper threads rely on Numba's calling convention, to name
# one reason. To have them: pip install --constraint constraints.txt .
# Made by `python -m tests.tools.constraints --write`; .ci/run checks it.
"""


def installed() -> dict[str, str]:
    """The versions by name. Raises PackageNotFoundError where one is missing that this machine should have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "gpu"]
    versions, seen = {}, set()
    left = [pair for lines in (project["dependencies"], *extras) for pair in wanted(lines)]
    while left:
        name, extra = left.pop()
        if (name, extra) not in seen:
            seen.add((name, extra))
            versions[name] = Version(distribution(name).version).public
            left += wanted(distribution(name).requires or (), extra)
    return versions


def wanted(lines: Iterable[str], extra: str = "") -> Iterator[tuple[str, str]]:
    """(name, extra of it) for each requirement that this machine has."""
    for requirement in map(Requirement, lines):
        if not requirement.marker or requirement.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(requirement.name), extra) for extra in {"", *requirement.extras})


def differences(found: dict[str, str], written: str) -> list[str]:
    """A line for each package that is installed in another version than is written, not written, or not asked for."""
    lines = [line for line in written.splitlines() if line and line[0] != "#"]
    told = dict(line.split("==") for line in lines)
    wrong = [f"{name} {version} is installed, {told.get(name, 'nothing')} is written"
             for name, version in sorted(found.items()) if told.get(name) != version]
    return wrong + [f"{name} is written, and nothing asks for it here" for name in sorted(told.keys() - found)]


def main(arguments: list[str]) -> int:
    try:
        found = installed()
    except PackageNotFoundError as error:
        print(f"constraints: {error.name} is not installed", file=sys.stderr)
        return 2
    if arguments == ["--write"]:
        FILE.write_text(HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(found.items())))
        return 0
    wrong = differences(found, FILE.read_text())
    print(*(f"constraints.txt: {line}" for line in wrong), sep="\n", end="\n" * bool(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
