"""How many CPU cores this process may use."""

import math
import os
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
VERSION_1, VERSION_2 = ("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max",)


def cores() -> int:
    """Those it may run on, or fewer where a container's share of CPU time is smaller (rounded up)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, shares(GROUPS, OWN))]))


def shares(groups: Path, own: Path) -> list[float]:
    """CPU seconds a second that Linux's control groups, version 1 or 2, leave to the process: a list of limits."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []
    found = []
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        base, names = (groups / "cpu", VERSION_1) if controllers else (groups, VERSION_2)
        place = base / path.strip("/")
        for folder in (place, *place.parents):  # a group has no more than those above it
            if folder.is_relative_to(base):
                found += share(folder, names)
    return found


def share(folder: Path, names: tuple[str, ...]) -> list[float]:
    """[quota / period] in these files of a group, [] without one."""
    try:
        quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
    except (OSError, ValueError):  # "max 100000", or no such file
        return []
    return [quota / period] if quota > 0 and period > 0 else []
