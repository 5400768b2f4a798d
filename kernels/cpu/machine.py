"""What the CPU can do: levels of instructions, one of which kernels are compiled for.

The level, a row of `LEVELS`, is chosen once at import (the environment variable LTBC_CPU forces a lower one). Code asks
what a level has, never which one it is.
"""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from llvmlite import binding
from numba.core import config as numba_config

config: Any = numba_config  # its names are made at run time
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
HALF, FLOAT = np.uint16(0), np.float32(0)  # elements of both as kernels see them: the type, not 0, selects their code
LIKE = {BFLOAT16: HALF, FLOAT32: FLOAT}


class Pairs(NamedTuple):
    """LLVM's names of instructions on pairs of bfloat16: products added to float32; two vectors made bfloat16."""

    multiply_add: str
    narrow: str


class Level(NamedTuple):
    """Instructions that kernels are compiled for, and what follows from them.

    machines: what `platform` calls such CPUs, all if there are none; features: LLVM's names of what the CPU must have.
    lanes: float32 elements of a vector. rows: of a register tile two vectors wide, whose sums and factors fill the
    registers; step_rows: of one whose left factor lies step by step, a divisor or a multiple of `lanes`. bf16: where
    bfloat16 is multiplied in pairs; else it becomes float32 first. tiles: products in tile registers. masked: parts of
    a vector are read as fast as whole ones. by_element: a vector is multiplied by one element of another. target: CPU
    and features to compile for where a better CPU is told to take this level; by default its own.
    """

    name: str
    machines: tuple[str, ...]
    features: tuple[str, ...]
    lanes: int
    rows: int
    step_rows: int
    bf16: Pairs | None = None
    tiles: bool = False
    masked: bool = False
    by_element: bool = False
    target: tuple[str, str] | None = None


X86 = ("x86_64",)
AVX2 = ("avx2", "fma")
AVX512 = (*AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
AVX512_BF16 = (*AVX512, "avx512bf16")
PAIRS = Pairs("llvm.x86.avx512bf16.dpbf16ps.512", "llvm.x86.avx512bf16.cvtne2ps2bf16.512")
LEVELS = (  # best first
    Level("amx", X86, (*AVX512_BF16, "amx-tile", "amx-bf16"), 16, 14, 8, bf16=PAIRS, tiles=True, masked=True),
    Level("avx512_bf16", X86, AVX512_BF16, 16, 14, 8, bf16=PAIRS, masked=True),
    Level("avx512", X86, AVX512, 16, 14, 8, masked=True),
    Level("avx2", X86, AVX2, 8, 6, 4, target=("x86-64-v3", "+avx2,+fma")),
    Level("neon", ("aarch64", "arm64"), (), 4, 12, 8, by_element=True),  # no such CPU is without it
    Level("generic", (), (), 8, 6, 4, target=("generic", "")),
)


def available() -> tuple[Level, ...]:
    """The levels that this CPU has, best first."""
    has = binding.get_host_cpu_features()
    return tuple(
        level for level in LEVELS
        if (not level.machines or platform.machine() in level.machines) and all(has.get(f) for f in level.features)
        and (not level.tiles or tiles_permitted())
    )


def tiles_permitted() -> bool:
    """Asks Linux for the tile registers (arch_prctl ARCH_REQ_XCOMP_PERM), which it hands out on demand only."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


def choose_level() -> Level:
    """LTBC_CPU where it is set and this CPU can do it, else the best level."""
    levels, wanted = available(), os.environ.get("LTBC_CPU") or None
    found = next((level for level in levels if wanted in (None, level.name)), None)
    if found is None:
        names = ", ".join(level.name for level in levels)
        raise ValueError(f"cpu: LTBC_CPU must be one of {names} on this CPU, got {wanted!r}")
    if found.target and found is not levels[0]:  # compile for a CPU that has no more than that
        config.CPU_NAME, config.CPU_FEATURES = found.target
    return found


LEVEL = choose_level()
LANES = LEVEL.lanes
PANEL = 2 * LANES  # output columns that one register tile covers
ARITHMETIC = BFLOAT16 if LEVEL.bf16 else FLOAT32  # of products where the storage is bfloat16
SPARE_ROWS = 4  # of zeros behind the last image: a tile for whoever has one too few
CHANNEL_STEP = 32 if LEVEL.tiles else 4  # reduction lengths are filled with zeros up to a multiple of it


def cpu_name() -> str:
    """The processor's own name, with the one that the compiler has for it."""
    try:
        info = Path("/proc/cpuinfo").read_text()
        name = next(line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({binding.get_host_cpu_name()})"
