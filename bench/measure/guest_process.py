"""The process in which a kernel that is not ours is run: `guest.Guest` starts it and judges what it says.

It holds the arrays of one case in the same buffers all the time, is given fresh values for them, runs the function once
when told so, and tells time, results and which inputs were changed. It says nothing about right and wrong.
"""

import faulthandler
import inspect
import json
import os
import resource
import sys
import traceback
from importlib import util
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

from bench.measure.calls import call, given, place, result_names
from bench.measure.cases import Case
from bench.measure.timing import SETTLE, Events
from ltbc import kernels
from ltbc.nn.network import as_dtype


class Host:
    """One end of the connection; tells errors with the line of the user's file where they came from."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task, self.file = task, task["file"]
        self.reading, self.writing = Connection(task["read"]), Connection(task["write"])
        self.log = open(task["log"], "w")  # of the interpreter's last words, see `watched`
        self.functions: dict[str, int] = {}
        self.module: ModuleType | None = None

    def tell(self, **message: Any) -> None:
        self.writing.send_bytes(json.dumps(message).encode())

    def serve(self) -> None:
        """Loads the file, then does what it is told until there is nobody left."""
        faulthandler.enable(self.log)
        if self.file and not self.watched(self.load):
            return
        self.tell(op=getattr(self.module, "OP", None), functions=self.functions,
                  package=str(Path(kernels.__file__).resolve()))
        while True:
            try:
                message = json.loads(self.reading.recv_bytes())
            except EOFError:
                return
            getattr(self, message.pop("do"))(**message)

    def watched(self, function: Any) -> bool:
        """Runs it; whatever it raises is told, SystemExit too; one that does not return ends this process."""
        faulthandler.dump_traceback_later(self.task["patience"], exit=True, file=self.log)
        try:
            function()
        except BaseException as error:
            lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == self.file]
            if isinstance(error, SyntaxError) and error.filename == self.file:
                lines.append(error.lineno)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self.tell(error=text, line=lines[-1] if lines else None)
            return False
        finally:
            faulthandler.cancel_dump_traceback_later()
        return True

    def load(self) -> None:
        spec = util.spec_from_file_location(Path(self.file).stem, self.file)
        assert spec and spec.loader
        self.module = util.module_from_spec(spec)
        sys.path.insert(0, str(Path(self.file).parent))  # as `python FILE` would
        spec.loader.exec_module(self.module)
        self.functions = {name: self.line_of(f) for name, f in vars(self.module).items() if callable(f)}

    def line_of(self, function: Any) -> int:
        """Of its `def`; 0 for what is not made in the file."""
        code = getattr(inspect.unwrap(getattr(function, "py_func", function)), "__code__", None)
        return code.co_firstlineno if code and code.co_filename == self.file else 0

    def nothing(self) -> None:
        self.tell(done=True)

    def case(self, fields: dict[str, Any], dtype: str, backend: str) -> None:
        """The case of the runs to come, and its first values."""
        fields["options"] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["options"].items()}
        shapes = {name: {k: tuple(s) for k, s in fields[name].items()} for name in ("inputs", "results")}
        self.of = Case(**{**fields, **shapes, "wide": frozenset(fields["wide"])})
        self.dtype, self.backend = dtype, backend
        self.events: Any = Events(flushed=False) if backend == "gpu" else None
        self.values = self.receive()
        self.layout = "reference" if self.module and backend == "cpu" else backend  # contiguous, as the contract says
        self.arrays = place(self.values, self.layout)
        if self.watched(self.bind):
            self.tell(done=True)

    def bind(self) -> None:
        """The function and its arguments, weights prepared as they are now: ours of this checkout, or the file's."""
        if self.module:
            self.arguments = given(self.of, self.arrays, self.dtype, self.layout, self.module)
            self.function = getattr(self.module, self.of.work)
        else:
            self.function, self.arguments = call(self.of, self.arrays, self.dtype, self.backend), {}

    def time(self, function: Any, now: Any = perf_counter) -> float:
        """now: bound before a kernel can put another clock into `time`."""
        if self.events:
            return self.events.time(function)
        start = now()
        function()
        return now() - start

    def receive(self) -> dict[str, np.ndarray]:
        """An array for each input, in the order of the case."""
        return {name: np.frombuffer(self.reading.recv_bytes(), self.of.dtype(name, as_dtype(self.dtype)))
                .reshape(shape).copy() for name, shape in self.of.inputs.items()}

    def fresh(self, settle: bool) -> None:
        """New values into the same buffers, the weights first, which alone are there to be prepared. Before, the
        function runs on the old ones until other processes' threads have gone to sleep."""
        new = self.receive()
        if settle and not self.watched(self.settle):
            return
        self.write(new, "w")
        if not self.watched(self.bind):
            return
        self.write(new, *new)
        self.values = new
        self.tell(done=True)

    def settle(self, now: Any = perf_counter) -> None:
        end = now() + SETTLE
        while now() < end:
            self.function(**self.arguments)

    def write(self, new: dict[str, np.ndarray], *names: str) -> None:
        for name in names:
            if name in new:
                self.arrays[name][...] = self.events.cupy.asarray(new[name]) if self.events else new[name]

    def run(self, whole: bool) -> None:
        """Once, timed; then the results' elements at the positions that follow, and all of them where `whole`."""
        places = [np.frombuffer(self.reading.recv_bytes(), np.int64) for _ in result_names(self.of, self.dtype)]
        taken: dict[str, Any] = {}

        def timed() -> None:
            seconds = self.time(lambda: taken.update(found=self.function(**self.arguments)))
            taken["seconds"] = seconds

        if not self.watched(timed):
            return
        found = self.results(taken["found"])
        sampled = [sample(x, at) for x, at in zip(found, places)]  # at once: what is written later comes too late
        self.tell(seconds=taken["seconds"])
        found = [to_host(x) for x in found]
        kept = {name: to_host(x) for name, x in self.arrays.items()}
        changed = [name for name, x in self.values.items()
                   if name not in self.of.results and kept[name].tobytes() != x.tobytes()]
        described = [[type(x).__name__, str(getattr(x, "dtype", "")), list(getattr(x, "shape", ()))] for x in found]
        self.tell(results=described, changed=changed, bare=taken["found"] is None)
        for x, some in zip(found, sampled):
            self.writing.send_bytes(some)
            if whole:
                self.writing.send_bytes(np.ascontiguousarray(x).tobytes() if isinstance(x, np.ndarray) else b"")

    def results(self, found: Any) -> list[Any]:
        """As they were returned, one after the other; of what works in place the arrays that it had to change."""
        if self.of.op == "adadelta":
            return [self.arrays.get(name, self.arguments.get(name)) for name in result_names(self.of, self.dtype)]
        if isinstance(found, dict):  # ours
            return list(found.values())
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        skipped = "needs_dx" in self.of.options and len(found) == len(self.of.results) + 1
        return [x[()] if isinstance(x, np.ndarray) and not x.ndim else x for x in found[skipped:]]


def sample(x: Any, at: np.ndarray) -> bytes:
    """Elements in the order of rows; nothing where there are no such places."""
    if isinstance(x, (float, np.floating)):
        return np.float64(x).tobytes()
    if not hasattr(x, "flat") or (len(at) and at.max() >= x.size):
        return b""
    return np.asarray(to_host(x.ravel()[at]) if type(x).__module__.startswith("cupy") else x.flat[at]).tobytes()


def to_host(x: Any) -> Any:
    return x.get() if type(x).__module__.startswith("cupy") else x


def main() -> None:
    """Until the other side hangs up. Nothing of the file outlives that, such as what it left for the exit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(2, 1)  # what it prints does not get among the results
    Host(json.loads(sys.argv[1])).serve()
    os._exit(0)
