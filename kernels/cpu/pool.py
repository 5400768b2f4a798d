"""Helper threads that run compiled kernels without the interpreter: what `threads.forall` hands its work to.

A network at batch 1 runs a kernel every half millisecond. Waking a thread that waits in Python, and its way to the
interpreter's lock, take 40 us of that; a helper here waits in compiled code: it looks for work, `PATIENCE` times, and
only then sleeps, in the kernel of the system (futex). It does not yield meanwhile: what else wants its core would get
it for milliseconds.

    ticket = number of the run << 32 | pieces << 16 | pieces taken

The launching thread writes down what is to be done, then the ticket. Whoever raises the ticket's last part by an atomic
comparison owns that piece. As the launching thread waits for all pieces, what was written down stays until then; one
that comes too late finds that the ticket has changed.
"""

import atexit
import threading
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types

from ltbc.kernels.arrays import address
from ltbc.kernels.cpu.atomic import (
    FLOATING,
    INTEGERS,
    WAIT,
    WAKE,
    add,
    call_kernel,
    exchange,
    field,
    futex,
    pause,
    read,
    write,
)
from ltbc.kernels.cpu.buffers import aligned
from ltbc.kernels.cpu.compiler import compiled, inlined

# Words, each in a cache line of its own, as threads write them at different times; then what is to be done
TICKET, DONE, WAITING, FAILED, BELL, SLEEPERS, STOP, JOB = range(0, 8 * 64, 64)
KERNEL, ARGUMENTS, UNITS, SCRATCH = range(JOB, JOB + 32, 8)
PATIENCE = 20000  # looks before a helper sleeps: half a millisecond, longer than the way from kernel to kernel


@inlined
def left(ticket):
    """Whether there are pieces that nobody has taken."""
    return ticket & 0xFFFF < ticket >> 16 & 0xFFFF


@inlined
def work(control, scratch):
    """Takes pieces until there are none. scratch: where the address of this thread's memory stands."""
    ticket = read(control + TICKET)
    while left(ticket):
        if exchange(control + TICKET, ticket, ticket + 1):
            units, i, pieces = field(control + UNITS), ticket & 0xFFFF, ticket >> 16 & 0xFFFF
            if call_kernel(field(control + KERNEL), field(control + ARGUMENTS), units * i // pieces,
                           units * (i + 1) // pieces, field(scratch)):
                write(control + FAILED, 1)
            add(control + DONE, 1)
            if read(control + WAITING):
                futex(control + DONE, WAKE, 1)
        ticket = read(control + TICKET)


@compiled
def help_out(control, scratch):
    """What a helper does until it is dismissed."""
    looks = 0
    while not read(control + STOP):
        if left(read(control + TICKET)):
            work(control, scratch)
            looks = 0
        elif looks < PATIENCE:
            looks += 1
            pause()
        else:
            add(control + SLEEPERS, 1)
            bell = read(control + BELL)
            if not (left(read(control + TICKET)) or read(control + STOP)):
                futex(control + BELL, WAIT, bell)
            add(control + SLEEPERS, -1)
            looks = 0


@inlined
def ring(control, count):
    """Wakes so many of the helpers that sleep."""
    add(control + BELL, 1)
    if read(control + SLEEPERS):
        futex(control + BELL, WAKE, count)


@compiled
def dismiss(control, count):
    """Ends so many helpers."""
    write(control + STOP, 1)
    ring(control, count)


@compiled
def run(control, kernel, arguments, units, pieces, scratch):
    """Does all pieces together with the helpers; 0 unless a kernel raised."""
    write(control + KERNEL, kernel)
    write(control + ARGUMENTS, arguments)
    write(control + UNITS, units)
    write(control + SCRATCH, scratch)
    write(control + DONE, 0)
    write(control + FAILED, 0)
    write(control + TICKET, ((read(control + TICKET) >> 32) + 1 << 32) + (pieces << 16))
    ring(control, pieces - 1)
    work(control, control + SCRATCH)
    looks, done = 0, read(control + DONE)
    while done < pieces:
        looks += 1
        if looks < PATIENCE:
            pause()
        else:  # with more threads than cores a helper may wait for this one's
            write(control + WAITING, 1)
            futex(control + DONE, WAIT, done)
        done = read(control + DONE)
    write(control + WAITING, 0)
    return read(control + FAILED)


# In Python: kernels and their arguments in the form above


ADDRESSES: dict[Any, int] = {}  # of compiled code, by kernel and types of its arguments


def kind(a: Any) -> Any:
    """What the type of an argument depends on."""
    return (a.dtype, a.ndim, a.flags.num) if isinstance(a, np.ndarray) else type(a)


def words_of(arguments: tuple) -> tuple[list[int], list[int]]:
    """(words, floating point numbers as bits). An array is two owners (none), size, item's size, address, sizes and
    strides; a record its fields."""
    words: list[int] = []
    numbers: list[int] = []
    add_words(arguments, words, numbers)
    return words, numbers


def add_words(arguments: tuple, words: list[int], numbers: list[int]) -> None:
    for a in arguments:
        if type(a) is int:  # most of them
            words.append(a)
        elif isinstance(a, tuple):
            add_words(a, words, numbers)
        elif isinstance(a, np.ndarray):
            words += (0, 0, a.size, a.itemsize, address(a), *a.shape, *a.strides)
        elif isinstance(a, np.float32):
            numbers.append(int(a.view(np.uint32)))
        elif isinstance(a, float):
            numbers.append(int(np.float64(a).view(np.int64)))
        else:
            words.append(int(a))


def check_convention(found: Any, arguments: tuple) -> None:
    """Raises RuntimeError where this Numba hands arguments over in another way than `words_of` does."""
    function = found.target_context.call_conv.get_function_type(found.fndesc.restype, found.fndesc.argtypes)
    numbers = sum(isinstance(a, (ir.FloatType, ir.DoubleType)) for a in function.args)
    wanted, got = (len(function.args), numbers), tuple(map(len, words_of((0,) * 5 + arguments)))
    if wanted != (sum(got), got[1]):
        raise RuntimeError(f"cpu: Numba {numba.__version__} calls kernels in an unknown way; set LTBC_THREADS=1")


def compiled_for(kernel: Any, arguments: tuple) -> int:
    """The address of the kernel for arguments of these types, compiled where it has to be."""
    key = kernel, *map(kind, arguments)
    if key not in ADDRESSES:
        signature = tuple(map(numba.typeof, (0, 0, 0, *arguments)))
        kernel.compile(signature)
        found = kernel.overloads[signature]
        check_convention(found, arguments)
        ADDRESSES[key] = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return ADDRESSES[key]


class Helpers:
    """So many threads beside the one that calls `run`, which no two threads may do at once."""

    def __init__(self, count: int) -> None:
        self.control = aligned((JOB + 64,), np.uint8)
        self.at = address(self.control)
        self.memory: list[np.ndarray] = [np.empty(0, np.uint8)] * count
        self.places = np.zeros(count, np.int64)
        self.words = np.zeros(INTEGERS + FLOATING, np.int64)  # the arguments, as `call_kernel` reads them
        for function in (help_out, dismiss):  # now, not at the end of the process
            function.compile((types.int64,) * 2)
        self.threads = [
            threading.Thread(target=help_out, args=(self.at, place), name="cpu-kernel", daemon=True)
            for place in range(address(self.places), address(self.places) + 8 * count, 8)
        ]
        for thread in self.threads:
            thread.start()
        atexit.register(self.stop)

    def run(self, kernel: Any, units: int, pieces: int, own: int, scratch: int, arguments: tuple) -> None:
        """The kernel over all units, in pieces; `own` and `scratch` bytes a helper are memory for it."""
        if self.memory[0].nbytes < scratch:
            self.memory = [aligned((scratch,), np.uint8) for _ in self.memory]
            self.places[:] = [address(m) for m in self.memory]
        self.pack(arguments)
        if run(self.at, compiled_for(kernel, arguments), address(self.words), units, pieces, own):
            raise RuntimeError(f"cpu: {kernel.py_func.__name__} failed")

    def pack(self, arguments: tuple) -> None:
        words, numbers = words_of(arguments)
        if len(words) > INTEGERS or len(numbers) > FLOATING:
            raise TypeError(f"cpu: a kernel takes at most {INTEGERS} words and {FLOATING} numbers, "
                            f"got {len(words)} and {len(numbers)}")
        self.words[: len(words)] = words
        self.words[INTEGERS : INTEGERS + len(numbers)] = numbers

    def stop(self) -> None:
        """Ends the threads."""
        dismiss(self.at, len(self.threads))
        for thread in self.threads:
            thread.join()
        atexit.unregister(self.stop)
