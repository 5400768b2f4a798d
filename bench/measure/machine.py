"""What the figures were measured on: hardware, versions, date, commit."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import BenchError
from ltbc.kernels.cpu.cores import cores as usable_cores

ZEN = {  # family, models by sixteens
    "Zen": (23, (0, 1, 2, 5)), "Zen 2": (23, (3, 6, 7, 9, 10)), "Zen 3": (25, (0, 2, 4, 5)),
    "Zen 4": (25, (1, 6, 7, 10)), "Zen 5": (26, (0, 1, 2, 4, 6, 7)),
}
PACKAGES = ("numpy", "numba", "torch", "cupy-cuda13x", "triton", "scipy", "jax")


@cache
def machine() -> dict[str, Any]:
    """Name of the processor, numbers of cores and threads, versions of what computes, date and commit of this one."""
    return {
        "cpu": cpu_name(), "cores": core_count(), "threads": thread_count(), "gpu": gpu_name(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := version_of(name))},
        "date": date.today().isoformat(), "commit": commit(),
    }


def cpu_name() -> str:
    """Model name, microarchitecture of AMD's (whose names often leave it out), family and model, from /proc/cpuinfo
    where there is one; and the levels of instructions that the cpu backend finds."""
    if not (found := cpu_fields()):
        return platform.processor() or platform.machine()
    family = f"family {found['cpu family']} model {found.get('model')}" if "cpu family" in found else ""
    name = ", ".join(filter(None, (found.get("model name", platform.machine()), microarchitecture(found))))
    return f"{name} ({'; '.join(filter(None, (family, ' '.join(levels()))))})"


def levels() -> list[str]:
    """Of instructions that the cpu backend has code for here, best first; none where Numba is missing."""
    try:
        from ltbc.kernels.cpu.machine import available
    except ImportError:
        return []
    return [level.name for level in available()]


def cpu_fields() -> dict[str, str]:
    """Of the first core in /proc/cpuinfo, by name."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    return found


def microarchitecture(found: dict[str, str]) -> str:
    """ "Zen 5" and the like for AMD's processors, from the fields of /proc/cpuinfo; "" for what is not known.

    Families and models as in Linux, arch/x86/kernel/cpu/amd.c.
    """
    if found.get("vendor_id") != "AuthenticAMD":
        return ""
    family, sixteen = int(found.get("cpu family", 0)), int(found.get("model", 0)) >> 4
    return next((name for name, (of, sixteens) in ZEN.items() if of == family and sixteen in sixteens), "")


def short_name() -> str:
    """Of a folder of results for this machine: "zen5-2-cores", "nvidia-h200"."""
    if gpu := gpu_name().partition(" (")[0]:
        return slug(gpu)
    found = cpu_fields()
    name = microarchitecture(found).replace(" ", "") or found.get("model name", platform.machine()).partition(" @")[0]
    return slug(f"{name} {core_count()} cores")


def slug(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def cores() -> set[int]:
    """Numbers of the cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def core_count() -> int:
    return len(cores())


def thread_count() -> int:
    """Threads that either side computes on: LTBC_THREADS, else as many as this process may use cores. Raises BenchError
    for a number that is none."""
    wanted = os.environ.get("LTBC_THREADS") or str(usable_cores())
    if not wanted.isdecimal() or not int(wanted):
        raise BenchError(f"LTBC_THREADS must be a number from 1 on, got {wanted!r}")
    return int(wanted)


def where() -> str:
    """The first words of every command's header: what runs here, on how many threads."""
    found = machine()
    return found["gpu"] or f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads"


def cache_bytes() -> int:
    """Size of the last cache of the first core; 64 MiB where Linux does not say."""
    found = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        found.append(int(text.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(text[-1], 0))
    return max(found, default=64 << 20)


def gpu_name() -> str:
    """Name and highest clocks (MHz) of the GPU, as nvidia-smi gives them; "" without one. What they are at a moment is
    no part of a machine's name: see `clocks`."""
    query = ["nvidia-smi", "--query-gpu=name,clocks.max.sm,clocks.max.mem", "--format=csv,noheader,nounits"]
    try:
        line = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""
    name, most, memory = (part.strip() for part in line.split(","))
    return f"{name} (SM up to {most} MHz, memory {memory} MHz)"


@contextmanager
def clocks(file: Path) -> Iterator[None]:
    """While this lasts, the GPU's clocks, power and temperature are written to `file` once a second, where there is
    one: whether a figure was measured at full speed shows there."""
    query = ["nvidia-smi", "--query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu", "--format=csv"]
    with file.open("a") as out:
        try:
            sampler = subprocess.Popen([*query, "--loop=1"], stdout=out, stderr=subprocess.DEVNULL)
        except OSError:
            yield
            return
        try:
            yield
        finally:
            sampler.terminate()
            sampler.wait()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Short hash of this checkout, with a + where tracked files differ from it (other than results and README.md, which
    change while a machine is measured); "unknown" outside of git."""
    try:
        git = ["git", "-C", str(Path(__file__).parents[2])]
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        others = ["--", ".", ":!bench/results", ":!README.md"]
        dirty = subprocess.run([*git, "diff", "--quiet", "HEAD", *others], capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.returncode else "")
