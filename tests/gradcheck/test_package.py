"""gradcheck as others get it: installed into an empty environment, used from another folder, without its extras."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gradcheck import GradientError
from tests import ROOT

README = (ROOT / "gradcheck/README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_readme_finds_the_planted_error():
    with pytest.raises(GradientError) as caught:
        exec(EXAMPLES[0], {})
    shown = re.search(r"```\nGradientError: (.*?)```", README, re.DOTALL)
    assert " ".join(shown[1].split()) == str(caught.value)


@pytest.mark.parametrize("example", EXAMPLES[1:])
def test_readme_examples_run(example, capsys):
    names: dict = {}
    exec(example, names)
    for name in [name for name in names if name.startswith("test_")]:
        names[name]()
    assert "right in float64" in capsys.readouterr().out


def test_nothing_is_imported_but_numpy():
    absent = "torch", "jax", "cupy", "hypothesis", "pytest", "kernels", "ml_dtypes"
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import gradcheck; print(gradcheck.__version__)"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "0.1.0"


USE = """
import numpy as np, gradcheck
assert "site-packages" in gradcheck.__file__, gradcheck.__file__
found = gradcheck.check_gradients(np.sin, lambda dy, x: dy * np.cos(x), {"x": np.ones(3)})
assert found["x"] < 1e-6
try:
    gradcheck.check_gradients(np.sin, lambda dy, x: dy * np.sin(x), {"x": np.ones(3)})
except gradcheck.GradientError as error:
    print(error)
import importlib.metadata as m
print([e.value for e in m.entry_points(group="pytest11")])
for name in ("torch", "hypothesis", "pytest", "kernels"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(name)
"""


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("setuptools") and find_spec("pip")), reason="needs pip and setuptools")
def test_installed_into_an_empty_environment(tmp_path):
    """Without a network: built with the setuptools that is here, NumPy lent by a link."""
    import numpy

    source, place = tmp_path / "source", tmp_path / "env"
    shutil.copytree(ROOT / "gradcheck", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    site, python = next(place.glob("lib/python*/site-packages")), place / "bin/python"
    options = "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", site
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True)
    for folder in [Path(numpy.__file__).parent, *Path(numpy.__file__).parents[1].glob("numpy.libs")]:
        (site / folder.name).symlink_to(folder)
    done = subprocess.run([python, "-c", USE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "operation: dx is wrong at" in done.stdout and "gradcheck.pytest_plugin" in done.stdout
    assert (site / "gradcheck/py.typed").is_file()
