"""`make gpu`: everything that only a GPU can show, in at most 9 minutes, with the Python that is there.

Parts: 1 every layer at batch 128, fifty times, then operations; 2 the network and compute-sanitizer; 3 `bench
kernels`; 4 `bench network`. What is found goes into the folder as it comes: checks.jsonl (a line a check), log.txt
(what programs printed), clocks.csv, kernels.csv, network.csv, network.json, and at last summary.txt, which is printed
too. Exit status 1 where a check failed, 3 where none did but something was not finished.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin(lasting=True)

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure.machine import clocks, short_name
from tests import ROOT

NEEDED = ("numpy", "ml_dtypes", "safetensors", "cupy", "triton", "hypothesis", "pytest")
BENCH = ("torch",)
SHARES = {1: 0.42, 2: 0.18, 3: 0.2, 4: 0.2}  # of the minutes, one part after the other; what one leaves goes on
RESTARTS = 12  # of a unit whose process broke
SANITIZED = {  # tool of compute-sanitizer: operations, in bfloat16; a few, for under a tool all takes much longer
    "memcheck": ("conv3x3", "upsample2x_conv3x3", "linear", "fusion"),
    "racecheck": ("conv3x3", "linear"),
    "synccheck": ("conv3x3",),
}
FALSE_ALARM = re.compile(r"Invalid __shared__ \S+ of size 2048 bytes")  # of memcheck on wgmma: sanitizer-samples 19
LAYERS_SHARE = 0.4  # of part 1: every layer, before the operations
LONG = 300  # seconds for `bench kernels`
SMALL_INPUT = 5000  # elements of a sanitized check


class Folder:
    """Where results go, and until when."""

    def __init__(self, path: Path, end: float) -> None:
        self.path, self.end = path, end
        self.notes: list[str] = []
        self.compiled = False
        path.mkdir(parents=True, exist_ok=True)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(text, flush=True)

    def program(self, *command: str, seconds: float) -> tuple[int, str]:
        """Runs a program; (exit status, what it printed). 124: it was ended after that time."""
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            text, status = process.communicate(timeout=max(1.0, seconds))[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            text, status = process.communicate()[0], 124
        head = f"$ {' '.join(command)}\n"
        with (self.path / "log.txt").open("a") as log:
            log.write(f"{head}{text}[exit status {status}, {time.perf_counter() - begun:.0f} s]\n\n")
        return status, text

    def line(self, line: dict[str, Any]) -> None:
        with (self.path / "checks.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Of all checks so far, the last word on each."""
        file, found = self.path / "checks.jsonl", {}
        for text in file.read_text().splitlines() if file.exists() else ():
            line = json.loads(text)
            found[line["unit"], line["check"]] = line
        return list(found.values())


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.on_gpu", description=__doc__)
    p.add_argument("--part", type=int, nargs="+", choices=SHARES, default=list(SHARES), help="only these, for portions")
    p.add_argument("--minutes", type=float, default=9.0, help="for all chosen parts together (default 9)")
    p.add_argument("--out", type=Path, help="folder for the results (default: bench/results/ and the GPU's name)")
    options = p.parse_args(argv)
    begun = time.perf_counter()
    if missing := [name for name in NEEDED if not find_spec(name)]:
        print(f"make gpu: this Python lacks {', '.join(missing)}; put a folder with them on PYTHONPATH, or name "
              "another with PYTHON=...", file=sys.stderr)
        return 2
    name, cores = smi("name"), len(os.sched_getaffinity(0))
    if not name:
        print("make gpu: nvidia-smi names no GPU here; `make test` checks the kernels without one", file=sys.stderr)
        return 2
    folder = Folder(options.out or ROOT / "bench/results" / short_name(), begun + 60 * options.minutes)
    for file in ("checks.jsonl", "log.txt") if 1 in options.part else ():  # of an earlier run
        (folder.path / file).unlink(missing_ok=True)
    folder.note(f"{name}, {cores} cores; {sys.version.split()[0]}, into {folder.path}")
    with clocks(folder.path / "clocks.csv"):
        for part in options.part:
            left = folder.end - time.perf_counter()
            later = sum(SHARES[k] for k in options.part if k >= part)
            started = time.perf_counter()
            PARTS[part](folder, left * SHARES[part] / later, cores)
            folder.note(f"part {part}: {time.perf_counter() - started:.0f} s")
    text, status = summary(folder)
    (folder.path / "summary.txt").write_text(text)
    print(text)
    return status


def operations(folder: Folder, seconds: float, cores: int) -> None:
    """Every layer by itself, with the machine to itself; then every operation's units, many at a time, the longest
    first."""
    begun = time.perf_counter()
    unit(folder, begun + LAYERS_SHARE * seconds, "layers")
    seconds -= time.perf_counter() - begun
    count = int(folder.program(sys.executable, "-c", "from tests.on_gpu import operations as o; print(len(o.units()))",
                               seconds=60)[1].split()[-1])
    end = time.perf_counter() + seconds
    with ThreadPoolExecutor(max(1, cores - 2)) as pool:
        list(pool.map(partial(unit, folder, end), map(str, range(count))))


def unit(folder: Folder, end: float, name: str) -> None:
    """One unit to its end: a process that broke is followed by another, from the next check on."""
    skip = 0
    for _ in range(1 + RESTARTS):
        left = end - time.perf_counter()
        if left < 5:
            folder.note(f"unit {name}: no time left from check {skip} on")
            return
        file = str(folder.path / "checks.jsonl")
        status, text = folder.program(
            sys.executable, "-m", "tests.on_gpu.worker", name, file, "--skip", str(skip), seconds=left
        )
        if status == 0:
            return
        mine = [line for line in folder.lines() if line["number"] == name]
        if status == 124:
            folder.note(f"unit {name}: no time left")
            return
        last = max(mine, key=lambda line: line["check"], default={"unit": f"unit {name}", "number": name, "check": skip,
                                                                 "what": "start", "state": "started"})
        if last["state"] == "started":
            folder.line(last | {"state": "error", "found": f"the process ended with {status}: {text[-600:]}"})
        skip = last["check"] + 1


def whole_network(folder: Folder, seconds: float, cores: int) -> None:
    """The network's checks beside compute-sanitizer on small inputs of every operation."""
    end, tool = time.perf_counter() + seconds, shutil.which("compute-sanitizer")
    if not tool:
        folder.note("compute-sanitizer: not there, left out")
    chosen = sanitized() if tool else []
    with ThreadPoolExecutor(max(2, cores // 2)) as pool:
        checks = pool.submit(unit, folder, end, "network")
        list(pool.map(partial(sanitize, folder, end, tool), chosen))
        checks.result()


def sanitized() -> list[tuple[str, int]]:
    """(tool, number of the unit)"""
    from tests.on_gpu.operations import units

    numbers = {u.op: k for k, u in enumerate(units()) if (u.arithmetic, u.path) == ("bfloat16", "boxes")}
    return [(tool, numbers[op]) for tool, chosen in SANITIZED.items() for op in chosen]


def sanitize(folder: Folder, end: float, program: str | None, chosen: tuple[str, int]) -> None:
    tool, number = chosen
    file = folder.path / f"{tool}-{number}.jsonl"
    command = [str(program), "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "tests.on_gpu.worker"]
    status, text = folder.program(
        *command, str(number), str(file), "--largest", str(SMALL_INPUT), "--no-pool", seconds=end - time.perf_counter()
    )
    state, found = verdict(status, text)
    name = json.loads(file.read_text().splitlines()[0])["unit"] if file.exists() else f"unit {number}"
    folder.line({"unit": f"sanitized: {name}", "number": "sanitizer", "check": f"{tool} {number}", "state": state,
                 "what": f"compute-sanitizer {tool}", "found": found})
    file.unlink(missing_ok=True)


def verdict(status: int, text: str) -> tuple[str, str]:
    """(state, what was found) of a program under compute-sanitizer that ended so and printed that."""
    summaries = [line.strip("= ") for line in text.splitlines() if "SUMMARY" in line]
    found = summaries[-1] if summaries else text[-600:]
    if status == 124:
        return "not finished", found
    alarms = [line for line in text.splitlines() if re.search(r"Invalid __\w+__|Error: |hazard|Barrier error", line)]
    if status == 9 and alarms and all(FALSE_ALARM.search(line) for line in alarms):
        return "passed", f"{len(alarms)} false alarms on wgmma, nothing else"
    return ("passed" if status == 0 else "failed"), found


def compile_ahead(folder: Folder, seconds: float, cores: int) -> None:
    """What both benchmarks start at batch 1 and 128, compiled by all cores into Triton's cache on the disk."""
    command = (sys.executable, "-m", "bench", "gpu", "--arch", architecture(), "--jobs", str(cores))
    if not folder.compiled:
        folder.program(*command, seconds=seconds)
    folder.compiled = True


def kernels(folder: Folder, seconds: float, cores: int) -> None:
    batch = "128" if seconds > LONG else "32"  # checks in float64 on the host take minutes at 128
    bench(folder, seconds, cores, "kernels", "--backend", "gpu", "--batch", batch, "--seconds", "0.2",
          "--csv", str(folder.path / "kernels.csv"))


def network(folder: Folder, seconds: float, cores: int) -> None:
    minutes = max(0.5, (seconds - 75) / 60)  # besides: start, the check against PyTorch, compiling
    bench(folder, seconds, cores, "network", "--backend", "gpu", "--batch", "1", "128", "--minutes", f"{minutes:.1f}",
          "--csv", str(folder.path / "network.csv"), "--json", str(folder.path / "network.json"))


def bench(folder: Folder, seconds: float, cores: int, *command: str) -> None:
    end = time.perf_counter() + seconds
    if missing := [name for name in BENCH if not find_spec(name)]:
        folder.note(f"bench {command[0]}: left out, this Python lacks {', '.join(missing)}")
        return
    compile_ahead(folder, seconds / 2, cores)
    status, text = folder.program(sys.executable, "-m", "bench", *command, seconds=end - time.perf_counter())
    print(text, flush=True)
    if status:
        folder.note(f"bench {command[0]}: exit status {status}{' (no time left)' * (status == 124)}, see log.txt")


def summary(folder: Folder) -> tuple[str, int]:
    """The text, and the exit status."""
    lines = folder.lines()
    units: dict[str, list[dict]] = {}
    for line in lines:
        units.setdefault(line["unit"], []).append(line)
    text = []
    for name, checks in sorted(units.items()):
        bad = [c for c in checks if c["state"] != "passed"]
        text.append(f"{name:44} {len(checks) - len(bad)} of {len(checks)} passed")
        bad = [c | {"state": "not finished" if c["state"] == "started" else c["state"]} for c in bad]
        text += [f"    {c['state']}: {c['what']}: {c.get('found', 'killed').partition(chr(10))[0][:400]}" for c in bad]
    passed = sum(line["state"] == "passed" for line in lines)
    undone = sum(line["state"] in ("started", "not finished") for line in lines)
    failed = len(lines) - passed - undone
    notes = [n for n in folder.notes if n.startswith(("bench", "unit", "compute"))]
    text += [*notes, f"{passed} passed, {failed} failed, {undone} not finished"]
    broken = any("exit status" in n and "no time left" not in n for n in notes)
    undone += sum("no time left" in n for n in notes)
    return "\n".join(text) + "\n", 1 if failed or broken else 3 if undone else 0


def architecture() -> str:
    return "sm_" + (smi("compute_cap") or "9.0").replace(".", "")


def smi(field: str) -> str:
    try:
        command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


PARTS: dict[int, Callable[[Folder, float, int], None]] = {1: operations, 2: whole_network, 3: kernels, 4: network}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
