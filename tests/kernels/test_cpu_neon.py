"""A level that this CPU lacks: kernels for NEON are compiled for ARM and read, and run in four lanes on this CPU."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow  # compiles everything anew

COMPILE = """
import json, platform
from llvmlite import binding

binding.initialize_all_targets()
binding.initialize_all_asmprinters()
binding.get_process_triple = lambda: "aarch64-unknown-linux-gnu"
platform.machine = lambda: "aarch64"
import numpy as np
from ltbc.kernels import conv3x3
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.cpu.threads import rehearsal

assert LEVEL.name == "neon"
with rehearsal() as noted:
    for cin, cout in ((64, 64), (20, 24), (20, 7), (1, 64), (64, 2)):
        x, w = np.ones((2, 24, 24 if cout > 7 else 11, cin), np.float32), np.ones((3, 3, cin, cout), np.float32)
        y = conv3x3.forward(x, w, np.zeros(cout, np.float32), backend="cpu")
        conv3x3.backward(y, x, w, y, backend="cpu")
code = {}
for kernel, signature in noted:
    name = kernel.py_func.__name__
    if name.startswith("multiply") and name not in code:
        kernel.compile(signature)
        code[name] = kernel.inspect_asm(signature)
print(json.dumps(code))
"""

PRETEND = """
import platform, sys
import numba, pytest
machine, platform.machine = platform.machine, lambda: "aarch64"
from ltbc.kernels.cpu.machine import LEVEL
platform.machine = machine
assert LEVEL.lanes == 4
sys.exit(pytest.main(sys.argv[1:]))
"""

SELF_LOOP = re.compile(r"^(\.LBB\d+_\d+):\n((?:(?!\.LBB).*\n)*?)\tb\.\w+\t\1\n", re.MULTILINE)
PRODUCTS = {  # of elements of vectors with vectors, in the loop of a kernel's largest tile: two steps of it
    "multiply_windows": 48, "multiply_in_place": 48, "multiply_tiles": 48, "multiply_slices": 32, "multiply_runs": 32,
    "multiply_thin": 18, "multiply_few_inputs": 16, "multiply_few_outputs": 0,
}


def run(*arguments, **environment):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ | environment, capture_output=True,
                          text=True)


def test_neon_compiles(tmp_path):
    """For a plain ARM CPU: products are vector instructions, their sums stay in registers, nothing is left to libm."""
    found = run("-c", COMPILE, LTBC_CACHE=str(tmp_path), LTBC_CPU="", NUMBA_CPU_NAME="generic",
                NUMBA_CPU_FEATURES="+neon")
    assert found.returncode == 0, found.stderr
    code = json.loads(found.stdout)
    assert code.keys() == PRODUCTS.keys()
    for name, text in code.items():
        kernel = re.split(r"^\t\.globl\t.*$", text, flags=re.MULTILINE)[1]
        calls = set(re.findall(r"\tbl\t(\w+)", kernel))
        assert calls <= {"memcpy", "NRT_incref", "NRT_decref"}, name
        assert not re.search(r"\tfmla?dd\t", kernel), f"{name}: products of single numbers"
        assert len(re.findall(r"\tfml[as]\tv\d+\.4s", kernel)) >= 18, name
        loops = [body for _, body in SELF_LOOP.findall(kernel)]
        tiles = [body for body in loops if by_element(body) >= max(1, PRODUCTS[name] - 2)]
        assert bool(tiles) == bool(PRODUCTS[name]), name
        wide = [body for body in tiles if "\tprfm\t" in body] or tiles  # not those of one vector: few columns take them
        assert not any(map(spills, wide)), f"{name}: sums are moved to memory and back"


def by_element(body):
    return len(re.findall(r"\tfmla\tv\d+\.4s, v\d+\.4s, v\d+\.s\[", body))


def spills(body):
    return len(re.findall(r"\t(?:st|ld)[rp]\tq.*\[sp", body))


def test_four_lanes():
    """The large cases of every operation at NEON's level, whose code knows no instruction of ARM's: compiled for this
    CPU."""
    chosen = "(test_large or winograd_in_blocks) and float32 or adadelta or loss"
    found = run("-c", PRETEND, "-q", "-x", "-p", "no:cacheprovider", "tests/kernels/test_cpu_layers.py",
                "tests/kernels/test_cpu_pointwise.py", "-k", chosen, LTBC_CPU="")
    assert found.returncode == 0 and " passed" in found.stdout, found.stdout[-3000:]
