"""The gpu backend compiled for GPUs that are not there: what must hold of its machine code at the network's layers."""

import json
import os
import subprocess
import sys

import pytest

from ltbc.nn.architecture import Settings, layers
from tests import ROOT

pytest.importorskip("triton", reason="the gpu backend's kernels need Triton: pip install 'triton>=3.6'")

ARCHS = ("sm_80", "sm_90", "sm_100")
PRODUCTS = ("forward_kernel", "backward_data_kernel", "backward_weights_kernel")
MULTIPLIED = ("conv3x3", "upsample2x_conv3x3", "fusion")
AROUND = {"upsample2x", "chroma_loss", "class_loss", "adadelta", "color"}  # what is no layer
STRIDE_1 = ("low.1", "low.3", "low.5", "global.1", "global.3", "mid.0", "mid.1", "color.0", "color.2")  # 64 channels up
OTHERS = "low.[0-2]|fusion|color.[14]|class.0|loss"  # every kernel in other dtypes, at some layers

pytestmark = pytest.mark.slow


def report(folder, *options):
    """The rows of `python -m bench gpu`, made in processes that do not interpret; Triton caches what it compiled."""
    file = folder / "rows.json"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "bench", "gpu", "--json", file, *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Every kernel at every layer of the network, batch 1 and 128."""
    return report(tmp_path_factory.mktemp("compiled"), "--arch", *ARCHS, "--batch", "1", "128")


def name(row):
    return f"{row['layer']} {row['op']} {row['kernel']} {row['arch']} {row['dtype']} batch {row['batch']}"


def test_all_layers_and_what_is_around_them_are_compiled_for_every_gpu_and_batch(rows):
    specs = [spec for part in layers(Settings(classes=("one",))).values() for spec in part]
    for arch in ARCHS:
        for batch in (1, 128):
            of = [r for r in rows if (r["arch"], r["batch"]) == (arch, batch)]
            assert {(r["layer"], r["op"]) for r in of if r["op"] not in AROUND} == {(s.name, s.op) for s in specs}
            assert {r["op"] for r in of} >= AROUND and len(of) > 90


def test_no_kernel_spills(rows):
    assert not [name(r) for r in rows if r["spills"]]


def test_no_kernel_adds_in_an_order_of_its_own(rows):
    assert not [name(r) for r in rows if r["atomics"]]


def test_convolutions_and_fusion_multiply_on_tensor_cores(rows):
    few = ("low.0", "color.4")
    wanted = [r for r in rows if r["op"] in MULTIPLIED and r["kernel"] in PRODUCTS and r["layer"] not in few]
    assert len(wanted) == len(ARCHS) * 2 * len(PRODUCTS) * 16, "16 layers: 13 convolutions, 2 with upsampling, fusion"
    assert not [name(r) for r in wanted if not r["tensor_instructions"]]


def test_no_operand_of_a_pending_product_is_rewritten(rows):
    """Both operands of Hopper's products lie in shared memory; see `bench/measure/wgmma.py`."""
    assert sum(r["wgmma_instructions"] > 0 for r in rows) > 50
    assert not [name(r) for r in rows if r["rewritten_operands"]]
    assert not [name(r) for r in rows if r["kernel"] in PRODUCTS and r["register_operands"]]


def test_boxes_are_copied_by_tma(rows):
    wanted = [
        r for r in rows
        if r["arch"] != "sm_80" and r["layer"] in STRIDE_1 and r["kernel"] in ("forward_kernel", "backward_data_kernel")
    ]
    assert len(wanted) == 2 * 2 * 2 * len(STRIDE_1) and not [name(r) for r in wanted if not r["tma_instructions"]]


def test_loops_of_forward_are_short(rows):
    wanted = [r for r in rows if r["layer"] in STRIDE_1 and r["kernel"] == "forward_kernel"]
    assert len(wanted) == len(ARCHS) * 2 * len(STRIDE_1) and all(r["loop_instructions"] for r in wanted)
    assert not {
        name(r): r["loop_instructions"] for r in wanted if r["loop_instructions"] > 30 * r["tensor_instructions"]
    }


def test_other_dtypes_multiply_on_tensor_cores_and_do_not_spill(tmp_path):
    """float32 with exact products has none that tensor cores could compute."""
    options = ["--dtype", "float16", "tf32", "float32", "--batch", "128", "--layer", OTHERS]
    rows = report(tmp_path, "--arch", *ARCHS, *options)
    assert not [name(r) for r in rows if r["spills"]]
    wanted = [r for r in rows if r["op"] in MULTIPLIED and r["kernel"] in PRODUCTS and r["dtype"] != "float32"]
    assert len(wanted) == len(ARCHS) * 2 * len(PRODUCTS) * 4
    assert not [name(r) for r in wanted if not r["tensor_instructions"]]
    assert not {name(r): r["rewritten_operands"] for r in rows if r["rewritten_operands"]}
    exact = [r for r in rows if r["dtype"] == "float32"]
    assert exact and not [name(r) for r in exact if r["tensor_instructions"]]


def test_rows_say_what_was_asked(rows):
    keys = "kernel layer arch dtype registers spills shared_bytes occupancy tensor_instructions loop_instructions"
    keys += " copy_instructions flop bytes_min roofline_s"
    for row in rows:
        assert set(keys.split()) <= row.keys() and 0 < row["occupancy"] <= 1, row
        assert min(row["roofline_s"].values()) > 0, row
    wanted = ("low.1", "forward_kernel", "sm_90", 128)
    low1 = next(r for r in rows if (r["layer"], r["kernel"], r["arch"], r["batch"]) == wanted)
    pixels = 128 * 112 * 112
    assert low1["flop"] == 2 * 9 * 64 * 128 * pixels
    assert low1["bytes_min"] == 2 * pixels * (64 + 128) + 2 * 9 * 64 * 128 + 4 * 128
