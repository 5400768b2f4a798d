"""Every argument and option of every operation made wrong, one at a time: the contract refuses it in one line and no
backend is reached. What the contract allows reaches one. Buffers: `test_contract_buffers.py`."""

import inspect
import re
from importlib import import_module
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from ltbc import kernels
from ltbc.kernels import dispatch
from ltbc.kernels.arrays import FLOATS, sum_dtype
from tests.tools import contract_calls
from tests.tools.contract_calls import (
    ALL,
    ARRAYS,
    BUFFERS,
    CALLS,
    INTEGERS,
    OPTIONAL,
    PREPARE,
    SIZES,
    allowed,
    drawn,
    refused,
)

DTYPES = [np.dtype(d) for d in (
    "float16", "float32", "float64", "longdouble", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, "complex64",
    "complex128", "int8", "int64", "uint8", "uint16", "uint32", "bool", "object", "U1", ">f4", ">u2",
)]
NOT_ARRAYS = ([[1.0]], 1.0, 0, "x", (), object(), np.float32(1), memoryview(b"1234"))
NO_NUMBER = ("1", None, 1j, True, np.True_, [1.0], np.ones(1), np.ones(()))
NO_FLAG = (0, 1, None, "no", 1.0, [], np.ones(1, bool))
NO_CHOICE = ("", "tpu", "RELU", "relu\n", b"relu", None, 0, True, ["relu"], ("none", "cpu"), np.array(["none"]), nan)
NOT_PREPARED = (0, 1, "w", [], {}, SimpleNamespace(w=1))
WRONG = {  # option: values that are refused
    "stride": (0, 3, -1, 4, 2**70, 1.0, 2.0, True, "1", None, nan, [1], np.ones(1, int), np.array([1, 2])),
    **dict.fromkeys(("activation", "through", "kind", "space", "backend"), NO_CHOICE),
    **dict.fromkeys(("needs_dx", "needs_dw"), NO_FLAG),
    "scale": (*NO_NUMBER, nan, inf, -inf, 1e39, -1e39, 10**400, np.float64(nan)),
    "lr": (*NO_NUMBER, nan, inf, 1e39, 0, -1.0, 1e-60), "eps": (*NO_NUMBER, nan, inf, 1e39, 0, -1e-6, 1e-60),
    "rho": (*NO_NUMBER, nan, inf, -inf, 1, 1.5, -0.1, 1 - 1e-9),
    "size": ((), 0, 2, (2,), (2, 2, 2), (2.0, 2), (True, 2), ("2", "2"), "22", (0, 2), (2, 0), (-2, 2), (2, -2), (1, 2),
             (3, 4), (4, 5), (6, 6), (4, 8), (2**70, 2), (nan, 2), np.array([2, 2])),
    "dtype": (None, int, "int8", np.uint8, bool, complex, "complex64", "nonsense", ">f4", np.longdouble, 3, np.ones(1)),
    "prepared": NOT_PREPARED, "out": NOT_PREPARED,  # the latter of prepare alone: see the tests of buffers
}
RIGHT = {  # and some that are taken
    "stride": (1, np.int64(1)), "activation": ("none", "relu", "sigmoid", np.str_("relu")),
    "through": ("none", "relu", "sigmoid"),
    "kind": ("softmax", "sigmoid"), "space": ("lab", "yuv"), "backend": dispatch.BACKENDS,
    "needs_dx": (True, False, np.False_), "needs_dw": (True, False, np.False_), "scale": (0, -1, 3e38, np.float32(2)),
    "lr": (1, 0.1, 3e38, np.float64(1)), "eps": (1, 1e-12), "rho": (0, 0.9, 1 - 2**-24), "size": ((4, 6), [4, 6]),
    "dtype": (float, "float16", np.float32, ml_dtypes.bfloat16), "prepared": (None,), "out": (None,),
}


def test_every_function_of_every_operation_is_tried_with_every_argument():
    operations = {path.parent.name for path in Path(kernels.__file__).parent.glob("*/__init__.py")}
    found = {}
    for op in operations:
        for name, f in vars(import_module(f"ltbc.kernels.{op}")).items():
            if inspect.isfunction(f) and f.__module__ == f"ltbc.kernels.{op}":
                found[f"{op}.{name}"] = set(inspect.signature(f).parameters)
    del found["conv3x3.method"]  # of numbers alone
    found = {function: parameters for function, parameters in found.items() if "backend" in parameters}
    assert found.keys() == ALL.keys()
    for function, parameters in found.items():
        assert parameters == set(ALL[function][0]) | {"out"} & parameters | WRONG.keys() & parameters, function


@pytest.mark.parametrize("function", ALL)
def test_right_calls_reach_the_backend(function):
    inputs, results = drawn(function)
    allowed(function, inputs)
    allowed(function, inputs, results)
    allowed(function, {name: None if name in OPTIONAL else a for name, a in inputs.items()}, results)
    for name in results if len(results) > 1 and function != "color.encode" else ():
        allowed(function, inputs, results | {name: None})
    for option, values in options(function, RIGHT):
        for value in values:
            allowed(function, inputs, None if option == "space" else results, **{option: value})


def options(function, table):
    names = inspect.signature(getattr(import_module(f"ltbc.kernels.{function.split('.')[0]}"), function.split(".")[1]))
    known = table.keys() & set(names.parameters) - ({"out"} if function not in PREPARE else set())
    return [(name, table[name]) for name in sorted(known)]


@pytest.mark.parametrize("function", ALL)
def test_wrong_options_are_refused_by_name(function):
    inputs, results = drawn(function)
    for option, values in options(function, WRONG):
        for value in values:
            refused(function, inputs, results, says=option, **{option: value})


def other_shapes(a):
    """(axis or None for another rank, the array in that shape)"""
    yield None, np.zeros((1, *a.shape), a.dtype)
    yield None, np.zeros((*a.shape, 1), a.dtype)
    yield None, np.zeros(a.shape[1:], a.dtype)
    for axis, side in enumerate(a.shape):
        for other in {0, side - 1, side + 1, 2 * side} - {side}:
            yield axis, np.zeros((*a.shape[:axis], other, *a.shape[axis + 1 :]), a.dtype)


def tied(function, name, axis):
    """Whether the other arrays fix that dimension of an array."""
    arrays = ALL[function][0]
    size = arrays[name].split()[axis]
    others = {d for other, pattern in arrays.items() if other != name for d in re.split(r"[ +]", pattern)}
    return size.isdigit() or bool(others & set(size.split("+")))


@pytest.mark.parametrize("function, name", ARRAYS)
def test_arrays_of_wrong_shapes_are_refused(function, name):
    """By the other arrays where they fix the dimension, by the buffers for the results in any case."""
    inputs, results = drawn(function)
    for axis, a in other_shapes(inputs[name]):
        if axis is None or not a.size or tied(function, name, axis):
            refused(function, inputs | {name: a})
        if function in CALLS:
            refused(function, inputs | {name: a}, results)


@pytest.mark.parametrize("function, name", ARRAYS + BUFFERS)
def test_what_is_no_array_is_refused_by_name(function, name):
    inputs, results = drawn(function)
    for value in (*NOT_ARRAYS, *([None] if name in inputs and name not in OPTIONAL else [])):
        if name in inputs:
            refused(function, inputs | {name: value}, says=name)
        else:
            refused(function, inputs, results | {name: value}, says=f"out {name}".replace("out out", "out"))


@pytest.mark.parametrize("function", ALL)
def test_empty_arrays_are_refused_where_all_agree(function, monkeypatch):
    known = {d for pattern in ALL[function][0].values() for d in re.split(r"[ +]", pattern)} & SIZES.keys()
    for size in known if function != "fusion.prepare" else ["Cout"]:  # else w keeps some rows
        with monkeypatch.context() as m:
            m.setitem(SIZES, size, 0)
            m.setattr(contract_calls, "INTEGERS", {k: v[: SIZES["N"]] for k, v in INTEGERS.items()})
            inputs, results = drawn(function)
        refused(function, inputs, says="must not be empty, got")
        refused(function, inputs, results, says="must not be empty, got")


def right_dtypes(function, dtypes):
    """The rules of kernels/README.md and of the docstrings, once more."""
    own = {"rgb": ("uint8", "uint16", *FLOATS), "low": ("float16", "bfloat16"), "flip": ("bool",)}
    own |= dict.fromkeys(("labels", "top", "left"), ("int8", "int64", "uint8", "uint16", "uint32", ">u2"))
    own |= dict.fromkeys(("luminance", "chroma"), FLOATS)
    wide = {"b", "target"} | ({"dy", "y"} if "w" in dtypes else set())
    storage = [d for name, d in dtypes.items() if name not in own.keys() | wide]
    if any(str(d) not in own[name] for name, d in dtypes.items() if name in own) or len(set(storage)) > 1:
        return False
    if not storage:
        return True
    if str(storage[0]) not in (FLOATS[2:] if function == "adadelta.step" else FLOATS):
        return False
    return all(d in (storage[0], sum_dtype(storage[0])) for name, d in dtypes.items() if name in wide)


@pytest.mark.parametrize("function, name", ARRAYS)
def test_arrays_of_wrong_dtypes_are_refused(function, name):
    for storage in (np.float32, np.float64) if function == "adadelta.step" else map(np.dtype, (
            np.float16, ml_dtypes.bfloat16, np.float32, np.float64)):
        inputs, results = drawn(function, storage)
        for dtype in DTYPES:
            changed = inputs | {name: np.zeros(inputs[name].shape, dtype)}
            if right_dtypes(function, {k: a.dtype for k, a in changed.items()}):
                allowed(function, changed, results)
            else:
                refused(function, changed)


@pytest.mark.parametrize("function", ALL)
def test_dtypes_of_all_arrays_together(function):
    inputs, _ = drawn(function)
    for dtype in DTYPES:
        changed = {k: a.astype(dtype) if a.dtype == np.float32 else a for k, a in inputs.items()}
        try_it = allowed if right_dtypes(function, {k: a.dtype for k, a in changed.items()}) else refused
        try_it(function, changed)


@pytest.mark.parametrize("name, limit", [("top", 2), ("left", 4)])
def test_corners_and_labels_within_their_limits(name, limit):
    """All of them, first and last; a crop one pixel further would read what is not the picture's."""
    inputs, _ = drawn("color.encode")
    inputs = dict.fromkeys(inputs) | {"rgb": inputs["rgb"]}
    for right in ((0, limit), (limit, 0)):
        allowed("color.encode", inputs | {name: np.array(right)}, size=(2, 2))
    for wrong in ((0, limit + 1), (limit + 1, 0), (-1, 0), (0, -1), (2**62, 0)):
        refused("color.encode", inputs | {name: np.array(wrong)}, says=f"{name} must lie in 0..{limit}", size=(2, 2))
    refused("color.encode", inputs | {name: np.array([1, 0])}, says=f"{name} must lie in 0..0")


@pytest.mark.parametrize("wrong", [(-1, 0), (0, -1), (7, 0), (0, 7), (2**62, 0)])
def test_labels_are_classes(wrong):
    inputs, _ = drawn("class_loss.value_and_gradient")
    refused("class_loss.value_and_gradient", inputs | {"labels": np.array(wrong)}, says="labels must lie in 0..6, got")


@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (2, 4, 7, 3)])
def test_odd_sides_are_refused(shape):
    refused("color.encode", {"rgb": np.zeros(shape, np.uint8)}, says="size must be even")
    refused("upsample2x.backward", {"dy": np.zeros(shape)}, says="dy must have even height and width")


def test_stride_2_halves_odd_sides_upwards():
    inputs, results = drawn("conv3x3.backward")
    inputs |= {"x": np.zeros((2, 5, 7, 3), np.float32), "dy": (y := np.zeros((2, 3, 4, 5), np.float32)), "y": y}
    allowed("conv3x3.backward", inputs, results | {"dx": None}, stride=2)
    for name in ("dy", "y"):
        refused("conv3x3.backward", inputs | {name: y[:, :2]}, stride=2, says=f"{name} must be [2, 3, 4, 5]")
