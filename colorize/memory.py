"""How much memory this process takes and how much it may take."""

import os
import resource
import sys
from pathlib import Path

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SHARE = 0.8  # of what the machine has left: other programs may want some soon
CGROUP = Path("/sys/fs/cgroup")  # where a container's limit stands


def parse(text: str) -> int:
    """Bytes of "2G", "1.5G", "800M" or a plain number. Raises ValueError for anything else."""
    number, unit = (text[:-1], UNITS[text[-1].upper()]) if text[-1:].upper() in UNITS else (text, 1)
    size = float(number) * unit
    if not 0 < size < 1 << 60:
        raise ValueError(f"must be like 2G or 800M, got {text}")
    return int(size)


def told(size: float) -> str:
    """Bytes for the user."""
    return f"{size / UNITS['G']:.1f}G" if size >= UNITS["G"] else f"{max(1, round(size / UNITS['M']))}M"


def resident() -> int:
    """Bytes of memory that this process holds now (where that is not told: at most so far)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit_of_machine() -> int:
    """Bytes that this process may take in all without others having to go without."""
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for free in (available(), container()):
        left = min(left, left if free is None else free)
    return resident() + int(SHARE * left)


def available() -> int | None:
    """What Linux can give without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def container() -> int | None:
    """What a container's limit leaves, where there is one."""
    try:
        most, now = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return max(0, int(most) - int(now))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None
