"""Leaves of arguments and results: NumPy, PyTorch, JAX and CuPy arrays, bfloat16, Python's and NumPy's numbers.

Inside, the checker computes with float64 (complex128) NumPy arrays. A library is looked up in sys.modules: an array of
it cannot come from one that was not imported.
"""

import sys
from functools import lru_cache
from typing import Any

import numpy as np

from . import layout

ROUNDOFF = {  # half the spacing of a format's numbers at 1
    "float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4, "float8_e5m2": 2.0**-3,
}
TOLERANCE = {"float64": 1e-6, "float32": 3e-3, "float16": 0.1, "bfloat16": 0.2}
STEP = {"float64": 1e-4, "float32": 2e-2, "float16": 0.15, "bfloat16": 0.3}  # about the fourth root of the roundoff
REAL = {"complex64": "float32", "complex128": "float64", "clongdouble": "float64", "longdouble": "float64"}


def library(a: Any) -> str:
    """"numpy", "torch", "jax", "cupy"; "number" for Python's and NumPy's scalars; "" for what is none of them."""
    if isinstance(a, np.ndarray):
        return "numpy"
    if isinstance(a, (float, complex, np.inexact)):
        return "number"
    kind: Any = type(a)
    return _library(kind)


@lru_cache
def _library(kind: Any) -> str:
    root = kind.__module__.split(".")[0]
    if root in ("torch", "cupy", "jax", "jaxlib"):
        name = {"jaxlib": "jax"}.get(root, root)
        module = sys.modules.get(name)
        wanted = {"torch": "Tensor", "jax": "Array", "cupy": "ndarray"}[name]
        return name if module is not None and issubclass(kind, getattr(module, wanted)) else ""
    if issubclass(kind, np.generic) and layout.is_float(np.dtype(kind)):
        return "number"
    torch = sys.modules.get("torch")
    return "torch" if torch is not None and issubclass(kind, torch.Tensor) else ""  # torch.nn.Parameter and others' own


def is_array(a: Any) -> bool:
    return library(a) not in ("", "number")


def format_of(a: Any) -> str:
    """"float32", "bfloat16", "complex128", "int64"; "" for what is no array and no number."""
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype.name if a.dtype.name not in ("float128", "float96") else "longdouble"
    if isinstance(a, (bool, int)) or a is None:
        return ""
    if isinstance(a, (float, complex)):
        return "float64" if isinstance(a, float) else "complex128"
    return str(a.dtype).removeprefix("torch.") if library(a) else ""


def is_float(a: Any) -> bool:
    """Whether a gradient with respect to it makes sense."""
    return format_of(a).startswith(("float", "bfloat", "complex", "longdouble", "clongdouble"))


def real_format(name: str) -> str:
    return REAL.get(name, name)


def roundoff(name: str) -> float:
    return ROUNDOFF.get(real_format(name), 2.0**-8)


def to_numpy(a: Any) -> np.ndarray:
    """The values in float64, complex128 or the integer dtype that they have; a view where they are that already."""
    source = library(a)
    if source == "torch":
        a = a.detach().cpu().resolve_conj()
        a = a.float().numpy() if format_of(a) in ("bfloat16", "float16") or "float8" in format_of(a) else a.numpy()
    elif source == "cupy":
        a = a.get()
    a = np.asarray(a)
    if not layout.is_float(a.dtype):
        return a
    return a.astype(np.complex128 if a.dtype.kind == "c" else np.float64, copy=False)


def native(values: np.ndarray, template: Any, form: str) -> Any:
    """`values` as what `template` is: same library, device and memory layout, in the format `form`."""
    source = library(template)
    if source == "numpy":
        return layout.like(values, template, numpy_dtype(form))
    if source == "number":
        value = values.reshape(()).astype(numpy_dtype(form))[()]
        return value if isinstance(template, np.generic) else value.item()
    if source == "torch":
        torch = sys.modules["torch"]
        shape_only = np.lib.stride_tricks.as_strided(np.empty(1), template.shape, [8 * s for s in template.stride()])
        laid = layout.like(values, shape_only, values.dtype)
        made = torch.from_numpy(laid).to(device=template.device, dtype=getattr(torch, form))
        return made.requires_grad_(template.requires_grad)
    module = sys.modules[source]
    if source == "cupy":
        return module.array(values, dtype=numpy_dtype(form), order="F" if template.flags.f_contiguous else "C")
    return module.numpy.asarray(values.astype(numpy_dtype(form)))


def numpy_dtype(form: str) -> np.dtype:
    if form in ("bfloat16",) or form.startswith("float8"):
        import ml_dtypes  # whoever has such arrays has it

        return np.dtype(getattr(ml_dtypes, form))
    return np.dtype(form)


def wider(form: str, leaf: Any) -> str:
    """The format that a leaf is raised to: float64, where its library has that."""
    if library(leaf) == "jax" and not sys.modules["jax"].config.jax_enable_x64:
        return form
    return "complex128" if "complex" in form or form == "clongdouble" else "float64"


def like_format(form: str, dtype: Any) -> str:
    """The format `dtype`, or the complex numbers of that size for a complex leaf."""
    name = dtype if isinstance(dtype, str) else str(getattr(dtype, "__name__", dtype)).removeprefix("torch.")
    if "complex" in form or form == "clongdouble":
        return {"float32": "complex64", "float64": "complex128"}.get(name, name)
    return name


def stored(values: np.ndarray, template: Any, form: str) -> np.ndarray:
    """The values that are left of `values` in that format."""
    if form in ("float64", "complex128"):
        return values
    return np.array(to_numpy(native(values, template, form)))
