"""Compiled code: `compiled` makes kernels of functions, `inlined` what kernels are made of.

A kernel is compiled for the types of its arguments when it is first called with them, and kept on disk
(`store.py`) under a digest of all that decides its code (`key.py`).
"""

import pickle
from typing import Any

import numba
from numba.core import event
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from ltbc.kernels.cpu.key import digest, key_of, load
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.cpu.progress import Single
from ltbc.kernels.cpu.store import Store, default_folder

STORE = Store(default_folder())
SINGLE = Single()
event.register("numba:compile", SINGLE)


def compiled(function: Any) -> Any:
    """Decorates a kernel: compiled on its first call, kept on disk, runs without the interpreter's lock."""
    kernel: Any = numba.njit(nogil=True, error_model="numpy")(function)
    kernel._cache = Kept(function)
    return kernel


def inlined(function: Any) -> Any:
    """Decorates what kernels are made of."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)


class Kept(_Cache):
    """A kernel's compiled code on disk, as Numba asks for it. Numba's own cache knows the kernel's file alone, and two
    processes that compile one kernel for different types may take each other's code there."""

    def __init__(self, function: Any) -> None:
        self.function, self.key, self.enabled = function, "", True
        try:
            load(function.__module__)  # now, as long as the files are those that Python loaded
        except OSError:
            self.disable()

    def name(self, signature: Any) -> str:
        self.key = self.key or key_of(self.function)
        of = f"{self.function.__module__}.{self.function.__name__}".removeprefix("ltbc.kernels.")
        return f"{of}-{LEVEL.name}-{digest(self.key, signature)[:32]}"

    def has(self, signature: Any) -> bool:
        return self.enabled and STORE.has(self.name(signature))

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        target_context.refresh()
        data = STORE.read(self.name(sig)) if self.enabled else None
        return None if data is None else CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, sig: Any, data: Any) -> None:
        if self.enabled and not data.library.has_dynamic_globals:
            STORE.write(self.name(sig), dumps(data._reduce()))

    @property
    def cache_path(self) -> str:
        return str(STORE.folder)

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def flush(self) -> None:
        """Numba asks for it before it compiles anew: what is there is overwritten then."""
