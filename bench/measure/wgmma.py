"""Whether a kernel for Hopper rewrites registers that a pending product of its tensor cores (wgmma) still reads.

wgmma takes its second operand from shared memory, its first from there or from registers, and works on while the
threads go on. Up to version 3.7 Triton lets the next trip of a loop write the registers of a product that no wait has
covered (its issue 9433): undefined, and silent. `in_ttgir` finds kernels that can come to that, `in_sass` the
instruction that does.
"""

import re
from typing import NamedTuple

from bench.measure.sass import disassembled

DOT = re.compile(r"ttng\.warp_group_dot (?P<a>%[\w#]+),.*? : (?P<left>!?[\w.]+)<")
WAIT = re.compile(r"ttng\.warp_group_dot_wait .*pendings = (\d+)")
INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P[0-9T]+\s+)?(?P<name>[A-Z][\w.]*)\s*(?P<operands>[^;]*)")
LABEL = re.compile(r"\s*(\.L_x_\d+):")
WIDTHS = {"128": 4, "M88.4": 4, "64": 2, "M88.2": 2, "WIDE": 2}  # registers that an instruction of that name writes
LEFT = 4  # registers a thread of 64 rows of the first operand: 16 columns of 16 bits, 8 of TF32


class Step(NamedTuple):
    """An instruction: its whole name, its operands, and where it jumps to, if it does."""

    name: str
    operands: str
    target: int | None

    def writes(self) -> range:
        first = re.match(r"R(\d+)\b", self.operands)
        width = next((w for part, w in WIDTHS.items() if f".{part}" in self.name), 1)
        return range(int(first[1]), int(first[1]) + width) if first else range(0)

    def left(self) -> range:
        """Registers of the first operand, where this is a product that has it there."""
        found = re.match(r"R\d+, R(\d+),", self.operands) if self.name.startswith("HGMMA") else None
        return range(int(found[1]), int(found[1]) + LEFT) if found else range(0)


def register_operands(ttgir: str) -> int:
    """How many products have their first operand in registers."""
    return sum(match["left"] == "tensor" for match in DOT.finditer(ttgir))


def in_ttgir(ttgir: str) -> bool:
    """Whether products have their first operand in registers and a wait leaves some of them pending."""
    return register_operands(ttgir) > 0 and any(int(n) > 0 for n in WAIT.findall(ttgir))


def waits(ttgir: str) -> bool:
    """Whether every product is waited for before the next begins."""
    found = [int(n) for n in WAIT.findall(ttgir)]
    return bool(found) and max(found) == 0


def rewritten(asm: dict) -> list[str]:
    """Of a compiled kernel: what `in_sass` finds in it, or that `in_ttgir` does; nothing where all is well."""
    if "warp_group_dot" not in asm["ttgir"]:
        return []
    return in_sass(disassembled(asm["cubin"])) or ["the compiler leaves it open"] * in_ttgir(asm["ttgir"])


def in_sass(text: str) -> list[str]:
    """Every instruction that writes a register of a pending product, as "LDSM.16.M88.4 R156 in the product of R156"."""
    found: dict[str, None] = {}
    code = steps(text)
    pending: list[range] = []
    for k, step in enumerate(code):
        pending = follow(step, pending, found)
        if step.target is not None and step.target <= k:  # once more through the loop, with what is pending at its end
            again = list(pending)
            for inner in code[step.target : k]:
                again = follow(inner, again, found)
    return list(found)


def follow(step: Step, pending: list[range], found: dict[str, None]) -> list[range]:
    """First operands of the products pending after `step`, one a group; adds to `found` what it destroys."""
    if step.name.startswith("HGMMA"):
        return [*pending, step.left()]
    if step.name.startswith("WARPGROUP.DEPBAR"):
        left = int(step.operands.rpartition(",")[2], 16)
        return pending[-left:] if left else []
    written = step.writes()
    for registers in pending:
        if set(registers) & set(written):
            found[f"{step.name} R{written[0]} in the product of R{registers[0]}"] = None
    return pending


def steps(text: str) -> list[Step]:
    """The instructions of `nvdisasm -c`."""
    lines: list[tuple[str, str]] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(lines)
        elif match := INSTRUCTION.match(line):
            lines.append((match["name"], match["operands"].strip()))
    jumps = [re.search(r"\.L_x_\d+", operands) if name.startswith("BRA") else None for name, operands in lines]
    return [Step(*line, labels.get(jump[0]) if jump else None) for line, jump in zip(lines, jumps)]
