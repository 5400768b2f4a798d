"""What texts name is there: files and folders, modules and what is in them, programs, links of READMEs."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from tests import ROOT

FOLDERS = ("ltbc", "kernels", "nn", "train", "colorize", "bench", "lessons", "tests", "gradcheck")
FILES = [f for f in (*ROOT.glob("*"), *(f for name in FOLDERS for f in (ROOT / name).rglob("*"))) if f.is_file()]
PATH = re.compile(rf"(?<![\w./<-])(?:{'|'.join(FOLDERS)})(?:/[\w.*<>-]*[\w*>])+")
FILE = re.compile(r"`([\w*]+\.(?:py|json|js|css|html|svg|c))`")
NAME = r"\.(?!md\b|csv\b)[a-z_]\w*"  # gradcheck.md is a file
PROGRAM = rf"(?<=-m )(?:{'|'.join(FOLDERS)})(?:{NAME})*"
MODULE = re.compile(rf"(?<![\w./-])(?:ltbc|gradcheck|bench|tests)(?:{NAME})+|{PROGRAM}")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
EXAMPLES = {"my_kernel.py"}  # of a user


def text_of(path: Path) -> str:
    """All of a README or Makefile; of a program its comments and docstrings."""
    source = path.read_text()
    if path.suffix != ".py":
        return source
    comments = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    nodes = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
    return "\n".join([*comments, *filter(None, map(ast.get_docstring, nodes))])


def missing(text: str, folder: Path = ROOT) -> list[str]:
    """What a text in a README of that folder, or in a program, names and is not there."""
    found = [name for name in PATH.findall(text) if not any(ROOT.glob(re.sub(r"<\w+>", "*", name)))]
    found += [name for name in FILE.findall(text) if not any(file.match(name) for file in FILES)]
    found += [name for name in MODULE.findall(text) if not is_known(name)]
    found += [name for name in LINK.findall(text) if not (folder / name).exists()]
    return [name for name in found if name not in EXAMPLES]


def is_known(name: str) -> bool:
    """Whether a dotted name is a module, or something that its module's file speaks of."""
    place = ROOT
    for part in name.split("."):
        if place.is_dir() and (place / part).is_dir():
            place /= part
        elif place.is_dir() and (place / f"{part}.py").is_file():
            place /= f"{part}.py"
        else:
            file = place / "__init__.py" if place.is_dir() else place
            return file.is_file() and re.search(rf"\b{part}\b", file.read_text()) is not None
    return True


def test_what_texts_name_is_there():
    texts = [f for f in FILES if f.suffix in (".py", ".md", ".toml") or f.name == "Makefile"]
    assert {"README.md", "Makefile"} <= {f.name for f in texts} and len(texts) > 150
    wrong = {str(f.relative_to(ROOT)): missing(text_of(f), f.parent if f.suffix == ".md" else ROOT) for f in texts}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("text, name", [
    ("see kernels/launch.py.", "kernels/launch.py"), ("`kernels/<op>/notes.md`", "kernels/<op>/notes.md"),
    ("tests/test_gpu_*.py", "tests/test_gpu_*.py"), ("`simd_tile.py` and", "simd_tile.py"),
    ("python -m train.upsampling", "train.upsampling"), ("ltbc.kernels.color.encoded", "ltbc.kernels.color.encoded"),
    ("of ltbc.nn.study.launch", "ltbc.nn.study.launch"), ("[the paper](PAPERS.md)", "PAPERS.md"),
])
def test_what_is_not_there_is_found(text, name):
    assert missing(text) == [name]
    assert missing("kernels/gpu/launch.py, `<op>/tiles.json`, `tile.py`, python -m bench network, -m nn.study.pictures,"
                   " ltbc.kernels.color.encode, kernels/<op>/README.md, [paper](nn/PAPER.md)") == []
