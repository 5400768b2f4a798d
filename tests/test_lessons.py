"""The lessons run, and show what they say; the exercises have solutions."""

import os
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import ROOT

LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
TRY = re.compile(r'^# Try: "(.+?)" -> "(.+?)" (.+)$', re.MULTILINE)  # what stands there, what to put, what it does
LONG = ("4_triton", "5_learning")
TRIES = [(path, *found) for path in LESSONS for found in TRY.findall(path.read_text())]
SAYS = {
    "1_convolution": ("is the output at (2, 2): 35", "gives the same: True", "one: True"),
    "2_backward": ("project's: [True, True, True]", "[102. 203. 304. 400.]", "dw is wrong at [2, 2, 1, 0]", "1 of 54"),
    "3_phases": ("z[2] sees large[1..3] = [1. 2. 2.]: 221", "in two dimensions, equal: True"),
    "4_triton": ("bias = tl.load(b + o", "z = [8x4]", "2 programs ran", "project's: True True"),
    "5_learning": ("step  chroma loss", "scenes named rightly: 100%"),
    "6_find_the_bug": ("exercise 1: linear: db is wrong", "exercise 5: cross_entropy: dz is wrong at [2]"),
    "7_one_gradient": ("fork 1, global_fc.1: from the global vector 1.4e-05, from the class scores 1.3e-04",
                       "= the weight's: True", "every gradient equals the network's: True"),
}
SOLUTIONS = (  # of lesson 6: what stands there, what should
    ("dy[0]", "dy.sum(0)"),  # b is added to every row
    ("mean((1, 3))", "sum((1, 3))"),  # copies add up
    ("w[:2] @ dy.mean(0)", "w[:2] @ dy.sum(0)"),  # so do those of the global vector
    ("dy * w[0] + ahead * w[2]", "dy * w[2] + ahead * w[0]"),  # pixel 2i+1 is the last of window i
    ("p[label] = p[label] * (1 - p[label])", "p[label] -= 1"),  # p - onehot
)


def run(source: str, folder: Path) -> str:
    """What a program of that source prints, run in an empty folder beside the project's."""
    path = folder / "lessons" / "lesson.py"
    path.parent.mkdir()
    path.write_text(source)
    for name in ("gradcheck", "ltbc"):
        (folder / name).symlink_to(ROOT / name)
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # quicker for arrays so small
    environment = os.environ | single
    done = subprocess.run(
        [sys.executable, str(path)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def as_it_stands(path: Path) -> tuple[str, list[str]]:
    """What a lesson prints, and the files that it makes."""
    with TemporaryDirectory() as folder:
        shown = run(path.read_text(), Path(folder))
        return shown, [file.name for file in Path(folder).glob("runs/*")]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lessons_show_what_they_say(path):
    if path.stem == "4_triton" and not find_spec("triton"):
        pytest.skip("lesson 4 needs Triton: pip install 'triton>=3.6'")
    shown, made = as_it_stands(path)
    assert "False" not in shown
    for words in SAYS[path.stem]:
        assert words in shown
    if path.stem == "5_learning":
        losses = [float(loss) for loss in re.findall(r"^ *\d+  (0\.\d+) #", shown, re.MULTILINE)]
        assert len(losses) > 1 and losses[-1] < 0.4 * losses[0]
        skies = re.findall(r"sky +\S+ +(\S+)   \( +\S+ +(\S+)\)", shown)  # b*, and the true one: blue, then orange
        (meadow, true_blue), (desert, true_orange) = [map(float, sky) for sky in skies]
        assert meadow < (true_blue + true_orange) / 2 < desert
        assert made == ["lesson_5.png"]


@pytest.mark.parametrize("path, old, new, does", [
    pytest.param(*row, id=f"{row[0].stem}-{k}", marks=[pytest.mark.slow] * (row[0].stem in LONG))
    for k, row in enumerate(TRIES)
])
def test_what_there_is_to_try_does_what_it_says(path, old, new, does, tmp_path):
    if path.stem == "4_triton" and not find_spec("triton"):
        pytest.skip("lesson 4 needs Triton: pip install 'triton>=3.6'")
    text, tries = re.split(r"^(?=# Try: )", path.read_text(), maxsplit=1, flags=re.MULTILINE)
    assert text.count(old) == 1 and re.fullmatch(r'(# Try: .*"\n)+', tries)
    words, shown = re.findall(r'"(.+?)"', does), run(text.replace(old, new), tmp_path)
    assert words and all(word in shown for word in words)
    assert path.stem == "5_learning" or not all(word in as_it_stands(path)[0] for word in words)
    if not any("False" in word or "wrong" in word or "shape" in word for word in words):
        assert "False" not in shown


def test_every_lesson_but_the_exercises_has_something_to_try():
    assert {path.stem for path, *_ in TRIES} == set(SAYS) - {"6_find_the_bug"}
    assert all(path.read_text().count("Try:") == sum(path == row[0] for row in TRIES) for path in LESSONS)


def test_the_exercises_are_all_wrong_and_can_be_solved(tmp_path):
    source = (ROOT / "lessons/6_find_the_bug.py").read_text()
    for k, (wrong, right) in enumerate(SOLUTIONS):
        assert source.count(wrong) == 1
        source = source.replace(wrong, right)
        (tmp_path / str(k)).mkdir()
        shown = run(source, tmp_path / str(k)).splitlines()
        assert [line.endswith(": right") for line in shown] == [n <= k for n in range(5)]


def test_lesson_4_says_what_is_missing(tmp_path):
    source = (ROOT / "lessons/4_triton.py").read_text().replace('find_spec("triton")', 'find_spec("no_such_triton")')
    with pytest.raises(AssertionError, match="lesson 4 needs Triton: pip install"):
        run(source, tmp_path)


def test_lessons_are_short():
    assert [path.stem for path in LESSONS] == list(SAYS)
    assert all(len(path.read_text().splitlines()) <= 80 for path in LESSONS)
