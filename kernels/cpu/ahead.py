"""Compiles what a program is about to need, before it is needed, on all cores.

Which kernels those are, and for which types, a rehearsal tells: the passes run once without their kernels, whose
runs are only noted (`threads.rehearsal`). Numba compiles one kernel at a time in a process. So others are started
that compile too, and hand their results over in the folder of compiled code; one that fails costs time, no more: what
is missing in the end is compiled where it is called.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from ltbc.kernels.cpu.compiler import SINGLE, STORE
from ltbc.kernels.cpu.cores import cores
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.cpu.progress import Bar
from ltbc.kernels.cpu.threads import Pool, rehearsal, rehearsing, threads

ROOT = Path(__file__).parents[3]
MOST = 8  # processes: each takes about 200 MB
START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ltbc.kernels.cpu.ahead import serve; serve()"
Task = tuple[Any, tuple]  # a kernel and the types of its arguments


def compile_ahead(passes: Callable[[], object]) -> None:
    """Compiles what `passes` runs, where it is not on disk yet. Arrays that `passes` returns or fills are garbage
    afterwards, packed weights too. Within a rehearsal nothing: that one notes it."""
    if rehearsing():
        return
    with rehearsal() as noted, np.errstate(all="ignore"):
        passes()
    tasks = deque(task for task in dict.fromkeys([*of_pool(), *noted]) if missing(*task))
    if len(tasks) > 1:
        SINGLE.quiet = True
        try:
            compile_all(tasks)
        finally:
            SINGLE.quiet = False


def of_pool() -> list[Task]:
    """The kernels of helper threads, where there are any."""
    if Pool.kind != "pool" or threads() == 1:
        return []
    pool, word = import_module("ltbc.kernels.cpu.pool"), types.int64
    return [(pool.run, (word,) * 6), (pool.help_out, (word,) * 2), (pool.dismiss, (word,) * 2)]


def missing(kernel: Any, signature: tuple) -> bool:
    return signature not in kernel.overloads and not kernel._cache.has(signature)


def compile_all(tasks: deque[Task]) -> None:
    """In this process and in as many others as there are cores beside its own."""
    count = min(cores(), MOST, len(tasks)) - 1 if STORE.usable() else 0
    helpers = [start() for _ in range(count)]
    with ThreadPoolExecutor(max(1, count)) as pool, Bar(len(tasks)) as bar:
        try:
            for helper in helpers:
                pool.submit(hand_out, helper, tasks, bar)
            while tasks:
                kernel, signature = tasks.popleft()
                kernel.compile(signature)
                bar.advance()
        except BaseException:
            tasks.clear()
            for helper in helpers:
                helper.kill()
            raise


def start() -> subprocess.Popen:
    """A process that runs `serve`; Ctrl-C reaches this one only."""
    settings = {"LTBC_CPU": LEVEL.name, "LTBC_CACHE": str(STORE.folder)}
    return subprocess.Popen(
        [sys.executable, "-c", START], env=os.environ | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )


def hand_out(helper: subprocess.Popen, tasks: deque[Task], bar: Bar) -> None:
    """Gives the process a task after the other, until there are none or it ends."""
    with helper:
        assert helper.stdin and helper.stdout
        try:
            while tasks:
                kernel, signature = tasks.popleft()
                pickle.dump((kernel.py_func.__module__, kernel.py_func.__name__, signature), helper.stdin)
                helper.stdin.flush()
                if not helper.stdout.read(1):
                    return
                bar.advance()
        except (OSError, IndexError):  # it is gone; another one was faster
            return


def serve() -> None:
    """Compiles what stdin names, into the folder of compiled code; a byte on stdout after each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            module, name, signature = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        getattr(import_module(module), name).compile(signature)
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()
