"""Compiled code on disk: nothing stale is ever served, whatever was edited; it is shared, bounded, and not needed."""

import ast
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ltbc.kernels.cpu.store import Store, default_folder
from tests import ROOT
from tests.test_layering import imported, module_name, reachable
from tests.tools.mutated import only_sources

SMALL = """
import numpy as np
from ltbc.kernels import adadelta
adadelta.step(*np.ones((4, 99), np.float32), backend="cpu")
"""
ENCODED = """
import numpy as np
from ltbc.kernels import color
x = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 4, 4, 3)
print([np.concatenate([a.ravel() for a in color.encode(x, "yuv", dtype=np.float64, backend=b)]).round(5).tolist()
       for b in ("cpu", "reference")])
"""


def run(*arguments, cwd=ROOT, **environment):
    """Python in a process of its own; sources are read anew, whatever their times are."""
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(cwd), "LTBC_THREADS": "1"} | environment
    environment = os.environ | settings
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def printed(*arguments, **where):
    found = run(*arguments, **where)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture
def copy(tmp_path):
    """The kernels in a folder of their own, under the package's name."""
    for folder in ("ltbc", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=only_sources)
    return tmp_path


# What decides the key

KEYS = """
import json, os, sys
from importlib import import_module
from pathlib import Path

import numba.core.registry, numba.extending, tqdm  # noqa: what takes time, once for all forks
import ml_dtypes, numpy

def keys(modules):
    from ltbc.kernels.cpu.compiler import Kept
    found = {}
    for name in modules:
        for f in vars(import_module(f"ltbc.{name}")).values():
            if isinstance(getattr(f, "_cache", None), Kept) and f.py_func.__module__ == f"ltbc.{name}":
                f._cache.name(())
                found[f"{name}.{f.py_func.__name__}"] = f._cache.key
    return found

modules, edits = json.loads(sys.stdin.read())
for path, text in [("kernels/__init__.py", None), *edits]:
    before, (here, there) = Path(path).read_text(), os.pipe()
    if not os.fork():
        sys.stderr = open(os.devnull, "w")
        try:
            if text is not None:
                Path(path).write_text(text)
            os.write(there, json.dumps(keys(modules)).encode())
        finally:
            os._exit(0)
    os.close(there)
    print(os.fdopen(here).read() or "null", flush=True)
    os.wait()
    Path(path).write_text(before)
"""


def keys(copy, modules, edits):
    """The kernels' keys as they stand, then with each edit (path, text); None where that cannot even be imported."""
    found = subprocess.run([sys.executable, "-c", KEYS], cwd=copy, input=json.dumps([modules, edits]), text=True,
                           env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}, capture_output=True)
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def sources(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted((folder / "kernels").rglob("*.py"))}


def constants(source):
    """Copies of a module with one of its numbers changed."""
    tree, lines = ast.parse(source), source.splitlines(keepends=True)
    numbers = [x for x in ast.walk(tree) if isinstance(x, ast.Constant) and type(x.value) in (int, float)]
    for x in numbers:
        line, start, end = lines[x.lineno - 1].encode(), x.col_offset, x.end_col_offset
        changed = line[:start] + repr(x.value + 1).encode() + line[end:]
        yield "".join([*lines[: x.lineno - 1], changed.decode(), *lines[x.lineno :]])


def edited(copy, each):
    """(modules with kernels, {kernel: modules that its own reaches}, [(path, text)]): `each` edits of every module
    that a kernel reaches, found by following imports in the sources."""
    texts = sources(copy)
    trees = {module_name(path): ast.parse(text) for path, text in texts.items()}
    imports = {name: set(imported(name, tree, trees)) for name, tree in trees.items()}
    modules = [module_name(path) for path, text in texts.items() if "@compiled" in text]
    below = {name: reachable(name, imports) & trees.keys() for name in modules}
    spread = lambda all: [all[round(i * (len(all) - 1) / (each - 1))] for i in range(each if all else 0)]  # noqa: E731
    reached = set().union(*below.values()) - {"kernels.cpu.progress", "kernels.cpu.store"}
    return modules, below, [(path, text) for path, source in texts.items() if module_name(path) in reached
                            for text in dict.fromkeys(spread(list(constants(source))))]


def check_edits(copy, each):
    modules, below, edits = edited(copy, each)
    plain, *changed = keys(copy, modules, edits)
    assert len(plain) >= 25 and {module_name(path) for path, _ in edits} >= {
        "kernels.color", "kernels.conv3x3.winograd", "kernels.cpu.vector", "kernels.cpu.tile"}
    seen = set()
    for (path, text), found in zip(edits, changed):
        if found is None:
            continue  # such a project does not run
        seen.add(path)
        stale = [k for k in plain if module_name(path) in below[k.rpartition(".")[0]] and found[k] == plain[k]]
        assert not stale, f"{stale} would be served although {path} was edited:\n{text}"
    assert seen == {path for path, _ in edits}


def test_every_module_that_a_kernel_reaches_decides_its_key(copy):
    check_edits(copy, 2)


@pytest.mark.slow
def test_every_constant_decides_the_key(copy):
    check_edits(copy, 12)


def test_comments_do_not_decide_the_key(copy):
    """Nor do other lines, files that no kernel reaches, threads and the seed of Python's hashes."""
    modules, _, edits = edited(copy, 2)
    paths = dict.fromkeys(path for path, _ in edits)
    comments = [(path, "\n# a comment\n" + (copy / path).read_text() + "\n\n# more") for path in paths]
    other = ("kernels/compare.py", (copy / "kernels/compare.py").read_text() + "\nmore = 1\n")
    plain, *changed = keys(copy, modules, [*comments[::4], other])
    assert all(found == plain for found in changed)
    program = "from ltbc.kernels.conv3x3 import winograd; print(winograd.multiply_tiles._cache.name(()))"
    assert len({printed("-c", program, PYTHONHASHSEED=str(n), LTBC_THREADS=str(n)) for n in (1, 2)}) == 1


# What runs

TAP = '''
import json, os
from pathlib import Path
import numpy as np
from ltbc.kernels.cpu.threads import forall
from ltbc.kernels.cpu.compiler import compiled, inlined

FROM_FILE = json.loads(Path(__file__).with_name("tap.json").read_text())["factor"]
FROM_OUTSIDE = float(os.environ["FACTOR"])
def make(table):
    @inlined
    def times(x):
        return x * table[0]
    return times
times = make((FROM_OUTSIDE, 0.0))

@compiled
def tap(first, last, scratch, x):
    for unit in range(first, last):
        x[unit] = times(x[unit]) + FROM_FILE

if __name__ == "__main__":
    x = np.ones(1)
    forall(tap, 1, 0, x)
    print(x[0])
'''


def test_values_from_files_and_from_the_environment(copy):
    (copy / "kernels/tap.py").write_text(TAP)
    cache = str(copy / "cache")
    for factor, added in ((2, 10), (3, 10), (3, 20), (2, 10)):
        (copy / "kernels/tap.json").write_text(f'{{"factor": {added}}}')
        found = printed("-m", "ltbc.kernels.tap", cwd=copy, LTBC_CACHE=cache, FACTOR=str(factor))
        assert float(found) == factor + added
    assert len(list(Path(cache).glob("*.tap-*"))) == 3


def edit(path, old, new):
    """The same size at the same time: as a checkout within one second leaves it."""
    text, stat = path.read_text(), path.stat()
    assert old in text and len(old) == len(new)
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_an_edit_of_another_module_of_the_same_size_and_time(copy):
    """Python itself may not notice, but both backends are of one mind; back again, nothing is compiled."""
    contract, where = copy / "kernels/color/__init__.py", {"cwd": copy, "LTBC_CACHE": str(copy / "cache")}
    before = printed("-c", ENCODED, PYTHONDONTWRITEBYTECODE="", **where)
    edit(contract, "0.587", "0.687")
    for bytecode in ("", "1"):
        after = printed("-c", ENCODED, PYTHONDONTWRITEBYTECODE=bytecode, **where)
        ours, reference = ast.literal_eval(after)
        assert ours == pytest.approx(reference, abs=2e-5)
        shutil.rmtree(contract.parent / "__pycache__", ignore_errors=True)
    assert after != before
    edit(contract, "0.687", "0.587")
    found = run("-c", ENCODED, **where)
    assert (found.stdout, found.stderr) == (before, "")


def test_sources_that_change_while_a_program_runs(copy):
    """What it compiles then is from the old ones, and is not taken for the new ones' later."""
    cache, contract = str(copy / "cache"), copy / "kernels/color/__init__.py"
    wanted = contract.read_text().replace("0.587", "0.687")
    edit_late = f"import ltbc.kernels.color.cpu; open({str(contract)!r}, 'w').write({wanted!r}); x = "
    late = ENCODED.replace("x = ", edit_late, 1)
    printed("-c", late, cwd=copy, LTBC_CACHE=cache)
    ours, reference = ast.literal_eval(printed("-c", ENCODED, cwd=copy, LTBC_CACHE=cache))
    assert ours == pytest.approx(reference, abs=2e-5)


WINOGRAD = """
import numpy as np
from ltbc.kernels import conv3x3
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 16, 16, 32), np.float32), rng.standard_normal((3, 3, 32, 32), np.float32)
print(conv3x3.forward(x, w, np.zeros(32, np.float32), backend="cpu").ravel()[::97].tolist())
"""


@pytest.mark.slow  # Winograd's kernels are compiled five times
@pytest.mark.parametrize("file, old, new", [
    ("conv3x3/winograd.py", "[[6, 0, 0], [-4, -4, -4]", "[[7, 0, 0], [-4, -4, -4]"),
    ("cpu/tile.py", "unroll=2", "unroll=1"),
    ("conv3x3/winograd.py", "GAP = 192", "GAP = 128"),
])
def test_winograd_after_an_edit_equals_a_fresh_cache(copy, file, old, new):
    """Filters and products are of one algorithm, from whichever file its numbers come."""
    cache, path = copy / "cache", copy / "kernels" / file
    printed("-c", WINOGRAD, cwd=copy, LTBC_CACHE=str(cache))
    edit(path, old, new)
    found = [printed("-c", WINOGRAD, cwd=copy, LTBC_CACHE=str(copy / name)) for name in ("cache", "fresh")]
    assert found[0] == found[1]


# The folder


def test_what_was_used_last_stays(tmp_path, monkeypatch):
    """Half-written files of programs that were killed go too, those of running ones stay; other files are not ours."""
    monkeypatch.setattr("ltbc.kernels.cpu.store.LIMIT", 3500)
    store, now = Store(tmp_path / "cache"), time.time()
    for i in range(6):
        store.write(f"kernel{i}", bytes(1000))
        os.utime(store.path(f"kernel{i}"), (now - 1000 + i,) * 2)
    assert store.read("kernel1") == bytes(1000)  # which makes it the newest
    for name, age in (("old.part", 7200), ("new.part", 0), ("notes.txt", 99999)):
        (store.folder / name).write_text("x")
        os.utime(store.folder / name, (now - age,) * 2)
    Store(store.folder).write("kernel9", bytes(10))
    assert sorted(f.name for f in store.folder.iterdir()) == [
        "kernel1.kernel", "kernel4.kernel", "kernel5.kernel", "kernel9.kernel", "new.part", "notes.txt"]


@pytest.mark.parametrize("damage", [b"", b"short", bytes(5000)])
def test_damaged_files_are_made_anew(tmp_path, damage, capsys):
    store = Store(tmp_path)
    store.write("kernel", b"code")
    for _ in range(2):
        store.path("kernel").write_bytes(damage)
        assert store.read("kernel") is None
    store.write("kernel", b"code")
    assert store.read("kernel") == b"code"
    assert capsys.readouterr().err == f"cpu: {tmp_path}/kernel.kernel is damaged and made anew\n"


def test_a_full_disk(tmp_path, monkeypatch, capsys):
    """Nothing half-written stays, and one line says so."""
    def write_half(path, data):
        with open(path, "wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    store = Store(tmp_path)
    for name in "ab":
        store.write(name, b"code" * 100)
        assert not store.has(name) and store.read(name) is None
    assert list(tmp_path.iterdir()) == []
    message = f"cpu: compiled code cannot be kept in {tmp_path} (No space left on device); LTBC_CACHE names another\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("folder, reason", [
    ("/proc/ltbc", "No such file or directory"), ("{here}/a file", "Not a directory"),
    ("{here}/a file/below", "Not a directory"),
])
def test_without_a_folder_it_works_and_says_so_once(tmp_path, folder, reason):
    (tmp_path / "a file").touch()
    folder = folder.format(here=tmp_path)
    found = run("-c", SMALL, LTBC_CACHE=folder)
    told = [line for line in found.stderr.splitlines() if " once" not in line]
    assert found.returncode == 0 and len(told) == 1 and told[0].startswith("cpu: ") and folder in told[0], found.stderr


def test_a_user_without_a_home(monkeypatch, capsys):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LTBC_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    store = Store(default_folder())
    store.write("a", b"")
    assert store.folder is None and store.read("a") is None and not store.has("a") and not store.usable()
    assert capsys.readouterr().err == "cpu: no home folder to keep compiled code in; LTBC_CACHE names another one\n"


def test_programs_that_compile_at_once(tmp_path):
    """Each is right, and the next one finds whole files."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: run("-c", SMALL, LTBC_CACHE=str(tmp_path)), range(2)))
    assert all(f.returncode == 0 for f in found), found
    assert run("-c", SMALL, LTBC_CACHE=str(tmp_path)).stderr == ""
    assert {f.suffix for f in tmp_path.iterdir()} == {".kernel"}
