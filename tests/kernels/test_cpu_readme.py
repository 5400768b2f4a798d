"""kernels/cpu/README.md follows one product: its figures, its names and the lines that it quotes are so."""

import ctypes
import re

import numba
import numpy as np
import pytest
from ml_dtypes import bfloat16
from numba import types

from ltbc.kernels import conv3x3
from ltbc.kernels.arrays import address
from ltbc.kernels.cpu import in_place, matrix, threads, windows
from ltbc.kernels.cpu.buffers import image
from ltbc.kernels.cpu.machine import CHANNEL_STEP, LANES, LEVEL, LEVELS, LIKE
from ltbc.kernels.cpu.tile import STEP, tile_of_rows
from tests import ROOT
from tests.kernels.test_derivations import BLOCKS, differences

FOLDER = ROOT / "kernels" / "cpu"
TEXT = (FOLDER / "README.md").read_text()
PROSE = " ".join(BLOCKS.sub("", TEXT).split())
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]
NAMES = [row[0] for row in ROWS[2:]]
COLUMNS = {title: [row[i] for row in ROWS[2:]] for i, title in enumerate(ROWS[0]) if title}
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(bfloat16)}

N, H, W, CIN, COUT = 1, 6, 28, 8, 40
I, J, C, O, R, S = 3, 5, 2, 37, 0, 2  # noqa: E741  x[0, I, J, C] meets w[R, S, C, O]
MERGED = 3 * CIN  # numbers of a row of the window


def figures(level, dtype):
    """The table's column as it follows from the level's row and the sizes."""
    panel, size, per_step = 2 * level.lanes, dtype.itemsize, 4 // dtype.itemsize
    term = (3 * R + S) * CIN + C
    where, column = O // panel, O % panel
    step_bytes = 4 * panel
    panel_bytes = 3 * MERGED // per_step * step_bytes
    pixel = CIN * size
    row = (-(-W // 4) * 4 + 2) * pixel
    anchor = J + 1 - S  # of the same row of y
    return [
        level.name, level.lanes, panel, -(-COUT // panel), level.rows,
        (I + 1) * row + (J + 1) * pixel + C * size,
        where, term // per_step, column, panel_bytes,
        where * panel_bytes + term // per_step * step_bytes + column * 4 + term % per_step * size,
        MERGED // per_step, anchor % level.rows, f"{column // level.lanes}, {column % level.lanes}",
        2 * level.rows * 2, "vdpbf16ps" if per_step == 2 else "vfmadd231ps",
    ]


def case(dtype):
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, H, W, CIN)).astype(dtype), rng.normal(size=(3, 3, CIN, COUT)).astype(dtype)


def bits(at, dtype):
    return np.frombuffer((ctypes.c_char * dtype.itemsize).from_address(at), dtype)[0]


def columns_of_this_cpu():
    """Those whose figures this process can look at: another level takes the same way where its vectors are alike."""
    found = []
    for title, column in COLUMNS.items():
        level = next(level for level in LEVELS if level.name == column[0])
        alike = (level.lanes, level.rows) == (LEVEL.lanes, LEVEL.rows) and not LEVEL.tiles
        if alike and (title.startswith("float32") or LEVEL.bf16):
            found.append(title)
    return found


@pytest.mark.parametrize("title", COLUMNS)
def test_the_table_follows_from_the_levels(title):
    level = next(level for level in LEVELS if level.name == COLUMNS[title][0])
    want = [str(figure) for figure in figures(level, DTYPES[title.split(",")[0]])]
    assert dict(zip(NAMES, COLUMNS[title], strict=True)) == dict(zip(NAMES, want, strict=True))


@pytest.mark.parametrize("title", columns_of_this_cpu())
def test_the_numbers_lie_where_the_table_says(title, monkeypatch):
    dtype, told = DTYPES[title.split(",")[0]], dict(zip(NAMES, COLUMNS[title]))
    x, w = case(dtype)
    launched = []

    def forall(kernel, units, scratch, /, **arguments):
        launched.append((kernel, units, arguments))
        threads.forall(kernel, units, scratch, **arguments)

    monkeypatch.setattr(windows, "forall", forall)
    before = threads.threads()
    try:
        for n in (1, 2, 3):
            threads.set_threads(n)
            prepared = conv3x3.prepare(w, backend="cpu")
            conv3x3.forward(x, w, np.zeros(COUT, np.float32), prepared=prepared, backend="cpu")
    finally:
        threads.set_threads(before)
    assert conv3x3.method(dtype, 1, CIN, COUT, (N, H, W), backend="cpu").y == "windows"
    assert [(kernel, units) for kernel, units, _ in launched] == [(in_place.multiply_in_place, H)] * 3
    arguments = launched[-1][2]
    assert arguments["runs"][0, R].tolist() == [R, 0, int(told["steps of a row of the window"])]
    assert arguments["phases"][0, 3] == int(told["bytes of a panel"])
    in_x = int(told["x[0,3,5,2] lies so many bytes from the border's first pixel"])
    in_w = int(told["w[0,2,2,37] lies so many bytes from the first panel"])
    padded = image(x)
    assert bits(padded.start + in_x, dtype) == x[0, I, J, C]
    assert bits(address(prepared.forms["forward"]) + in_w, dtype) == w[R, S, C, O]


def test_the_figures_of_the_text():
    """Sentences with the figures as they are; and what is written as a sum is one."""
    level, dtype = next(level for level in LEVELS if level.name == "avx512"), DTYPES["float32"]
    padded, panel = image(case(dtype)[0]), 2 * level.lanes
    row, pixel = padded.strides.row, padded.strides.pixel
    _, _, _, _, rows, in_x, _, step, _, panel_bytes, in_w, steps, *_ = figures(level, dtype)
    for sentence in (
        f"an image of {H} x {W} pixels and {CIN} channels with {COUT} filters",
        f"rows of {row // pixel} pixels, of {CIN} channels",
        f"{I + 1} * {row} + {J + 1} * {pixel} + {C} * 4 = {in_x} bytes",
        f"{R} * {MERGED} + {S} * {CIN} + {C} = {step}",
        f"The sum over (r, s, c) has {9 * CIN} terms",
        f"its {3 * MERGED} steps one after another, {4 * panel} bytes each",
        f"1 * {panel_bytes} + {step} * {4 * panel} + {O % panel} * 4 = {in_w} bytes",
        f"{W} anchors of a row fill register tiles", f"the work is {H} *units*", f"first = {I + 1}, last = {I + 2}",
        f"three neighboring pixels, {MERGED} numbers", f"{W} rows and {MERGED} columns with {steps} steps",
        f"begins {pixel} bytes behind", f"column {step} of row {J + 1 - S}",
        f"{I + 1} * {row} + {J + 1 - S} * {pixel} + {step} * 4 = {in_x} again",
        f"the {W} rows into {W // rows} tiles of {rows}", f"{rows} rows of 2 vectors",
        f"filters {panel} to {panel + level.lanes - 1} of step {step}",
        f"{level.lanes} products and {level.lanes} additions", f"2 * {rows} * 2 = {2 * rows * 2} such instructions",
        "After three runs, 72 products", "which begin at 32",
    ):
        assert sentence in PROSE, sentence
    sums = re.findall(r"((?:\d+ \* \d+(?: [+*] )?)+\d*) = (\d+)", PROSE)
    assert len(sums) == 5 and all(eval(terms) == int(total) for terms, total in sums)
    assert matrix.rows_computed(W) <= in_place.WASTE * W and MERGED % CHANNEL_STEP == 0


def one_tile(like, a, a_row, steps, b, c):
    tile_of_rows(like, a, a_row, steps, b, c, STEP, 0)


@pytest.mark.parametrize("title", columns_of_this_cpu())
def test_the_innermost_loop(title):
    """All of its products are the instruction that the page names, and no sum goes to memory and back."""
    if "fma" not in LEVEL.features:
        pytest.skip(f"level {LEVEL.name} has no such instruction")
    told, like = dict(zip(NAMES, COLUMNS[title])), LIKE[DTYPES[title.split(",")[0]]]
    kernel, signature = numba.njit(nogil=True)(one_tile), (numba.typeof(like), *[types.int64] * 5)
    kernel.compile(signature)
    code = kernel.inspect_asm(signature)
    loops = re.findall(r"^(\.LBB\d+_\d+):\n((?:(?!\.LBB).*\n)*?)\tj\w+\t\1\n", code, re.MULTILINE)
    products = int(told["products of two steps in the innermost loop"])
    loop, = (body for _, body in loops if body.count(told["the instruction"]) >= products)
    assert loop.count(f"\t{told['the instruction']}\t") == products == len(re.findall(r"\tv(?:fmadd|dpbf16)", loop))
    register = {16: "zmm", 8: "ymm"}[LANES]
    assert not re.search(rf"\tvmov\w+\t%{register}\d+, ", loop), "a sum is stored"
    assert "(%rsp)" not in loop, "a sum is loaded"


def test_the_names_of_the_text():
    """In the files that are named beside them; all others in one of those."""
    linked = {path: (FOLDER / path).read_text() for path in re.findall(r"\]\(([\w./]+\.py)\)", TEXT)}
    placed = re.findall(r"`(\w+)`\)?,? \(?in \[`[\w./]+`\]\(([\w./]+)\)", PROSE)
    assert len(placed) >= 14
    for name, path in placed:
        assert re.search(rf"^ *(?:def|class) {name}\b|^{name}\b.* = |^[\w, ]*\b{name}\b[\w, ]* = ", linked[path],
                         re.MULTILINE), f"{name} in {path}"
    everything = "\n".join([*linked.values(), (FOLDER / "machine.py").read_text(), (FOLDER / "ceiling.py").read_text()])
    for name in re.findall(r"`([A-Za-z_]\w*)`", PROSE):
        known = name == "float32" or any(name in column for column in COLUMNS.values())
        assert known or re.search(rf"\b{name}\b", everything), name


def test_settings_are_named():
    """Every variable of ours, in both READMEs; every level where they are explained."""
    read = {name for path in (*ROOT.glob("kernels/**/*.py"), *ROOT.glob("train/**/*.py"))
            for name in re.findall(r"""environ(?:\.get\(|\[)"(LTBC_\w+)""", path.read_text())}
    settings = (ROOT / "kernels" / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    assert read == {"LTBC_CPU", "LTBC_THREADS", "LTBC_CACHE"}
    for name in read:
        assert f"| `{name}` |" in settings and f"`{name}=" in (ROOT / "README.md").read_text()
    assert all(f"`{level.name}`" in settings for level in LEVELS)


def test_the_lines_that_are_quoted():
    sources = {line.strip() for path in ROOT.glob("kernels/**/*.py") for line in path.read_text().splitlines()}
    *quoted, example = [code for kind, code in BLOCKS.findall(TEXT) if kind == "python"]
    assert len(quoted) == 4
    for line in "".join(quoted).splitlines():
        assert line.strip() in sources, line
    shown = TEXT[TEXT.index(example) - len("```python\n"):]
    assert differences(shown) == []


def test_equations_that_kernels_name():
    """Where a cpu file names equations "of the README", its folder's has them."""
    found = 0
    for path in ROOT.glob("kernels/*/*.py"):
        named = re.findall(r"((?:\(\w+\)(?: and |, )?)+) of the README", " ".join(path.read_text().split("\n# ")))
        for name in re.findall(r"\((\w+)\)", "".join(named)):
            found += 1
            assert re.search(rf"\({name}\)$", (path.parent / "README.md").read_text(), re.MULTILINE), (name, path)
    assert found >= 4
