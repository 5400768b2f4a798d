"""The gpu backend compiled for GPUs that are not there: what must hold of its machine code at the network's layers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="the gpu backend's kernels need Triton: pip install 'triton>=3.6'")

ROOT = Path(__file__).parent.parent
PRODUCTS = ("forward_kernel", "backward_data_kernel", "backward_weights_kernel")
SOME = "low.[0-35]|global.0|fusion|color.[1-4]"  # on sm_80 and sm_100: every kernel, not every layer
STRIDE_1 = ("low.1", "low.3", "low.5", "global.1", "global.3", "mid.0", "mid.1", "color.0", "color.2")  # 64 channels up


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The report of `python -m bench gpu`, made in processes that do not interpret; Triton caches what it compiled."""
    file = tmp_path_factory.mktemp("compiled") / "rows.json"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    found = []
    for options in (["sm_90", "--batch", "1", "128"], ["sm_80", "sm_100", "--batch", "128", "--layer", SOME]):
        command = [sys.executable, "-m", "bench.gpu", "--json", file, "--arch", *options]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        found += json.loads(file.read_text())
    return found


def name(row):
    return f"{row['layer']} {row['kernel']} {row['arch']} batch {row['batch']}"


def test_no_kernel_spills(rows):
    assert len(rows) > 100 and not [name(r) for r in rows if r["spills"]]


def test_convolutions_and_fusion_multiply_on_tensor_cores(rows):
    few = ("low.0", "color.4")
    wanted = [r for r in rows if r["kernel"] in PRODUCTS and r["layer"] not in few]
    assert {r["arch"] for r in wanted} == {"sm_80", "sm_90", "sm_100"} and len(wanted) > 60
    assert not [name(r) for r in wanted if not r["tensor_instructions"]]


def test_boxes_are_copied_by_tma(rows):
    wanted = [
        r for r in rows
        if r["arch"] != "sm_80" and r["layer"] in STRIDE_1 and r["kernel"] in ("forward_kernel", "backward_data_kernel")
    ]  # fmt: skip
    assert len(wanted) >= 2 * len(STRIDE_1) and not [name(r) for r in wanted if not r["tma_instructions"]]


def test_loops_of_forward_are_short(rows):
    wanted = [r for r in rows if r["layer"] in STRIDE_1 and r["kernel"] == "forward_kernel"]
    assert {r["arch"] for r in wanted} == {"sm_80", "sm_90", "sm_100"} and all(r["loop_instructions"] for r in wanted)
    assert not {
        name(r): r["loop_instructions"] for r in wanted if r["loop_instructions"] > 30 * r["tensor_instructions"]
    }


def test_rows_say_what_was_asked(rows):
    keys = "kernel layer arch dtype registers spills shared_bytes occupancy tensor_instructions loop_instructions"
    keys += " copy_instructions flop bytes_min roofline_s"
    for row in rows:
        assert set(keys.split()) <= row.keys() and 0 < row["occupancy"] <= 1 and row["roofline_s"] > 0, row
    wanted = ("low.1", "forward_kernel", "sm_90", 128)
    low1 = next(r for r in rows if (r["layer"], r["kernel"], r["arch"], r["batch"]) == wanted)
    pixels = 128 * 112 * 112
    assert low1["flop"] == 2 * 9 * 64 * 128 * pixels
    assert low1["bytes_min"] == 2 * pixels * (64 + 128) + 2 * 9 * 64 * 128 + 4 * 128
