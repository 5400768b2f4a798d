"""What benchmarks read from a made-up system and of made-up compiled kernels; the search for tiles, step by step."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bench import BenchError, gpu, options, tune
from bench.measure import machine
from bench.measure.cases import cases
from bench.measure.gpu_cases import cases as gpu_cases
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.gpu.targets import Pointer
from ltbc.nn import Settings


def test_sizes_of_caches(monkeypatch, tmp_path):
    for name, text in (("index0", "48K\n"), ("index1", "2M"), ("index2", "512K")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(text)
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path)
    assert machine.cache_bytes() == 2 << 20
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "none")
    assert machine.cache_bytes() == 64 << 20


def test_a_gpu_is_named_with_its_clocks(monkeypatch):
    said = SimpleNamespace(stdout="NVIDIA H200, 1980, 3201\nsecond, 1, 2\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: said)
    assert machine.gpu_name() == "NVIDIA H200 (SM up to 1980 MHz, memory 3201 MHz)"
    said.stdout = ""
    assert machine.gpu_name() == ""


def test_a_checkout_that_differs_is_marked(monkeypatch):
    for dirty, name in ((0, "abc1234"), (1, "abc1234+")):
        codes = {"diff": dirty, "rev-parse": 0}
        monkeypatch.setattr(machine.subprocess, "run", lambda command, codes=codes, **_: SimpleNamespace(
            stdout="abc1234\n", returncode=codes[command[3]]))
        assert machine.commit() == name


@pytest.mark.parametrize("fields, levels, name", [
    ({"model name": "Intel(R) X", "cpu family": "6", "model": "143"}, ["amx", "avx2", "generic"],
     "Intel(R) X (family 6 model 143; amx avx2 generic)"),
    ({"model name": "Old", "cpu family": "6", "model": "1"}, [], "Old (family 6 model 1)"),
    ({"processor": "0", "Features": "fp asimd"}, ["neon", "generic"], "aarch64 (neon generic)"),
])
def test_a_cpu_is_named_with_what_it_can(fields, levels, name, monkeypatch):
    monkeypatch.setattr(machine, "cpu_fields", lambda: fields)
    monkeypatch.setattr(machine, "levels", lambda: levels)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.cpu_name() == name


@pytest.mark.parametrize("wanted, threads", [("3", 3), ("", 5), ("many", None), ("0", None)])
def test_threads_are_those_that_are_wanted(wanted, threads, monkeypatch):
    monkeypatch.setenv("LTBC_THREADS", wanted)
    monkeypatch.setattr(machine, "usable_cores", lambda: 5)
    if threads:
        assert machine.thread_count() == threads
        return
    with pytest.raises(BenchError, match=f"LTBC_THREADS must be a number from 1 on, got '{wanted}'"):
        machine.thread_count()


@pytest.mark.parametrize("level, dtype", [("bf16", "bfloat16"), ("", "float32")])
def test_the_default_dtype_is_the_programs(level, dtype, monkeypatch):
    monkeypatch.setattr("ltbc.kernels.cpu.machine.LEVEL", LEVEL._replace(bf16=level))
    asked = SimpleNamespace(backend=["cpu"], dtype=None)
    assert options.chosen(asked) == [("cpu", dtype)]
    assert options.chosen(asked, every=True) == [("cpu", "bfloat16"), ("cpu", "float32")]


def test_levels_are_those_of_the_backend(monkeypatch):
    assert machine.levels()[-1] == "generic" and LEVEL.name in machine.levels()
    monkeypatch.setitem(sys.modules, "ltbc.kernels.cpu.machine", None)
    assert machine.levels() == []


@pytest.mark.parametrize("registers, shared, warps, share", [
    (128, 0, 4, 16 / 64), (129, 0, 4, 12 / 64), (32, 100 << 10, 4, 8 / 64), (32, 0, 8, 1.0), (32, 0, 1, 32 / 64),
    (100, 0, 4, 16 / 64), (255, 227 << 10, 8, 8 / 64), (0, 0, 4, 1.0),
])
def test_occupancy(registers, shared, warps, share):
    """65,536 registers, 228 KB, 64 warps and 32 programs a multiprocessor."""
    assert gpu.occupancy(gpu.GPUS["sm_90"], registers, shared, warps) == share


def test_what_is_said_of_a_compiled_kernel(monkeypatch):
    loop = {"HGMMA": 4, "UTMALDG": 2, "FADD": 10}
    found = SimpleNamespace(registers=128, spills=2, whole={"ATOM": 3, "RED": 1}, loop=loop)
    for part in (found.whole, found.loop):
        part.update({name: part.get(name, 0) for name in (*gpu.TENSOR, *gpu.COPIES, *gpu.ATOMICS)})
    monkeypatch.setattr(gpu, "report", lambda cubin: found)
    metadata = SimpleNamespace(shared=64 << 10, num_warps=4)
    compiled = SimpleNamespace(asm={"cubin": b"", "ttir": "tt.dot", "ttgir": ""}, metadata=metadata)
    x = np.zeros((1000, 6), np.float32)
    args = [Pointer(x), SimpleNamespace(base=Pointer(x)), Pointer(np.zeros(100, np.float16)), 7]
    row = gpu.describe(compiled, args, gpu.GPUS["sm_90"], 989 * 10**9, "bfloat16")
    assert row == {
        "registers": 128, "spills": 2, "shared_bytes": 64 << 10, "occupancy": 12 / 64, "tensor_instructions": 4,
        "wgmma_instructions": 4, "mma_instructions": 0, "register_operands": 0, "rewritten_operands": [],
        "loop_instructions": 16, "copy_instructions": 2, "tma_instructions": 2, "atomics": 4, "flop": 989 * 10**9,
        "bytes_min": 24_200, "roofline_s": dict.fromkeys(("H100 SXM", "H200 SXM"), pytest.approx(1e-3))}
    compiled.asm["ttir"] = ""
    row = gpu.describe(compiled, args, gpu.GPUS["sm_90"], 1, "bfloat16")
    assert row["flop"] == 0 and row["roofline_s"] == {"H100 SXM": 24_200 / 3.35e12, "H200 SXM": 24_200 / 4.8e12}
    named = row | {"layer": "low.1", "batch": 8, "arch": "sm_90", "dtype": "bfloat16", "op": "conv3x3", "kernel": "k"}
    seconds = {"H100 SXM": 2e-3, "H200 SXM": 1e-3}
    changed = {"flop": 2 * 10**9, "roofline_s": seconds, "rewritten_operands": ["LDSM R1 in the product of R0"]}
    assert " ".join(gpu.line(named | changed).split()) == (
        "low.1 8 sm_90 bfloat16 conv3x3 k 128 registers 2 spills 64 KB 19% occupancy loop 16: 4 HGMMA 0 HMMA 2 copies "
        "2.0 GFLOP 2.000 ms H100, 1.000 ms H200 REWRITES LDSM R1 in the product of R0")


def test_flops_of_what_is_compiled_are_those_that_are_measured():
    settings = Settings(classes=tuple(map(str, range(205))))
    measured = {(c.op, c.layer): c.flops for c in cases(settings, 224, 2) if c.work == "forward" and c.flops}
    found = {(c.op, c.layer): c.flop for c in gpu_cases(2, 224) if c.flop}
    fused = ("fusion", "fusion")  # of each of its two products: the larger
    assert found.pop(fused) == 2 * 2 * 28 * 28 * 256 * 256 and measured.pop(fused) > 2 * 2 * 28 * 28 * 256 * 256
    assert found == measured


TILE = {"BLOCK_P": 64, "BLOCK_O": 128, "BLOCK_C": 32, "num_warps": 4, "num_stages": 3}


def test_neighbors_of_a_tile():
    found = [{k: v for k, v in other.items() if v != TILE[k]} for other in tune.neighbors(TILE)]
    assert found == [
        {"BLOCK_P": 32}, {"BLOCK_P": 128}, {"BLOCK_O": 64}, {"BLOCK_O": 256}, {"BLOCK_C": 16},
        {"BLOCK_C": 64}, {"num_warps": 2}, {"num_warps": 8}, {"num_stages": 2}, {"num_stages": 4}]
    assert tune.accumulators(TILE) == 64 * 128 / 128 and tune.accumulators({"BLOCK_P": 256}) == 0
    assert [*tune.neighbors({"num_warps": 1})] == [{"num_warps": 2}]


@pytest.mark.parametrize("share, taken", [(0.97, True), (0.99, False)])
def test_a_tile_must_be_faster_by_two_percent(share, taken):
    best, time = tune.climb(TILE, lambda tile: share if tile["BLOCK_P"] == 128 else 1.0)
    assert (best["BLOCK_P"] == 128) is taken and time == (share if taken else 1.0)


def test_conditions_of_a_row_are_neither_tile_nor_note():
    assert tune.conditions({"arch": 90, "bytes": 2, **TILE, "measured": "x"}) == (("arch", 90), ("bytes", 2))
