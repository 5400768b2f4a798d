"""What decides a kernel's compiled code, as one digest: that of everything that can be baked into it.

Taken are the code of every module of ours that the kernel's module imports, directly or not; the code and the values
that the kernel reaches in memory through globals, closures and defaults, which may come from the environment or a file;
the level and the CPU; the compiler. Comments, places in files and their times do not count, docstrings do.

Code is taken as Python loaded it, not from sources: those may have changed since, or the times by which Python
tells whether its own compiled files are up to date may not have.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import ml_dtypes
import numba
import numpy as np
from llvmlite import binding

from ltbc.kernels.cpu.machine import LEVEL

LOADED: dict[str, CodeType] = {}  # modules of ours as they were when a kernel was first defined over them


def digest(*facts: Any) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def key_of(function: FunctionType) -> str:
    """The digest for a kernel. Its globals must be complete."""
    modules = {name: plain_digest(code) for name, code in load(function.__module__).items()}
    return digest(sorted(modules.items()), facts(function, {}), machine())


@cache
def machine() -> tuple:
    """The compiler and what it compiles for."""
    versions = [m.__version__ for m in (numba, llvmlite, ml_dtypes, np)]
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k != "NUMBA_CACHE_DIR")
    target = numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    host = binding.get_host_cpu_name(), sorted(binding.get_host_cpu_features().items())
    return versions, sys.implementation.cache_tag, LEVEL, target, host, settings


# Modules


def load(name: str) -> dict[str, CodeType]:
    """The code of a module and of all of ours that it imports and that are loaded."""
    found: dict[str, CodeType] = {}
    tops, left = {top(sys.modules[name]), top(sys.modules[__name__])}, [name]
    while left:
        name = left.pop()
        if name not in found:
            found[name] = LOADED[name] = LOADED.get(name) or code_of(sys.modules[name])
            left += (other for other in imported(found[name], frozenset(tops)) if other in sys.modules)
    return found


def top(module: ModuleType) -> str:
    """The package that a module belongs to; `python -m a.b` runs a.b under another name."""
    return (module.__spec__.name if module.__spec__ else module.__name__).partition(".")[0]


def code_of(module: ModuleType) -> CodeType:
    """Raises OSError where a module has neither code nor source: typed in, for instance."""
    spec = module.__spec__
    if spec is None or not spec.origin:
        raise OSError(f"{module.__name__} is not in a file")
    if get_code := getattr(spec.loader, "get_code", None):
        return get_code(spec.name)
    return compile(Path(spec.origin).read_bytes(), spec.origin, "exec", dont_inherit=True)


@cache
def imported(code: CodeType, tops: frozenset[str]) -> set[str]:
    """Names that may be modules which the code imports: `from a.b import c` names a.b and c."""
    names = names_of(code)
    bases = {name for name in names if name.partition(".")[0] in tops}
    return bases | {f"{base}.{name}" for base in bases for name in names}


@cache
def names_of(code: CodeType) -> frozenset[str]:
    """Names of globals, attributes and modules in the code and in what is defined inside of it."""
    return frozenset(code.co_names).union(*(names_of(c) for c in code.co_consts if isinstance(c, CodeType)))


@cache
def plain_digest(code: CodeType) -> str:
    """Of the code without its place in a file."""
    return digest(
        code.co_code, code.co_exceptiontable, code.co_flags, code.co_argcount, code.co_kwonlyargcount,
        code.co_posonlyargcount, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        [facts(x, {}) for x in code.co_consts],
    )


# Values


def facts(x: Any, seen: dict[int, int]) -> Any:
    """What x is, down to numbers and code, in a form whose `repr` is the same in every process.

    seen: functions and classes that have been told of.
    """
    x = getattr(x, "py_func", getattr(x, "_defn", x))  # of Numba's functions and intrinsics
    if isinstance(x, CodeType):
        return plain_digest(x)
    if isinstance(x, np.ndarray):
        return "array", str(x.dtype), x.shape, facts(x.tolist(), seen) if x.dtype == object else x.tobytes()
    if isinstance(x, (list, tuple)):
        return type(x).__name__, [facts(item, seen) for item in x]
    if isinstance(x, (set, frozenset)):
        return type(x).__name__, sorted(repr(facts(item, seen)) for item in x)
    if isinstance(x, dict):
        return [(facts(k, seen), facts(v, seen)) for k, v in x.items()]
    if isinstance(x, (FunctionType, type, ModuleType)):
        return definition(x, seen)
    if isinstance(x, CellType):
        return facts(x.cell_contents, seen)
    text = repr(x)
    if " at 0x" not in text:
        return type(x).__qualname__, text
    state = getattr(x, "__dict__", {}) if ours(type(x)) and id(x) not in seen else {}
    seen[id(x)] = len(seen)
    return type(x).__qualname__, facts(state, seen)


def definition(x: Any, seen: dict[int, int]) -> Any:
    """Of functions, classes and modules: ours in full, others by name."""
    if id(x) in seen or not ours(x):
        return seen.get(id(x), f"{getattr(x, '__module__', '')}.{x.__name__}")
    seen[id(x)] = len(seen)
    if isinstance(x, FunctionType):
        closure = zip(x.__code__.co_freevars, x.__closure__ or ())
        named = [(name, facts(value, seen)) for name, value in [*sorted(reached(x)), *closure]]
        return x.__qualname__, plain_digest(x.__code__), named, facts((x.__defaults__, x.__kwdefaults__), seen)
    if isinstance(x, type):
        own = [(k, v) for k, v in sorted(vars(x).items()) if isinstance(v, FunctionType) or not k.startswith("_")]
        return x.__qualname__, facts(own, seen)
    return x.__name__


def reached(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """(name, value) of what a function's code names: globals, and attributes of modules of ours among them."""
    names = names_of(function.__code__)
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        yield name, value
        if isinstance(value, ModuleType) and ours(value):
            yield from ((f"{name}.{n}", vars(value)[n]) for n in names & vars(value).keys())


def ours(x: Any) -> bool:
    """Whether that is defined in this project, or in a file that is nobody's package."""
    name = x.__name__ if isinstance(x, ModuleType) else x.__module__
    file = getattr(sys.modules.get(name or ""), "__file__", None) or ""
    return bool(file) and (name.partition(".")[0] == __name__.partition(".")[0] or not installed(file))


@cache
def installed(file: str) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in Path(file).parts) or file.startswith(STDLIB)


STDLIB = os.path.dirname(os.__file__)
