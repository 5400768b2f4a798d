"""`python -m lessons check`: solutions are right, skeletons are not, and mistakes are told with their reason."""

from pathlib import Path

import pytest

from lessons.__main__ import main
from lessons.judge import EXERCISES, judge
from tests import ROOT

FOLDER = ROOT / "lessons"
NUMBERS = sorted(EXERCISES)


def file_of(kind: str, number: int) -> Path:
    (path,) = (FOLDER / kind).glob(f"{number}_*.py")
    return path


def verdicts(number: int, path: Path) -> list[tuple[str, str]]:
    return list(judge(number, path))


@pytest.mark.parametrize("number", NUMBERS)
def test_solutions_are_right_and_skeletons_are_not(number):
    assert {verdict for _, verdict in verdicts(number, file_of("solutions", number))} == {"right"}
    assert {verdict for _, verdict in verdicts(number, file_of("exercises", number))} == {"not written yet"}


MISTAKES = [  # exercise, what stands in the solution, what somebody might write, which verdict says what
    (1, "dy.sum(0)", "dy[0]", "db", "it misses the sum over axis 0"),
    (1, "x.T @ dy", "dy.T @ x", "dw", "shape"),
    (1, "x @ w + b", "x @ w", "forward", "wrong at"),
    (1, "dy @ w.T", "2 * dy @ w.T", "dx", "dx is wrong at"),
    (2, "dy @ w[r, s].T", "dy @ w[2 - r, 2 - s].T", "dx", "dx is wrong at"),
    (2, "return dpadded[:, 1:-1, 1:-1]", "return dpadded", "dx", "dx has shape [2, 6, 8, 2]"),
    (3, "[(2, 0), (0, 1)]", "[(0, 0), (2, 1)]", "dx", "dx is wrong at"),
    (4, "((0,), (1, 2)), ((0, 1), (2,))", "((0, 1), (2,)), ((0,), (1, 2))", "forward", "wrong at"),
    (4, "for r, s in taps:\n", "for r, s in taps[:1]:\n", "dw", "dw is wrong at"),
    (5, "s @ w[:cg].T", "dy.mean((1, 2)) @ w[:cg].T", "dvector", "it is 12 times too small everywhere"),
    (6, "- target) / y.size", "- target)", "dy", "times too large"),
    (6, "dz[rows, labels] -= 1", "dz[rows, labels] *= -1", "dz", "dz is wrong at"),
    (6, "z - z.max(1, keepdims=True)", "z", "classes large", "nan"),
    (6, "p[rows, labels]).mean()", "p[rows, labels]).sum()", "classes loss", "wrong at []"),
    (7, "/ np.sqrt(eg + eps)", "/ np.sqrt(eg)", "step 1", "equation (2) or (4)"),
    (7, "(1 - rho) * d * d", "(1 - rho) * g * g", "step 1", "ed moves wrong at [0]"),
    (7, "(1 - rho) * g * g", "g * g", "step 1", "eg moves wrong"),
    (8, "dhidden + from_scores", "dhidden", "global_fc.1", "from the class scores is missing (one size)"),
    (8, 'back("low", dlow + dcopy)', 'back("low", dlow)', "low", "through the global branch is missing (one size)"),
    (8, 'back("low of the copy", dcopy)\n', "pass\n", "low", "global branch is missing (with a resized copy)"),
    (8, 'back("class", dlogits)', 'back("class", 2 * dlogits)', "class", "from the class scores counts twice"),
    (8, "return gradients", "return gradients | {'mid.0.bias': None}", "mid", "no gradient of mid.0.bias"),
]


@pytest.mark.parametrize("number, old, new, what, why", MISTAKES)
def test_mistakes_are_told_with_their_reason(number, old, new, what, why, tmp_path):
    source = file_of("solutions", number).read_text()
    assert source.count(old) == 1
    (tmp_path / "mine.py").write_text(source.replace(old, new))
    told = [verdict for name, verdict in verdicts(number, tmp_path / "mine.py") if name == what and verdict != "right"]
    assert why in told[0]


@pytest.mark.parametrize("source, why", [
    ("def forward(x, w, b)\n", "raises SyntaxError"), ("import no_such_module\n", "raises ModuleNotFoundError"),
    ("", "there is no function forward here"), ("def forward(*a): pass\n", "has shape [], wanted [4, 2]"),
    ("def forward(x, w, b):\n    return x @ b\n", "ValueError"), ("def forward(*a):\n    return a[9]\n", "line 2"),
    ("def backward(dy, x, w):\n    return dy, x\n", "gives 2 gradients, wanted 3: dx, dw, db"),
    ("def backward(*a): pass\n", "returns nothing"),
])
def test_what_does_not_run_is_a_line(source, why, tmp_path):
    (tmp_path / "mine.py").write_text(source)
    told = verdicts(1, tmp_path / "mine.py")
    assert any(why in verdict for _, verdict in told) and all("\n" not in verdict for _, verdict in told)


def test_the_program(capsys, tmp_path):
    assert main([]) == 0
    assert all(f"lessons/exercises/{n}_" in capsys.readouterr().out or n > 1 for n in NUMBERS)
    assert main(["check", "7"]) == 1 and "not written yet" in capsys.readouterr().out
    assert main(["check", "7", "--solution"]) == 0 and "step 3       right" in capsys.readouterr().out
    (tmp_path / "mine.py").write_bytes(file_of("solutions", 7).read_bytes())
    assert main(["check", "7", "--file", str(tmp_path / "mine.py")]) == 0
    for words in (["check", "9"], ["check", "--file", "mine.py"], ["check", "7", "--file", "no-such.py"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
