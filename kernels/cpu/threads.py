"""Threads that run kernels, and rehearsals that only note which ones they would run.

A kernel takes (first, last, scratch, *arguments) and does units first..last. Any thread may do any unit. LTBC_THREADS
sets their number.
"""

import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numba

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.buffers import own_memory
from ltbc.kernels.cpu.cores import cores
from ltbc.kernels.cpu.machine import ARITHMETIC, BFLOAT16, LEVEL, cpu_name


class Pool:
    """Helpers beside the caller's thread, made on first use."""

    size = int(os.environ.get("LTBC_THREADS") or 0) or cores()
    kind = "pool" if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else "python_threads"
    helpers: Any = None
    lock = threading.Lock()


def forget_helpers() -> None:
    """In a child of this process, where they do not exist."""
    Pool.helpers, Pool.lock = None, threading.Lock()


os.register_at_fork(after_in_child=forget_helpers)


def describe() -> str:
    """One line that says which path is taken."""
    products = "bf16" if ARITHMETIC == BFLOAT16 else "float32"
    return f"cpu: {cpu_name()}, {LEVEL.name} ({products} products of bf16 storage), {threads()} threads"


def threads() -> int:
    """Number of threads that a kernel runs on."""
    return Pool.size


def set_threads(n: int) -> None:
    """Sets the number of threads; results are the same bits for every number."""
    if n < 1:
        raise ValueError(f"cpu: the number of threads must be at least 1, got {n}")
    with Pool.lock:
        if Pool.helpers:
            Pool.helpers.stop()
        Pool.size, Pool.helpers = n, None


LOCAL = threading.local()
PIECES = 16  # a thread, at most: they are taken for next to nothing


def forall(kernel: Any, units: int, scratch: int, /, *arguments: Any, **named: Any) -> None:
    """Runs `kernel(first, last, scratch address, *arguments, **named)` over all units, `scratch` bytes a thread."""
    if named:
        arguments += in_order(kernel, len(arguments), named)
    if rehearsing():
        LOCAL.noted.append((kernel, tuple(map(numba.typeof, (0, 0, 0, *arguments)))))
        return
    own = address(own_memory("scratch", scratch))
    if Pool.size == 1 or units < 2:
        kernel(0, units, own, *arguments)
        return
    with Pool.lock:
        if Pool.helpers is None:
            Pool.helpers = import_module(f"ltbc.kernels.cpu.{Pool.kind}").Helpers(Pool.size - 1)
        Pool.helpers.run(kernel, units, min(units, PIECES * Pool.size), own, scratch, arguments)


def in_order(kernel: Any, given: int, named: dict[str, Any]) -> tuple:
    """Values of the arguments that follow (first, last, scratch) and so many given ones."""
    names = names_behind(kernel, given)
    try:
        if len(named) == len(names):
            return tuple(map(named.__getitem__, names))
    except KeyError:
        pass
    raise TypeError(f"cpu: {kernel.py_func.__name__} takes {', '.join(names)}, got {', '.join(named)}")


@cache
def names_behind(kernel: Any, given: int) -> tuple[str, ...]:
    """Of those arguments."""
    code = kernel.py_func.__code__
    return code.co_varnames[3 + given : code.co_argcount]


@contextmanager
def rehearsal() -> Iterator[list[tuple[Any, tuple]]]:
    """Within it, `forall` does nothing on this thread but note (kernel, types of its arguments)."""
    LOCAL.noted = []
    try:
        yield LOCAL.noted
    finally:
        del LOCAL.noted


def rehearsing() -> bool:
    return hasattr(LOCAL, "noted")
