"""A kernel that is not ours, in a process of its own: a user's file (`--with`), or our own of another checkout.

What it returns is judged here, where it cannot reach: dtype, shape, number and order of results, inputs that were
overwritten, values. `Turn` times it for `race`, each time with values that it has not seen, in the same buffers, and
holds a sample of every result against ours; `check` holds all of it against the reference. Whatever goes wrong, its
crash too, is one line with the line of the file.
"""

import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench import BenchError, CheckError
from bench.measure.calls import arguments, call, place, result_names
from bench.measure.cases import Case
from bench.measure.check import Allowed, alias, allowed, compare, reference
from ltbc.kernels.compare import to_float64
from ltbc.nn.network import as_dtype

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds for one call, or for the file to be loaded
SAMPLE = 4096  # elements of each result that are looked at after every timed run
SLACK = 3e-4  # seconds by which its clock may run behind ours, on which what is more counts: it may be tampered with
START = ("import sys; sys.path.insert(0, {bench!r}); import bench; sys.path[0] = {root!r}; "  # this bench, its ltbc
         "from bench.measure.guest_process import main; main()")


class Guest:
    """The process, started anew when it is gone. file: of a user, or None for our kernels as they are in `root`."""

    def __init__(self, file: Path | None, root: Path = ROOT, **environment: str) -> None:
        self.file, self.root, self.environment = file, root, environment
        self.process: subprocess.Popen | None = None
        self.lines: dict[str, int] = {}
        self.op: str | None = None
        self.start()

    def start(self) -> None:
        """Loads the file. Raises CheckError where that fails."""
        self.log = tempfile.NamedTemporaryFile("r", prefix="bench-guest-")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        name = str(self.file.resolve()) if self.file else ""
        task = {"read": theirs_in, "write": theirs_out, "file": name, "log": self.log.name, "patience": PATIENCE}
        path = os.pathsep.join(filter(None, (str(self.root), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(bench=str(ROOT), root=str(self.root)), json.dumps(task)],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, cwd=self.root,
            env=os.environ | {"PYTHONPATH": path} | self.environment)
        os.close(theirs_in)
        os.close(theirs_out)
        self.writing, self.reading = Connection(ours_out), Connection(ours_in)
        found = self.answer("", patience=PATIENCE + 60)  # beside the file, all libraries
        self.op, self.lines, self.package = found["op"], found["functions"], found["package"]

    def ask(self, work: str, *frames: bytes, **message: Any) -> dict[str, Any]:
        """Sends a message and what belongs to it; the answer. work: the function that is blamed where it has none."""
        if self.process is None:
            self.start()
        try:
            self.writing.send_bytes(json.dumps(message).encode())
            for frame in frames:
                self.writing.send_bytes(frame)
        except OSError:
            raise self.gone(work) from None
        return self.answer(work)

    def answer(self, work: str, patience: float | None = None) -> dict[str, Any]:
        found = json.loads(self.receive(work, patience))
        if "error" in found:
            raise self.fault(work, found["error"], found["line"])
        return found

    def receive(self, work: str, patience: float | None = None) -> bytes:
        try:
            if self.reading.poll(patience or PATIENCE + 10):
                return self.reading.recv_bytes()
        except (EOFError, OSError):
            pass
        raise self.gone(work)

    def fault(self, work: str, text: str, line: int | None = None) -> CheckError:
        """One line: the file, the line in it, what happened."""
        place = f"{self.file}:{line or self.lines.get(work) or 1}" if self.file else str(self.root)
        return CheckError(f"{place}: " + f"{work}: " * bool(work) + " ".join(text.split()))

    def gone(self, work: str) -> CheckError:
        """Why the process is no longer there, with the line that it was at, as its interpreter wrote it down last."""
        assert self.process
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            status = None
        text = self.log.read()
        self.stop()
        name = re.escape(str(self.file.resolve())) if self.file else "-"
        at = re.search(rf'File "{name}", line (\d+)', text)
        if status is None or "Timeout" in text:
            why = f"did not return within {PATIENCE:g} s"
        elif status < 0:
            why = f"killed by {signal.Signals(-status).name}" + " (out of memory?)" * (-status == signal.SIGKILL)
        else:
            why = f"ended the process (exit status {status})"
        return self.fault(work, why, int(at[1]) if at else None)

    def stop(self) -> None:
        """Ends the process. It is started again by the next question."""
        if self.process:
            self.writing.close()
            self.reading.close()
            self.process.kill()
            self.process.wait()
            self.log.close()
            self.process = None

    def works(self, op: str | None, ops: dict[str, set[str]]) -> tuple[str, set[str], list[CheckError]]:
        """(operation, those of its functions that the file has, functions whose names look misspelt).

        ops: the operations that there are, with their functions. Raises CheckError where nothing fits.
        """
        name = op or self.op
        if name not in ops:
            said = f"OP = {name!r} is no operation" if name else "say which operation it provides, with --op or OP"
            raise self.fault("", f"{said}; there are {', '.join(ops)}")
        near = [(f, line, difflib.get_close_matches(f, ops[name], 1, 0.8)) for f, line in self.lines.items() if line]
        odd = [self.fault("", f"{f} is no function of {name}; did you mean {match[0]}?", line)
               for f, line, match in near if match and f not in ops[name]]
        found = ops[name] & set(self.lines)
        if not found:
            raise odd[0] if odd else self.fault("", f"has none of {name}'s functions: {', '.join(sorted(ops[name]))}")
        return name, found, odd


class Turn:
    """A case in a guest: `check` before and after, and `timed` for `race`, which checks during."""

    def __init__(self, guest: Guest, case: Case, backend: str, dtype: str, clock: Any) -> None:
        self.guest, self.case, self.backend, self.dtype, self.clock = guest, case, backend, dtype, clock
        fields = asdict(case) | {"wide": sorted(case.wide)}
        self.ask(*self.frames(self.drawn()), do="case", fields=fields, dtype=dtype, backend=backend)
        self.least = min(self.round_trip() for _ in range(5))

    def ask(self, *frames: bytes, **message: Any) -> dict[str, Any]:
        try:
            return self.guest.ask(self.case.work, *frames, **message)
        except CheckError as error:
            raise self.named(error) from None

    def named(self, error: CheckError) -> CheckError:
        """With the case in it."""
        return CheckError(str(error).replace(f": {self.case.work}: ", f": {self.case.name}: ", 1))

    def round_trip(self) -> float:
        begun = time.perf_counter()
        self.ask(do="nothing")
        return time.perf_counter() - begun

    def drawn(self) -> dict[str, np.ndarray]:
        """Values that nobody can know beforehand."""
        return arguments(self.case, self.dtype, seed=int.from_bytes(os.urandom(8)))

    def frames(self, arrays: dict[str, np.ndarray]) -> list[bytes]:
        return [np.ascontiguousarray(arrays[name]).tobytes() for name in self.case.inputs]

    def __call__(self) -> None:
        """Nothing: before a timed run the guest runs by itself until it is settled."""

    def timed(self) -> float:
        """Seconds of one run on fresh values, after which a sample of its results is held against ours."""
        arrays = self.drawn()
        want = call(self.case, place(arrays, self.backend), self.dtype, self.backend)()
        self.ask(*self.frames(arrays), do="fresh", settle=True)
        self.clock.time(self.clock.flush)
        return self.run({name: to_float64(x) for name, x in want.items()}, whole=False)

    def check(self) -> None:
        """Raises CheckError unless all results, on fresh values, are right by the reference in float64."""
        arrays = self.drawn()
        self.ask(*self.frames(arrays), do="fresh", settle=False)
        self.run(reference(self.case, arrays), whole=True)

    def run(self, want: dict[str, np.ndarray], whole: bool) -> float:
        """Seconds of a run whose results are judged."""
        rng = np.random.default_rng()
        names = result_names(self.case, self.dtype)
        places = [rng.integers(0, max(1, np.prod(self.case.results[n], dtype=int)), SAMPLE) for n in names]
        begun = time.perf_counter()
        seconds = self.ask(*(at.tobytes() for at in places), do="run", whole=whole)["seconds"]
        passed = time.perf_counter() - begun - self.least
        found = self.guest.answer(self.case.work)
        got = [[self.guest.receive(self.case.work) for _ in range(1 + whole)] for _ in zip(names, found["results"])]
        self.judge_form(found)
        for name, at, frames in zip(names, places, got):
            self.judge_values(name, want[alias(name) if whole else name], at, frames, whole)
        return max(seconds, passed - SLACK)

    def fault(self, text: str) -> CheckError:
        return self.named(self.guest.fault(self.case.work, text))

    def judge_form(self, found: dict[str, Any]) -> None:
        """Number, kind, dtype and shape of the results, and whether the inputs are still there."""
        if found["changed"]:
            raise self.fault(f"overwrites its inputs: {', '.join(found['changed'])}")
        names, got = result_names(self.case, self.dtype), found["results"]
        wanted = {n: (str(self.case.dtype(n, as_dtype(self.dtype))), list(self.case.results[n])) for n in names}
        shown = ", ".join(f"{name} {dtype}{shape}" for name, (dtype, shape) in wanted.items())
        if len(got) != len(names) or found["bare"] and self.case.op != "adadelta":
            raise self.fault(f"returns {0 if found['bare'] else len(got)} results, wanted {len(names)}: {shown}")
        for (name, (dtype, shape)), (kind, its_dtype, its_shape) in zip(wanted.items(), got):
            if not shape and kind in ("float", "float32", "float64"):  # a loss: nothing is saved by its format
                continue
            if kind != "ndarray" or its_dtype != dtype or its_shape != shape:
                what = f"{its_dtype}{its_shape}" if kind == "ndarray" else kind
                raise self.fault(f"{name} is {what}, wanted {dtype}{shape}; in this order: {shown}")

    def judge_values(self, name: str, want: np.ndarray, at: np.ndarray, frames: list[bytes], whole: bool) -> None:
        """Against the reference, or a sample against ours, which may be off by what is allowed to it."""
        limit, shape = allowed(self.case, name, self.backend, self.dtype, ours=False), self.case.results[name]
        kind = self.case.dtype(name, as_dtype(self.dtype)) if shape else np.float64
        try:
            if whole or not shape:
                got = to_float64(np.frombuffer(frames[-1] if shape else frames[0], kind))
                compare(name, got.reshape(shape), want, limit)
                return
            own = allowed(self.case, name, self.backend, self.dtype)
            both = Allowed(limit.value + own.value, f"{limit.reason}; ours: {own.value:.2e}")
            compare(name, to_float64(np.frombuffer(frames[0], kind)), want.reshape(-1)[at], both,
                    [np.unravel_index(i, shape) for i in at])
        except CheckError as error:
            raise self.fault(str(error)) from None


def check_file(path: Path) -> Path:
    """The path. Raises BenchError where there is no such file."""
    if not path.is_file() or path.suffix != ".py":
        raise BenchError(f"{path}: no such Python file")
    return path
