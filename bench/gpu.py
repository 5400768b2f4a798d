"""Compiles the gpu backend for GPUs that are not there, and says how well: `python -m bench gpu --arch sm_90`.

For every layer of the network, and what is around them, the operation's own launching code runs on arrays that are
never touched; what it would launch is compiled instead. So what is reported is what runs: the same tiles, descriptors
and specializations.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import json
import math
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401 (teaches NumPy the name bfloat16)
import numpy as np

from bench.measure import predict, wgmma
from bench.measure.gpu_cases import cases
from bench.measure.sass import ATOMICS, COPIES, TENSOR, TMA, report
from ltbc.kernels.arrays import sum_dtype
from ltbc.kernels.gpu.targets import Pointer, Target

DTYPES = ("bfloat16", "float16", "float32", "tf32")  # the last: float32, with products in TF32


class Gpu(NamedTuple):
    """Peak rates by data sheet (dense, without sparsity) of the cards of one architecture, which differ in memory, and
    limits of one multiprocessor."""

    flops: dict[str, float]  # a second, by dtype
    bandwidth: dict[str, float]  # bytes a second, by card
    shared: int  # bytes
    warps: int = 64
    registers: int = 65536


def rates(half: float, tf32: float, float32: float) -> dict[str, float]:
    return {"bfloat16": half, "float16": half, "tf32": tf32, "float32": float32}


GPUS = {
    "sm_80": Gpu(rates(312e12, 156e12, 19.5e12), {"A100 80 GB SXM": 2.04e12}, 164 << 10),
    "sm_90": Gpu(rates(989e12, 494e12, 67e12), {"H100 SXM": 3.35e12, "H200 SXM": 4.8e12}, 228 << 10),
    "sm_100": Gpu(rates(2250e12, 1125e12, 80e12), {"B200 SXM": 8.0e12}, 228 << 10),
}


class OfflineDriver:
    """Just enough of a driver for Triton to compile: it names an architecture and never touches a device."""

    def __init__(self, capability: int):
        self.capability = capability

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


class Offline(Target):
    """A target that compiles instead of running; `launches` holds kernel, compiled kernel and arguments."""

    pointer, arrays = Pointer, np

    def __init__(self, capability: int):
        self.capability = capability
        self.launches: list[tuple[str, Any, list]] = []
        self.grids: list[int] = []  # programs of each

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)  # the system gives memory only to what is touched, and nothing is

    def place(self) -> tuple[int, int]:
        return 0, 0

    def run(self, kernel: Any, grid: tuple[int, ...], args: list, options: dict) -> None:
        from ltbc.kernels.gpu import launch

        launch.triton.runtime.driver.set_active(OfflineDriver(self.capability))
        with launch.without_torch():
            self.grids.append(math.prod(grid))
            self.launches.append((kernel.fn.__name__, kernel.warmup(*args, **options, grid=grid), args))


def compile_case(job: tuple[str, int, str, str, str, list[int]]) -> list[dict]:
    """Rows of the report for one architecture, side, dtype, operation and layer, at each batch: by one process, so
    that what two batches have in common is compiled once."""
    from ltbc.kernels.gpu import launch

    arch, side, dtype, op, layer, batches = job
    launch.set_float32_products("tf32" if dtype == "tf32" else "exact")
    storage = np.dtype("float32" if dtype == "tf32" else dtype)

    def empty(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return np.empty(shape, sum_dtype(storage) if dtype == "wide" else dtype or storage)

    rows = []
    for batch in batches:
        case = next(c for c in cases(batch, side) if (c.op, c.layer) == (op, layer))
        target = Offline(int(arch[3:]))
        launch.use(target)
        case.call(import_module(f"ltbc.kernels.{op}.gpu"), empty)
        for (name, compiled, args), programs in zip(target.launches, target.grids):
            row = {"kernel": name, "layer": layer, "op": op, "batch": batch, "arch": arch, "dtype": dtype}
            row |= describe(compiled, args, GPUS[arch], case.flop, dtype)
            rows.append(row | {"programs": programs} | predicted(compiled, row, programs))
    return rows


def describe(compiled: Any, args: list, gpu: Gpu, flop: int, dtype: str) -> dict:
    """What one compiled kernel consists of, and how fast it could be at best on each card. Instructions are those of
    the main loop where there is one, tensor_instructions all that multiply on tensor cores: wgmma_instructions are
    Hopper's own, mma_instructions those of before. bytes_min counts every array once; a
    kernel without tensor cores has no share of the flop."""
    found, meta = report(compiled.asm["cubin"]), compiled.metadata
    counted = found.loop if sum(found.loop[t] for t in TENSOR) else found.whole
    tensor = sum(counted[t] for t in TENSOR)
    pointers = [p for p in (getattr(a, "base", a) for a in args) if isinstance(p, Pointer)]
    arrays = {p.address: p.array.nbytes for p in pointers}
    flop = flop if "tt.dot" in compiled.asm["ttir"] else 0
    return {
        "registers": found.registers, "spills": found.spills, "shared_bytes": meta.shared,
        "occupancy": occupancy(gpu, found.registers, meta.shared, meta.num_warps),
        "tensor_instructions": tensor, "wgmma_instructions": counted["HGMMA"], "mma_instructions": counted["HMMA"],
        "register_operands": wgmma.register_operands(compiled.asm["ttgir"]),
        "rewritten_operands": wgmma.rewritten(compiled.asm), "loop_instructions": sum(found.loop.values()),
        "copy_instructions": sum(counted[c] for c in COPIES), "tma_instructions": counted[TMA],
        "atomics": sum(found.whole[a] for a in ATOMICS),
        "flop": flop, "bytes_min": sum(arrays.values()),
        "roofline_s": {
            card: max(flop / gpu.flops[dtype], sum(arrays.values()) / rate) for card, rate in gpu.bandwidth.items()
        },
    }


def predicted(compiled: Any, row: dict, programs: int) -> dict:
    """What the model of `bench/measure/predict.py` has for this row, if it is of an H100's kind of GPU."""
    if row["arch"] != "sm_90":
        return {}
    found, warps = report(compiled.asm["cubin"]), compiled.metadata.num_warps
    in_loop = any(found.loop[name] for name in TENSOR)
    counted = found.loop if in_loop else found.whole
    whole, loop = sum(found.whole.values()), sum(found.loop.values())
    work = predict.products(wgmma.disassembled(compiled.asm["cubin"]), counted, warps) if row["flop"] else 0
    kernel = predict.Kernel(
        programs, warps, max(1, round(row["occupancy"] * GPUS["sm_90"].warps / warps)),
        loop if in_loop else 0, whole - (loop if in_loop else 0), work,
        row["shared_bytes"] // max(1, compiled.metadata.num_stages), wgmma.waits(compiled.asm["ttgir"]),
        row["flop"], row["bytes_min"],
    )
    seconds = predict.seconds(kernel, GPUS["sm_90"].bandwidth["H100 SXM"])
    return {"predicted_s": seconds, "predicted_share": row["flop"] / seconds / GPUS["sm_90"].flops["bfloat16"]}


def occupancy(gpu: Gpu, registers: int, shared: int, warps: int) -> float:
    """Share of the warps a multiprocessor can hold: registers go by 8 a thread, a program takes 1 KB of its own."""
    by_registers = gpu.registers // (-(-max(registers, 1) // 8) * 8 * 32 * warps)
    by_shared = gpu.shared // (shared + 1024)
    return min(by_registers, by_shared, gpu.warps // warps, 32) * warps / gpu.warps


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__)
    parser.add_argument("--arch", nargs="+", default=["sm_90"], choices=list(GPUS))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 128])
    parser.add_argument("--size", type=int, default=224, help="side of the images, a multiple of 8 (default 224)")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16"], choices=DTYPES)
    parser.add_argument("--layer", default="", help="only layers whose names match this regular expression")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    parser.add_argument("--predict", action="store_true", help="sm_90: what a model on paper expects on an H100")
    parser.add_argument("--json", help="write the rows to this file")
    options = parser.parse_args(argv)
    if find_spec("triton") is None:
        parser.error("needs Triton: pip install 'triton>=3.6'")
    if options.size < 8 or options.size % 8 or min(options.batch) < 1 or options.jobs < 1:
        parser.error("--size must be a multiple of 8, --batch and --jobs at least 1")
    rows = compile_all(options.arch, options.batch, options.size, options.dtype, options.layer, options.jobs)
    for row in rows:
        print(line(row) + (modeled(row) if options.predict else ""))
    for batch in options.batch if options.predict else ():
        print(f"batch {batch}: " + predict.line([r for r in rows if "predicted_s" in r and r["batch"] == batch]))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


def compile_all(
    archs: list[str], batches: list[int], side: int, dtypes: list[str], pattern: str = "", jobs: int = 1
) -> list[dict]:
    """The rows for all of these, in order."""
    found = [c for c in cases(1, side) if re.search(pattern, c.layer)]
    work = [(a, side, d, c.op, c.layer, batches) for a in archs for d in dtypes for c in found]
    if jobs == 1:
        return [row for job in work for row in compile_case(job)]
    with ProcessPoolExecutor(jobs) as pool:
        return [row for rows in pool.map(compile_case, work) for row in rows]


def modeled(row: dict) -> str:
    return f"  model {row['predicted_s'] * 1e3:.3f} ms {row['predicted_share']:.0%}" if "predicted_s" in row else ""


def line(row: dict) -> str:
    """One row for people."""
    return (
        f"{row['layer']:11} {row['batch']:4} {row['arch']:6} {row['dtype']:8} {row['op']:18} {row['kernel']:23} "
        f"{row['registers']:3} registers {row['spills']:3} spills {row['shared_bytes'] >> 10:3} KB "
        f"{row['occupancy']:4.0%} occupancy  loop {row['loop_instructions']:4}: {row['wgmma_instructions']:3} HGMMA "
        f"{row['mma_instructions']:3} HMMA {row['copy_instructions']:2} copies  {row['flop'] / 1e9:7.1f} GFLOP  "
        + ", ".join(f"{seconds * 1e3:.3f} ms {card.split()[0]}" for card, seconds in row["roofline_s"].items())
        + "  REWRITES " * bool(row["rewritten_operands"]) + "; ".join(row["rewritten_operands"])
    )


if __name__ == "__main__":
    main(sys.argv[1:])
