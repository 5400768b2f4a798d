"""The arrays of a case and a function that runs it on a backend, as the network would: prepared weights, buffers."""

import inspect
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from bench.measure.cases import Case
from ltbc.kernels import dispatch
from ltbc.kernels.arrays import Array
from ltbc.nn.network import as_dtype

OPTIONAL = ("out", "prepared", "needs_dx", "low", "backend")  # passed to a function that names them only


def arguments(case: Case, dtype: Any, seed: int = 0) -> dict[str, np.ndarray]:
    """NumPy arrays like those of a training step, by name: weights keep the size of activations, y has been through
    the activation, gradients have a mean (so that no sum of them vanishes by chance)."""
    rng = np.random.default_rng(seed)
    return {
        name: drawn(case, name, shape, rng).astype(case.dtype(name, as_dtype(dtype)))
        for name, shape in case.inputs.items()
    }


def drawn(case: Case, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Values that the argument of that name may have."""
    if name == "rgb":
        return rng.integers(0, 256, shape)
    if name == "labels":
        return rng.integers(0, case.inputs["z"][1], shape)
    if name in ("top", "left"):
        return rng.integers(0, case.inputs["rgb"][1] - case.options["size"][0] + 1, shape)
    if name == "flip":
        return rng.integers(0, 2, shape)
    if name in ("chroma", "target", "luminance") or name == "y" and case.options.get("activation") == "sigmoid":
        return rng.uniform(0.1, 0.9, shape).astype(np.float32)
    x = rng.standard_normal(shape, np.float32)
    if name == "w":
        return x * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    if name in ("dy", "g"):
        return (x + 0.5) / np.float32(np.sqrt(x.size))
    if name in ("eg", "ed"):
        return x * x * np.float32(1e-6)
    return np.maximum(x, 0) if name == "y" and case.options.get("activation") == "relu" else x


def place(arrays: dict[str, np.ndarray], backend: str) -> dict[str, Array]:
    """Copies on the backend's device: images in its own layout, everything else contiguous."""
    xp = launch_arrays() if backend == "gpu" else np
    placed = {}
    for name, x in arrays.items():
        image = x.ndim == 4 and name != "w" and x.dtype.kind not in "iub"
        placed[name] = dispatch.allocate(x.shape, x.dtype, backend, xp) if image else xp.empty(x.shape, x.dtype)
        placed[name][...] = xp.asarray(x)
    return placed


def launch_arrays() -> ModuleType:
    """The array module of the gpu backend: CuPy, or NumPy under Triton's interpreter."""
    from ltbc.kernels.gpu import launch

    return launch.target().arrays


def outputs(case: Case, dtype: Any, backend: str) -> dict[str, Array]:
    """Buffers for the results, as `place` lays them out. Poisoned with NaN: what is not written shows."""
    shapes = {name: shape for name, shape in case.results.items() if name != "loss"}
    return place({k: np.full(s, np.nan, case.dtype(k, as_dtype(dtype))) for k, s in shapes.items()}, backend)


def result_names(case: Case, dtype: Any) -> list[str]:
    """What the case gives in that dtype: a copy of parameters in low precision is for 16-bit networks only."""
    return [name for name in case.results if name != "low" or as_dtype(dtype).itemsize == 2]


def given(
    case: Case, arrays: dict[str, Array], dtype: Any, backend: str, module: ModuleType | None = None
) -> dict[str, Any]:
    """Arguments of the case's function: placed arrays, options, buffers, prepared weights.

    module: where the function is taken from instead of our contract; it gets of `OPTIONAL` what it names.
    """
    ours = import_module(f"ltbc.kernels.{case.op}")
    function = getattr(module or ours, case.work)
    named = inspect.signature(function).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in named.values())
    found: dict[str, Any] = {**arrays, **case.options, "backend": backend}
    buffers = outputs(case, dtype, backend)
    names = list(case.results)
    if case.op == "adadelta":
        found["low"] = buffers["low"] if as_dtype(dtype).itemsize == 2 else None
    elif case.work != "decode":
        out = tuple(buffers.get(n) for n in (["dx", *names] if "needs_dx" in case.options else names) if n != "loss")
        found["out"] = out[0] if len(out) == 1 else out
    prepare = getattr(module or ours, "prepare", None)
    if "w" in arrays and prepare:
        found["prepared"] = prepare(arrays["w"], **({} if module else {"backend": backend}))
    return {k: v for k, v in found.items() if k not in OPTIONAL or k in named or (anything and not module)}


def call(case: Case, arrays: dict[str, Array], dtype: Any, backend: str) -> Callable[[], dict[str, Array]]:
    """A function that runs our case on placed arrays and returns its results by name."""
    function, arguments = getattr(import_module(f"ltbc.kernels.{case.op}"), case.work), given(
        case, arrays, dtype, backend)
    names = list(case.results)

    def run() -> dict[str, Array]:
        found = function(**arguments)
        if case.op == "adadelta":
            return {name: arguments[name] for name in names if arguments.get(name) is not None}
        found = found if isinstance(found, tuple) else (found,)
        return dict(zip(names, found[1:] if "needs_dx" in case.options and len(found) > len(names) else found))

    return run
