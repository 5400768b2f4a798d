"""The cpu backend and its machine: buffers, threads, compiled code, every level of instructions that the CPU has."""

import ctypes
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from ml_dtypes import bfloat16

from ltbc.kernels import dispatch
from ltbc.kernels.arrays import address
from ltbc.kernels.cpu import buffers, cores, pool
from ltbc.kernels.cpu import threads as running
from ltbc.kernels.cpu.atomic import field, write
from ltbc.kernels.cpu.buffers import allocate, owner
from ltbc.kernels.cpu.compiler import compiled
from ltbc.kernels.cpu.machine import LEVEL, available
from ltbc.kernels.cpu.threads import Pool, describe, forall, set_threads
from tests import ROOT
from tests.tools import helpers
from tests.tools.cpu_checks import border, drawn

CASES = [
    ("conv3x3", dict(N=2, H=30, W=28, Cin=32, Cout=64), {"stride": 1}),
    ("conv3x3", dict(N=2, H=15, W=14, Cin=20, Cout=70), {"stride": 2}),
    ("conv3x3", dict(N=2, H=56, W=40, Cin=32, Cout=48), {"stride": 2}),
    ("conv3x3", dict(N=1, H=41, W=20, Cin=1, Cout=64), {"stride": 2}),
    ("conv3x3", dict(N=2, H=24, W=33, Cin=32, Cout=2), {"stride": 1}),
    ("upsample2x_conv3x3", dict(N=2, H=14, W=9, Cin=16, Cout=40), {}),
    ("linear", dict(N=5, Cin=700, Cout=300), {}),
    ("fusion", dict(N=2, H=9, W=9, Cm=32, Cg=16, Cout=48), {}),
]


needs_pool = pytest.mark.skipif(Pool.kind != "pool", reason="threads are in Python here")


def run(*arguments, **environment):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=os.environ | environment,
                          capture_output=True, text=True)


@pytest.fixture
def threads():
    """Sets the number of threads, and sets it back."""
    before = running.threads()
    yield set_threads
    set_threads(before)


def bits(case, dtype):
    stored = case.converted(lambda k, a: border(k, a.astype(np.float32 if k == "b" else dtype)))
    return [r.tobytes() for r in helpers.results(stored, "cpu").values()]


@pytest.mark.parametrize("dtype", [bfloat16, np.float32])
@pytest.mark.parametrize("op, sizes, options", CASES)
def test_same_bits_for_every_number_of_threads(op, sizes, options, dtype, threads):
    case = drawn(op, sizes, **options)
    threads(1)
    want = bits(case, dtype)
    for n in (1, 2, 3, 5):
        threads(n)
        assert bits(case, dtype) == want, n


def test_same_bits_from_threads_in_python(threads, monkeypatch):
    """As on other systems than Linux; an error in a helper is one."""
    case = drawn("conv3x3", dict(N=2, H=30, W=28, Cin=32, Cout=64), stride=1)
    threads(3)
    want = bits(case, np.float32)
    threads(3)
    monkeypatch.setattr(Pool, "kind", "python_threads")
    assert bits(case, np.float32) == want
    arguments = np.uint16(1), np.float32(0), np.zeros(300, np.int64), np.zeros((3, 4), np.int32), 0.0
    with pytest.raises(ValueError, match="unit 5"):
        forall(count_units, 300, 0, *arguments, True)


ELSEWHERE = """
import os, sys
import numba, numpy as np
del os.sched_getaffinity
sys.platform = "darwin"
from ltbc.kernels import conv3x3
from ltbc.kernels.cpu.threads import Pool, set_threads
set_threads(2)
x, w = np.ones((2, 9, 9, 3), np.float32), np.ones((3, 3, 3, 8), np.float32)
y = conv3x3.forward(x, w, np.zeros(8, np.float32), backend="cpu")
print(y[0, 4, 4, 0], "ltbc.kernels.cpu.pool" in sys.modules, type(Pool.helpers).__module__)
"""


def test_without_what_only_linux_has():
    found = run("-c", ELSEWHERE)
    assert found.stdout == "27.0 False ltbc.kernels.cpu.python_threads\n", found.stderr


@pytest.mark.parametrize("lines, files, want", [
    ("0::/", {"cpu.max": "150000 100000"}, [1.5]),
    ("0::/", {"cpu.max": "max 100000"}, []),
    ("0::/pod/one", {"pod/cpu.max": "400000 100000", "pod/one/cpu.max": "200000 100000"}, [2.0, 4.0]),
    ("3:cpu,cpuacct:/a\n2:memory:/b", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000",
                                       "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, [0.5]),
    ("0::/../../elsewhere", {}, []),
    (None, {}, []),
])
def test_limits_of_control_groups(lines, files, want, tmp_path, monkeypatch):
    own = tmp_path / "own"
    if lines is not None:
        own.write_text(lines + "\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert cores.shares(tmp_path, own) == want
    monkeypatch.setattr(cores, "GROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cores.cores() == min([8, *(-int(-x // 1) for x in want)])


def test_several_python_threads_at_once():
    """Each with its own case, all on the same pool."""
    cases = [drawn(op, sizes, seed, **options) for seed in range(2) for op, sizes, options in CASES]
    want = [bits(case, bfloat16) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(lambda case: bits(case, bfloat16), cases)) == want


def test_threads_must_be_positive():
    helpers.rejects("cpu: the number of threads must be at least 1, got 0", ValueError, set_threads, 0)


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 1, 1, 1), (3, 8, 4, 16)])
def test_buffers_have_a_border_of_zeros(shape):
    x = dispatch.allocate(shape, bfloat16, "cpu")
    assert x.shape == shape and x.dtype == bfloat16 and not x.any()
    x[...] = 1
    image = buffers.image(x)
    assert image.memory is x and image.start % 64 == 0
    n, h, w, c = shape
    row = np.frombuffer((ctypes.c_char * (n * image.strides.image)).from_address(image.start), np.uint16)
    padded = row.reshape(n, -1, image.strides.row // 2 // c, c)
    assert padded.shape[1] >= -(-h // 4) * 4 + 2 and padded.shape[2] >= -(-w // 4) * 4 + 2
    assert padded[:, 1 : h + 1, 1 : w + 1].all() and np.count_nonzero(padded) == x.size


def test_only_whole_buffers_are_read_in_place():
    """Views whose border is not zeros are copied, parts of the batch are not."""
    x = allocate((3, 6, 6, 4), np.float32)
    for view in (x, x[:], x[1:], x[2:3]):
        assert buffers.image(view).memory is view
    for view in (x[:, 1:], x[:, :, :5], x[:, ::2], x[..., :2], x[::2], x[::-1], x.transpose(0, 2, 1, 3), x[:0],
                 x.view(np.int32), np.zeros((3, 6, 6, 4), np.float32)):
        assert buffers.image(view).memory is not view


def test_vectors_of_other_ranks_are_aligned():
    for shape in ((5,), (3, 7), (2, 3, 4)):
        assert address(allocate(shape, np.float32)) % 64 == 0


def test_address_is_what_numpy_says():
    x = allocate((2, 3, 4, 5), bfloat16)
    for a in (x, x[1:, ::2], x[..., ::-1], owner(x), np.zeros(0), np.ones(()), np.arange(5)[3:]):
        assert address(a) == a.__array_interface__["data"][0]


def test_describe_is_one_line():
    assert describe().startswith("cpu: ") and LEVEL.name in describe() and "\n" not in describe()


def test_unknown_levels_are_rejected():
    found = run("-c", "import ltbc.kernels.cpu.machine", LTBC_CPU="avx1024")
    names = ", ".join(level.name for level in available())
    message = f"ValueError: cpu: LTBC_CPU must be one of {names} on this CPU, got 'avx1024'"
    assert found.returncode and found.stderr.strip().splitlines()[-1] == message


SMALL = """
import numpy as np
from ltbc.kernels import adadelta
adadelta.step(*np.ones((4, 99), np.float32), backend="cpu")
"""


@pytest.mark.slow  # compiles everything anew
def test_nothing_compiles_twice(tmp_path):
    """The first process compiles and says so; the second one does neither; another level has code of its own."""
    other = [level.name for level in available() if level != LEVEL][-1:]
    for level, lines in product([LEVEL.name, *other], (1, 0)):
        found = run("-c", SMALL, LTBC_CACHE=str(tmp_path), LTBC_CPU=level)
        assert found.returncode == 0, found.stderr
        want = f"cpu: compiling kernels for {level}, once\n" * lines
        assert found.stderr == want


AMX = """
import ctypes
from types import SimpleNamespace

from llvmlite import binding
from numba import types

binding.get_host_cpu_features = lambda: dict.fromkeys({features!r}.split(), True)
ctypes.CDLL = lambda name: SimpleNamespace(syscall=lambda *number: 0)  # the permission to use tiles
import numpy as np
from ml_dtypes import bfloat16

from ltbc.kernels import conv3x3
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.cpu.threads import rehearsal

assert LEVEL.name == "amx"
x, w, b = np.ones((1, 9, 9, 32), bfloat16), np.ones((3, 3, 32, 32), bfloat16), np.zeros(32, np.float32)
with rehearsal() as noted:
    conv3x3.forward(x, w, b, backend="cpu")
(kernel, signature), = [task for task in noted if task[0].py_func.__name__ == "multiply_windows"]
kernel.compile(signature)
code = "".join(kernel.inspect_asm().values())
print([name for name in ("ldtilecfg", "tileloadd", "tilezero", "tdpbf16ps", "tilestored") if name not in code])
"""


def test_amx_compiles(tmp_path):
    """Only compiled, for a CPU that has it: in a process of its own, as LLVM would end this one if it could not."""
    if platform.machine() != "x86_64":
        pytest.skip("x86 only")
    features = "avx2 fma avx512f avx512bw avx512dq avx512vl avx512bf16 amx-tile amx-bf16"
    found = run("-c", AMX.format(features=features), LTBC_CACHE=str(tmp_path), LTBC_CPU="",
                NUMBA_CPU_NAME="sapphirerapids", NUMBA_CPU_FEATURES=",".join("+" + f for f in features.split()))
    assert found.stdout == "[]\n", found.stderr


@compiled
def count_units(first, last, scratch, like, factor, counts, table, add, fail):
    """A kernel with arguments of every kind."""
    for unit in range(first, last):
        counts[unit] += int(like) + int(4 * factor) + table[1, 2] + int(add * 10)
        if fail and unit == 5:
            raise ValueError("unit 5")


def test_arguments_of_every_kind(threads):
    """A kernel that helpers call by its address gets what one gets that is called from Python."""
    found = []
    for n in (1, 3):
        threads(n)
        counts, table = np.zeros(300, np.int64), np.arange(12, dtype=np.int32).reshape(3, 4)
        for _ in range(50):
            forall(count_units, 300, 0, np.uint16(7), np.float32(0.25), counts, table, 0.1, False)
        found.append(counts)
    assert (found[0] == 50 * (7 + 1 + 6 + 1)).all()
    np.testing.assert_array_equal(*found)


@needs_pool
def test_a_kernel_that_raises_is_an_error(threads):
    counts, table = np.zeros(300, np.int64), np.zeros((3, 4), np.int32)
    arguments = np.uint16(1), np.float32(0), counts, table, 0.0
    threads(2)
    with pytest.raises(RuntimeError, match="cpu: count_units failed"):
        forall(count_units, 300, 0, *arguments, True)
    forall(count_units, 300, 0, *arguments, False)
    assert counts[299] == 2


@needs_pool
def test_another_way_of_calling_is_refused(threads):
    """A Numba that hands arrays or numbers over in other words than we do is found out before a kernel is called."""
    threads(2)
    arguments = np.uint16(7), np.float32(0.25), np.zeros(300, np.int64), np.zeros((3, 4), np.int32), 0.1, False
    forall(count_units, 300, 0, *arguments)
    found = next(iter(count_units.overloads.values()))
    pool.check_convention(found, arguments)
    for other in (arguments[:-1], (*arguments[:4], 1, False)):
        with pytest.raises(RuntimeError, match="calls kernels in an unknown way; set LTBC_THREADS=1"):
            pool.check_convention(found, other)


@needs_pool
def test_more_arguments_than_a_kernel_can_have(threads):
    threads(2)
    with pytest.raises(TypeError, match="cpu: a kernel takes at most 96 words and 8 numbers, got 99 and 0"):
        forall(count_units, 2, 0, *range(99))


def test_arguments_may_be_named(threads):
    threads(2)
    counts, named = np.zeros(2, np.int64), dict(add=0.0, table=np.zeros((3, 4), np.int32), fail=False)
    forall(count_units, 2, 0, np.uint16(7), np.float32(0.25), counts=counts, **named)
    assert counts.tolist() == [8, 8]
    with pytest.raises(TypeError, match="cpu: count_units takes counts, table, add, fail, got add, table, fail"):
        forall(count_units, 2, 0, np.uint16(7), np.float32(0.25), **named)
    with pytest.raises(TypeError, match="got add, table, fail, counts, units"):
        forall(count_units, 2, 0, np.uint16(7), np.float32(0.25), **named, counts=counts, units=1)


@compiled
def fill_scratch(first, last, scratch, size, result):
    """Memory of a thread's own: whoever shares it finds another's numbers."""
    for unit in range(first, last):
        for i in range(0, size, 8):
            write(scratch + i, unit)
        result[unit] = 0
        for i in range(0, size, 8):
            result[unit] += field(scratch + i) - unit


def test_memory_of_each_thread_grows(threads):
    """Ever larger, while several Python threads launch at once and others change the number of threads."""
    threads(4)
    def launch_many(seed):
        for size in range(800, 80000, 800):
            result = np.ones(20, np.int64)
            forall(fill_scratch, 20, size, size, result)
            assert not result.any()
            if size % 16000 == 0:
                set_threads(2 + seed)
        return True
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(launch_many, range(3)))


FORK = """
import os, numpy as np
from ltbc.kernels import adadelta
from ltbc.kernels.cpu.threads import Pool, set_threads
set_threads(2)
def step():
    p, g, eg, ed = np.ones((4, 1 << 18), np.float32)
    adadelta.step(p, g, eg, ed, backend="cpu")
    return p.sum()
before = step()
if not (child := os.fork()):
    os._exit(int(step() != before))
print(os.waitpid(child, 0)[1], step() == before)
"""


def test_fork():
    """A child has helpers of its own, and its parent keeps its own."""
    found = run("-c", FORK)
    assert found.stdout == "0 True\n", found.stderr


SLEEP = """
import resource, time, numpy as np
from ltbc.kernels import adadelta
from ltbc.kernels.cpu.threads import Pool, set_threads
set_threads(3)
adadelta.step(*np.ones((4, 1 << 18), np.float32), backend="cpu")
time.sleep(0.1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
time.sleep(0.5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 0.05)
"""


def test_helpers_sleep_where_there_is_nothing_to_do():
    found = run("-c", SLEEP)
    assert found.stdout == "True\n", found.stderr
