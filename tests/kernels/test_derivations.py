"""The derivations beside the kernels: their examples run, print the numbers that the text shows, and agree with the
contracts in the numbers of the equations."""

import io
import re
from contextlib import redirect_stdout
from importlib import import_module

import numpy as np
import pytest

from ltbc.nn.study import pictures
from tests import ROOT

KERNELS = ROOT / "kernels"
OPERATIONS = sorted(path.parent.name for path in KERNELS.glob("*/reference.py"))
BLOCKS = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
STEP = re.compile(r"^    .* \(([a-z])\)$", re.MULTILINE)
NUMBER = re.compile(r"\((\d+)\)(?:  |\s*$)", re.MULTILINE)  # at the end of a line, as equations carry theirs


def text_of(op: str) -> str:
    return (KERNELS / op / "README.md").read_text()


def differences(text: str) -> list[str]:
    """What the examples of a text print and the text does not show; one namespace for all of them."""
    names: dict = {}
    found, blocks = [], BLOCKS.findall(text)
    for (kind, code), (next_kind, shown) in zip(blocks, [*blocks[1:], ("", "")]):
        if kind == "python":
            printed = io.StringIO()
            with redirect_stdout(printed):
                exec(code, names)
            if next_kind != "text" or printed.getvalue() != shown:
                found.append(f"printed:\n{printed.getvalue()}shown:\n{shown}")
    return found


def equations(text: str) -> list[int]:
    return list(map(int, NUMBER.findall(BLOCKS.sub("", text))))


@pytest.mark.parametrize("op", OPERATIONS)
def test_the_examples_print_what_the_text_shows(op):
    text = text_of(op)
    assert "```python" in text
    assert differences(text) == []


def test_a_wrong_number_in_a_text_is_found():
    right = "```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n"
    assert differences(right) == []
    assert differences(right.replace("42", "43")) and differences(right.partition("```text")[0])


@pytest.mark.parametrize("op", OPERATIONS)
def test_equations_of_the_contract_keep_their_numbers(op):
    contract, derived = equations(import_module(f"ltbc.kernels.{op}").__doc__), equations(text_of(op))
    assert contract == derived[: len(contract)] and contract
    assert derived == list(range(1, len(derived) + 1)), "in reading order, without gaps"


@pytest.mark.parametrize("op", OPERATIONS)
def test_steps_of_the_derivation_are_lettered_in_reading_order(op):
    text = BLOCKS.sub("", text_of(op))
    letters = STEP.findall(text)
    assert letters == list("abcdefghijklmnopqrstuvwxyz"[: len(letters)])
    used = set(re.findall(r"\b(?:by|with|By|Put|and|to|into|in) \(([a-z])\)", text))
    assert used <= set(letters), "no step is named that is not there"


def test_the_matrices_of_winograd_are_those_that_are_derived():
    pytest.importorskip("numba")
    from ltbc.kernels.conv3x3.winograd import F4

    names: dict = {}
    for kind, code in BLOCKS.findall(text_of("conv3x3")):
        if kind == "python":
            with redirect_stdout(io.StringIO()):
                exec(code, names)
    for ours, derived in ((F4.bt, "BT"), (F4.g, "G"), (F4.a, "A")):
        assert np.allclose(ours, names[derived], rtol=1e-12, atol=1e-12)


def test_every_picture_can_be_drawn_again(tmp_path):
    for op in OPERATIONS:
        (tmp_path / "kernels" / op).mkdir(parents=True)
    (tmp_path / "nn").mkdir()
    pictures.main(tmp_path / "kernels")
    drawn = sorted(tmp_path.glob("kernels/*/picture.svg"))
    assert [path.parent.name for path in drawn] == OPERATIONS
    drawn += [tmp_path / "nn/gradient.svg"]
    assert all(path.stat().st_size < 200_000 and b"</svg>" in path.read_bytes()[-20:] for path in drawn)


@pytest.mark.parametrize("op", OPERATIONS)
def test_links_and_pictures_exist(op):
    for path in re.findall(r"\]\(([^)#]+)\)", text_of(op)):
        assert (KERNELS / op / path).exists(), path
