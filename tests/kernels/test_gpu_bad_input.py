"""Arrays that the gpu backend's kernels cannot take, for every argument of every operation: refused by name.
And arrays at any address: the same result."""

from importlib import import_module

import numpy as np
import pytest

from tests.tools import helpers
from tests.tools.contract_calls import CALLS, call, drawn
from tests.tools.interpreter import place, watched

launch = import_module("ltbc.kernels.gpu.launch")  # after the interpreter

ARGUMENTS = [(f, name) for f, (arrays, results) in CALLS.items() for name in [*arrays, *results]]


def draw(function, change=lambda name, a: a, out=True):
    """(a call of the function with drawn arrays, each changed by `change`; these arrays)"""
    groups = drawn(function, make=place)
    inputs, results = ({name: change(name, a) for name, a in group.items()} for group in groups)
    results = results if out else {}
    return lambda: call(function, inputs, results, backend="gpu"), (*inputs.values(), *results.values())


def strided(a):
    """The same values, every second element or pixel of a larger array."""
    axis = a.ndim - (2 if a.shape[-1] == 1 else 1)
    return np.repeat(a, 2, axis)[(slice(None),) * axis + (slice(None, None, 2),)]


@pytest.mark.parametrize("function, name", ARGUMENTS)
def test_strided_arrays_are_refused_by_name(function, name):
    call, _ = draw(function, lambda k, a: strided(a) if k == name else a)
    op = function.split(".")[0]
    with watched():
        message = f"{op}: backend gpu takes contiguous arrays; copy {name} with ascontiguousarray"
        helpers.rejects(message, ValueError, call)


@pytest.mark.parametrize("function", CALLS)
def test_float64_is_refused(function):
    call, _ = draw(function, lambda k, a: a.astype(np.float64) if a.dtype == np.float32 else a)
    with watched(), pytest.raises(TypeError, match="backend gpu computes in bfloat16, float16, float32; .* is float64"):
        call()


@pytest.mark.parametrize("function", CALLS)
def test_too_many_elements_are_refused_also_in_a_result_of_small_arrays(function, monkeypatch):
    """Kernels count in 32 bits. The limit is lowered here to the largest array of the call."""
    call, arrays = draw(function, out=False)
    largest = max(arrays, key=lambda a: a.size).size
    if function in ("fusion.forward", "conv3x3.forward", "upsample2x.forward", "upsample2x_conv3x3.forward"):
        largest += 1  # than the arguments, so that only y is too large
    monkeypatch.setattr(launch, "LIMIT", largest)
    with watched():
        with pytest.raises(ValueError, match=r"has \d+ elements, backend gpu takes fewer than 2\^31; split"):
            call()


@pytest.mark.parametrize("function", CALLS)
def test_misaligned_arrays_give_the_same_result(function):
    """Everything one element further than 16 bytes would have it."""

    def moved(name, a):
        return place(np.concatenate([a[:1].ravel()[:1], a.ravel()]))[1:].reshape(a.shape)

    found = []
    for change in (lambda name, a: a, moved):
        call, arrays = draw(function, change)
        with watched():
            result = call()
        found.append([*arrays, *(result if isinstance(result, tuple) else [result])])
    for a, b in zip(*found):
        assert a is None or a.tobytes() == b.tobytes()
