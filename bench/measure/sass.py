"""What a compiled kernel consists of: instructions of its main loop, registers, spills. Works on cubins, without a GPU.

Triton brings `nvdisasm` and `cuobjdump` along. The main loop is the innermost natural loop with most tensor-core
instructions (or, where there are none, the innermost loop with most instructions).
"""

import re
import subprocess
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

TENSOR = ("HMMA", "HGMMA", "UTCHMMA", "QGMMA", "IMMA", "DMMA")
TMA = "UTMALDG"  # copies a box described by a tensor descriptor
COPIES = (TMA, "UBLKCP", "LDGSTS")  # asynchronous, into shared memory
SPILLS = ("STL", "LDL")
ATOMICS = ("ATOM", "ATOMG", "RED", "REDG")  # on global memory: sums in an order of their own


class Report(NamedTuple):
    """Of one kernel; counts of instructions by name, in the whole kernel and in its main loop (empty without one)."""

    registers: int
    whole: Counter
    loop: Counter

    @property
    def spills(self) -> int:
        return sum(self.whole[name] for name in SPILLS)


@cache
def report(cubin: bytes) -> Report:
    """Disassembles and counts."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = tool("cuobjdump", "--dump-resource-usage", file.name)
    instructions, targets = parse(disassembled(cubin))
    blocks = basic_blocks(instructions, targets)
    body = main_loop(blocks)
    loop = Counter(name for k in body for name in blocks[k].names)
    registers = re.search(r"REG:(\d+)", usage)
    return Report(int(registers[1]) if registers else 0, Counter(name for name, *_ in instructions), loop)


@cache
def disassembled(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return tool("nvdisasm", "-c", file.name)


def tool(name: str, *arguments: str) -> str:
    import triton.backends.nvidia as nvidia

    path = Path(nvidia.__file__).parent / "bin" / name
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=True).stdout


def parse(text: str) -> tuple[list[tuple[str, bool, str]], dict[str, int]]:
    """(name, whether it has a predicate, operands) of every instruction; the instruction that each label stands at."""
    instructions: list[tuple[str, bool, str]] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif match := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P[0-9T]+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*)", line):
            instructions.append((match[2].split(".")[0], match[1] is not None, match[3]))
    return instructions, labels


class Block(NamedTuple):
    """Instructions that run one after another, and the blocks that may come next."""

    names: list[str]
    following: list[int]


def basic_blocks(instructions: list[tuple[str, bool, str]], labels: dict[str, int]) -> list[Block]:
    ends = {k + 1 for k, (name, *_) in enumerate(instructions) if name in ("BRA", "EXIT", "RET", "BRX", "CALL")}
    starts = sorted({0, *labels.values(), *ends} - {len(instructions)})
    number = {start: k for k, start in enumerate(starts)}
    blocks = []
    for start, stop in zip(starts, [*starts[1:], len(instructions)]):
        name, predicated, operands = instructions[stop - 1]
        following = []
        target = re.search(r"\.L_x_\d+", operands) if name == "BRA" else None
        if target and labels.get(target[0]) in number:
            following.append(number[labels[target[0]]])
        unconditional = name in ("BRA", "EXIT", "RET", "BRX") and not predicated and "P" not in operands.split("`")[0]
        if stop in number and not unconditional:
            following.append(number[stop])
        blocks.append(Block([name for name, *_ in instructions[start:stop]], following))
    return blocks


def main_loop(blocks: list[Block]) -> set[int]:
    """Blocks of the loop described above; empty if there is none."""
    best: tuple[tuple[int, int, int], set[int]] = ((0, 0, 0), set())
    for body in natural_loops(blocks):
        names = Counter(name for k in body for name in blocks[k].names)
        tensor, size = sum(names[t] for t in TENSOR), sum(names.values())
        rank = (tensor, -size, 0) if tensor else (0, 0, size)
        if not best[1] or rank > best[0]:
            best = rank, body
    return best[1]


def natural_loops(blocks: list[Block]) -> list[set[int]]:
    """For every edge back to a block that dominates its origin: the blocks that reach the edge without passing it.
    Loops of one head are one loop. A block that waits by jumping to itself is no loop worth counting."""
    before: list[list[int]] = [[] for _ in blocks]
    for k, block in enumerate(blocks):
        for f in block.following:
            before[f].append(k)
    everything = (1 << len(blocks)) - 1
    dominators = [1] + [everything] * (len(blocks) - 1)
    changed = True
    while changed:
        changed = False
        for k in range(1, len(blocks)):
            new = everything
            for b in before[k]:
                new &= dominators[b]
            new |= 1 << k
            changed |= new != dominators[k]
            dominators[k] = new
    loops: dict[int, set[int]] = {}
    for k, block in enumerate(blocks):
        for head in block.following:
            if dominators[k] >> head & 1 and (k != head or len(block.names) > 8):
                body, todo = loops.setdefault(head, {head}), [k]
                while todo:
                    b = todo.pop()
                    if b not in body:
                        body.add(b)
                        todo += before[b]
    return list(loops.values())
