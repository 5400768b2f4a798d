"""What the tests of the command line share: the program in an empty folder, with weights, and photographs for it."""

from pathlib import Path

import pytest

import ltbc.colorize.__main__ as program
from ltbc.nn import Network
from tests.tools.drawn import draw

PATH_TAKEN = "reference: plain NumPy or CuPy, for reading and for checking the others; activations in float32\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    net = Network(width=1 / 32, classes=("coast", "field", "town"), global_size=32)
    net.parameters.views["color.4.weight"] *= 30
    net.save(path)
    return path


@pytest.fixture
def call(tmp_path, weights, monkeypatch, capsys):
    """call(*arguments) -> (exit code, stdout, stderr), in an empty folder, with weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ltbc.colorize.options.default_backend", lambda: "reference")  # compiles nothing

    def run(*arguments, weights=weights):
        code = program.main([*map(str, arguments), *(["--weights", str(weights)] if weights else [])])
        out, err = capsys.readouterr()
        assert "Traceback" not in err and err.count(PATH_TAKEN) <= 1
        return code, out, err.replace(PATH_TAKEN, "")

    return run


def files(folder="."):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def photographs(*names):
    for i, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        draw(i, 20 + i, 16).save(name)
