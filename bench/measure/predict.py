"""How long a compiled kernel might take on an H100: a model on paper, which no measurement stands behind yet.

A program passes its loop so often that all programs together make the kernel's products. One trip of all programs that
a multiprocessor holds takes the longest of three: tensor cores multiplying, four schedulers issuing an instruction a
cycle each, and the tile coming from L2; where a product is waited for in its own trip, the first two one after the
other. To that come filling the pipeline and what stands outside of the loop, once a program. Programs come in waves,
and no kernel is faster than its bytes once through memory. What it leaves out: bank conflicts, clocks that fall under
load, misses of L2, and everything else that is not in this text.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

CLOCK = 1.755e9  # cycles a second, of an H100 SXM's data sheet at boost
MULTIPROCESSORS, SCHEDULERS = 132, 4
TENSOR = 989e12 / CLOCK / MULTIPROCESSORS  # operations a cycle of a multiprocessor, dense bfloat16
L2 = 5120 / MULTIPROCESSORS  # bytes a cycle of a multiprocessor: an A100's, by its white paper. Assumed
LATENCY = 1000  # cycles from a copy's start to its tile in shared memory, from DRAM. Assumed
HGMMA = re.compile(r"HGMMA\.(\d+)x(\d+)x(\d+)")
HMMA = re.compile(r"HMMA\.(16)(8)(16|8|4)\.")


class Kernel(NamedTuple):
    """What the model looks at."""

    programs: int
    warps: int
    resident: int  # programs that a multiprocessor holds at once
    loop: int  # instructions of one trip, a warp
    outside: int  # the others
    products: int  # operations of one trip, a program
    tile: int  # bytes that a trip copies
    waits: bool  # for its own products in every trip
    flop: int
    bytes: int


def seconds(kernel: Kernel, bandwidth: float) -> float:
    """The model's time; bandwidth: of the card's memory, bytes a second."""
    trips = kernel.flop / (kernel.programs * kernel.products) if kernel.products else 1.0
    tensor = kernel.resident * kernel.products / TENSOR
    issue = kernel.resident * kernel.loop * kernel.warps / SCHEDULERS
    copies = kernel.resident * kernel.tile / L2
    trip = max(tensor + issue, copies) if kernel.waits else max(tensor, issue, copies)
    once = LATENCY + kernel.resident * kernel.outside * kernel.warps / SCHEDULERS
    waves = math.ceil(kernel.programs / (MULTIPROCESSORS * kernel.resident))
    return max(waves * (trips * trip + once) / CLOCK, kernel.bytes / bandwidth)


def products(sass: str, counted: Mapping[str, int], warps: int) -> int:
    """Operations of a program in the instructions counted, all of the shape of the first in the text. HGMMA is one
    of four warps."""
    if counted["HGMMA"] and (found := HGMMA.search(sass)):
        return 2 * math.prod(map(int, found.groups())) * counted["HGMMA"] * warps // 4
    if counted["HMMA"] and (found := HMMA.search(sass)):
        return 2 * math.prod(map(int, found.groups())) * counted["HMMA"] * warps
    return 0


def line(rows: list[dict[str, Any]]) -> str:
    """All kernels of a step together, and each kind's share of the peak, as the model has it."""
    text = [f"model, not measured: all kernels {sum(r['predicted_s'] for r in rows) * 1e3:.2f} ms"]
    for kind in ("forward_kernel", "backward_data_kernel", "backward_weights_kernel"):
        of = [r for r in rows if r["kernel"] == kind and r["flop"] and "conv3x3" in r["op"]]
        if of:
            shares = sorted(r["flop"] / r["predicted_s"] / 989e12 for r in of)
            text.append(f"{kind} {sum(r['predicted_s'] for r in of) * 1e3:.2f} ms, {shares[0]:.0%} to {shares[-1]:.0%}")
    return "; ".join(text)
