"""The package as it is carried away: what is in the wheel, that it runs from any folder beside files named as ours, and
that every program is started by one name."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

import ltbc
from ltbc.__main__ import COMMANDS, main
from tests import ROOT
from tests.tools.constraints import FILE, differences
from tests.tools.drawn import draw

ROOMS = ("kernels", "nn", "train", "colorize")
LEFT_OUT = ("experiments", "photographs")  # folders in rooms
OWN = {"nn.py", "train.py", "colorize.py", "kernels/__init__.py"}  # files of somebody else
BUILD = "import setuptools.build_meta as build; build.build_sdist('dist'); build.build_wheel('dist')"


def run(*command, cwd=ROOT, path=()):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folders that the project and its own sdist were built in; each has `dist`."""
    if not find_spec("setuptools"):  # not imported here: it does not bear that `distutils` has been
        pytest.skip("building the wheel needs setuptools: pip install 'setuptools>=77'")
    checkout = tmp_path_factory.mktemp("built") / "checkout"
    for folder in ("ltbc", *ROOMS, "bench", "tests"):
        shutil.copytree(ROOT / folder, checkout / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "demo.py"):
        shutil.copy(ROOT / file, checkout)
    folders = [checkout]
    for _ in range(2):
        done = run("-c", BUILD, cwd=folders[-1])
        assert done.returncode == 0, done.stderr
        shutil.unpack_archive(next(folders[-1].glob("dist/*.tar.gz")), checkout.parent / "sdist", filter="data")
        folders.append(next((checkout.parent / "sdist").iterdir()))
    return folders[:2]


def contents(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(next(folder.glob("dist/*.whl"))) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def test_the_wheel_holds_the_rooms_and_nothing_beside_them(built):
    files = contents(built[0])
    about = f"let_there_be_color-{ltbc.__version__}.dist-info"
    code = {path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*")
            if path.suffix in (".py", ".json", ".css", ".html", ".js", ".safetensors")}
    wanted = {f"ltbc/{path}" for path in code if not set(LEFT_OUT) & set(path.parts)}
    wanted |= {"ltbc/py.typed", *(f"ltbc/{path.name}" for path in (ROOT / "ltbc").glob("*.py"))}
    assert {name for name in files if not name.startswith(f"{about}/")} == wanted
    assert files[f"{about}/top_level.txt"] == b"ltbc\n" and f"{about}/licenses/LICENSE" in files
    for data in ("colorize/weights.safetensors", "kernels/conv3x3/tiles.json", "nn/study/page.js",
                 "colorize/page/page.css", "colorize/page/result.html", "colorize/page/compare.js",
                 "colorize/before_after.html"):
        assert files[f"ltbc/{data}"] == (ROOT / data).read_bytes()
    assert next(built[0].glob("dist/*.whl")).stat().st_size < 11e6  # 10.7 MB of it are the weights


def test_the_sdist_builds_the_same_wheel(built):
    names = {str(path.relative_to(built[1])).split("/")[0] for path in built[1].rglob("*") if path.is_file()}
    assert names == {"ltbc", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "PKG-INFO", "setup.cfg",
                     "let_there_be_color.egg-info", "dist", "build"}
    assert contents(built[0]) == contents(built[1])


@pytest.fixture
def elsewhere(built, tmp_path):
    """(somebody's own folder, the path on which the installed wheel lies beside another package `kernels`)"""
    site, folder = tmp_path / "site", tmp_path / "folder"
    shutil.unpack_archive(next(built[0].glob("dist/*.whl")), site, "zip")
    (site / "kernels").mkdir()
    (site / "kernels/__init__.py").write_text("somebody = 'else'")
    for name in OWN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise SystemExit('not ours')")
    return folder, [site]


def test_a_photograph_is_colored_from_another_folder(elsewhere):
    folder, path = elsewhere
    draw(0).convert("L").save(folder / "old.jpg")
    done = run("-m", "ltbc", "colorize", "old.jpg", "--out", "new.png", "--backend", "reference", cwd=folder, path=path)
    assert done.returncode == 0, done.stderr
    assert Image.open(folder / "new.png").mode == "RGB"


IMPORTS = """
import sys
from pathlib import Path
from ltbc.colorize import Colorizer, page
from ltbc.kernels import conv3x3
from ltbc.nn.study import page as study
from ltbc.train import evaluate, pack
page.build(Colorizer(backend="reference"), Path("files"), 1)
print({name for name in sys.modules if name.split(".")[0] in ("kernels", "nn", "train", "colorize")}, conv3x3.__file__)
"""


def test_the_package_is_imported_beside_files_named_as_ours(elsewhere):
    folder, path = elsewhere
    done = run("-c", IMPORTS, cwd=folder, path=path)
    assert done.stdout == f"set() {path[0]}/ltbc/kernels/conv3x3/__init__.py\n", done.stderr
    done = run("-c", "import os, sys; sys.path.remove(''); import kernels, ltbc.kernels; print(kernels.somebody)",
               cwd=folder, path=path)
    assert done.stdout == "else\n", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_its_name(name, capsys):
    try:
        assert main([name, "--help"]) == 0
    except SystemExit as ended:
        assert not ended.code
    assert capsys.readouterr().out.startswith(f"usage: ltbc {name} ")


def test_the_command_lists_what_there_is(capsys):
    assert main([]) == main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(told.count(f"\n  {name} ") == 2 for name in COMMANDS)
    assert main(["--version"]) == 0 and capsys.readouterr().out.endswith(f"ltbc {ltbc.__version__}\n")
    assert main(["colorise"]) == 2 and "no command 'colorise'; there are colorize, " in capsys.readouterr().err


@pytest.mark.parametrize("module, name", [
    ("ltbc", "ltbc COMMAND"), ("colorize", "ltbc colorize"), ("train", "ltbc train"), ("train.pack", "ltbc pack"),
    ("nn", "ltbc layers"), ("train.experiments", "python -m train.experiments"), ("bench", "python -m bench"),
])
def test_programs_start_as_modules_in_the_projects_folder(module, name):
    done = run("-m", module, "--help")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"usage: {name} ")


@pytest.mark.parametrize("module", [*ROOMS, "kernels.conv3x3", "train.run"])
def test_a_room_without_its_house_says_so(module):
    room = module.split(".")[0]
    last = run("-c", f"import {module}").stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: import ltbc.{room}, not {room}: "), last


def test_a_copy_without_links_says_so(tmp_path):
    shutil.copytree(ROOT / "ltbc", tmp_path / "ltbc", ignore=shutil.ignore_patterns(*ROOMS))
    for room in ROOMS:
        (tmp_path / "ltbc" / room).write_text(f"../{room}")
    last = run("-m", "ltbc", cwd=tmp_path).stderr.splitlines()[-1]
    assert "this copy lost the project's links" in last and "git clone -c core.symlinks=true" in last


def test_versions_that_differ_from_those_tested_are_named():
    written = "# comment\nnumba==0.68.1\nnumpy==2.4.6\nscipy==1.17.1\n"
    assert differences({"numba": "0.68.1", "numpy": "2.4.6", "scipy": "1.17.1"}, written) == []
    assert differences({"numba": "0.69.0", "numpy": "2.4.6", "tqdm": "4.70.1"}, written) == [
        "numba 0.69.0 is installed, 0.68.1 is written", "tqdm 4.70.1 is installed, nothing is written",
        "scipy is written, and nothing asks for it here",
    ]
    assert "\nllvmlite==" in FILE.read_text()  # what dependencies ask for, too
