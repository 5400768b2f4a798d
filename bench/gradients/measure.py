"""One checker over the corpus, in a process of its own: its memory and its crashes are its own, its time is limited.

Seconds are the processor's, so that other work on the machine counts for little.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from bench import BenchError, results
from bench.gradients import Case, cases
from bench.gradients.functions import Calls, Function
from bench.gradients.tools import TOOLS, Cannot

MEMORY = 4 << 30  # bytes that a checker may take; the Jacobian of 100,000 elements has 80 GB
FULL = ("not enough memory", "can't allocate memory", "Unable to allocate", "Out of memory", "bad_alloc")


class Late(BaseException):
    """The time is over. No Exception, so that no checker takes it for the pair's."""


def measured(tool: str, largest: int, seconds: float, only: str = "") -> Iterator[results.Row]:
    """Rows of a tool, one a case. Where a process ends before its time, the case that it was at counts as late."""
    done = 0
    while True:
        task = {"tool": tool, "largest": largest, "seconds": seconds, "only": only, "first": done}
        command = [sys.executable, "-m", "bench.gradients.measure", json.dumps(task)]
        with TemporaryFile("w+") as said, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, cwd=Path(__file__).parents[2]
        ) as process:
            assert process.stdout
            for line in process.stdout:
                done += 1
                yield json.loads(line)
            if process.wait() > 0:
                said.seek(0)
                raise BenchError(f"{tool}: {said.read().strip().splitlines()[-1]}")
        left = selected(largest, only)[done:]
        if not process.returncode or not left:
            return
        done += 1
        yield row(tool, left[0]) | {"mark": "late", "note": "the process ended: no memory"}


def selected(largest: int, only: str) -> list[Case]:
    return [case for case in cases() if case.size <= largest and only in case.name]


def row(tool: str, case: Case, size: int = 0) -> results.Row:
    return {"command": "gradcheck", "op": case.entry, "work": case.fault, "config": tool, "size": case.size or size,
            "quantity": "seconds"}


def verdict(tool: str, case: Case, seconds: float) -> results.Row:
    """mark: "passed", "alarm", "cannot", "late" (no time or no memory); of ours "crashed" for what is no report of its
    own, of others that is an alarm, too."""
    pair, calls, said = case.pair(), Calls(), ""
    found = row(tool, case, sum(a.size for a in Function(pair, calls).leaves))
    signal.signal(signal.SIGPROF, _late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    begun = time.process_time()
    try:
        TOOLS[tool].check(pair, calls)
        mark = "passed"
    except Late:
        mark, said = "late", f"not within {seconds:g} s"
    except Cannot as error:
        mark, said = "cannot", str(error)
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        if isinstance(error, MemoryError) or any(text in said for text in FULL):
            mark, said = "late", "no memory"
        else:
            mark = "crashed" if tool == "ours" and type(error).__name__ != "GradientError" else "alarm"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return found | {"p50": time.process_time() - begun, "rounds": calls.n, "mark": mark, "note": said}


def _late(*_: Any) -> None:
    raise Late


def main(argument: str) -> None:
    """A task of `measured`: a line of JSON a case. Where a right pair is late, so are wrong and larger ones."""
    task = json.loads(argument)
    warnings.simplefilter("ignore")  # of logarithms and overflow; the verdict tells
    if hasattr(resource, "RLIMIT_DATA"):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    late: set[str] = set()
    for case in selected(task["largest"], task["only"])[task["first"]:]:
        if case.entry in late:
            found = row(task["tool"], case) | {"mark": "late", "note": "as the right one, or the smaller one"}
        else:
            found = verdict(task["tool"], case, task["seconds"])
        if found["mark"] == "late" and not case.fault:
            late.add(case.entry)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.gradients.measure", description=main.__doc__)
    parser.add_argument("task", help="JSON, as `measured` gives it")
    main(parser.parse_args().task)
