"""Arrays that the gpu backend's kernels cannot take, for every argument of every operation: refused by name.
And arrays at any address: the same result."""

from importlib import import_module

import numpy as np
import pytest

from tests.tools import helpers
from tests.tools.interpreter import place, watched

launch = import_module("ltbc.kernels.gpu.launch")  # after the interpreter

SIZES = {"N": 2, "H": 4, "W": 6, "C": 3, "Cin": 3, "Cout": 5, "Cg": 2, "Cm": 3, "K": 7}
CONV, UP = {"x": "N H W Cin", "w": "3 3 Cin Cout", "b": "Cout"}, {"y": "N 8 12 Cout", "dy": "N 8 12 Cout"}
FUSED = {"mid": "N H W Cm", "global_": "N Cg", "w": "Cg+Cm Cout"}
# function: its arrays in order; its results, which `out` may hold
CALLS = {
    "linear.forward": ({"x": "N Cin", "w": "Cin Cout", "b": "Cout"}, {"y": "N Cout"}),
    "linear.backward": ({"dy": "N Cout", "x": "N Cin", "w": "Cin Cout", "y": "N Cout"},
                        {"dx": "N Cin", "dw": "Cin Cout", "db": "Cout"}),
    "fusion.forward": (FUSED | {"b": "Cout"}, {"y": "N H W Cout"}),
    "fusion.backward": ({"dy": "N H W Cout"} | FUSED | {"y": "N H W Cout"},
                        {"dmid": "N H W Cm", "dglobal": "N Cg", "dw": "Cg+Cm Cout", "db": "Cout"}),
    "conv3x3.forward": (CONV, {"y": "N H W Cout"}),
    "conv3x3.backward": ({"dy": "N H W Cout", "x": CONV["x"], "w": CONV["w"], "y": "N H W Cout"},
                         {"dx": CONV["x"], "dw": CONV["w"], "db": "Cout"}),
    "upsample2x_conv3x3.forward": (CONV, {"y": UP["y"]}),
    "upsample2x_conv3x3.backward": ({"dy": UP["dy"], "x": CONV["x"], "w": CONV["w"], "y": UP["y"]},
                                    {"dx": CONV["x"], "dw": CONV["w"], "db": "Cout"}),
    "upsample2x.forward": ({"x": "N H W C"}, {"y": "N 8 12 C"}),
    "upsample2x.backward": ({"dy": "N H W C"}, {"dx": "N 2 3 C"}),
    "chroma_loss.value_and_gradient": ({"y": "N H W C", "target": "N H W C"}, {"out": "N H W C"}),
    "class_loss.value_and_gradient": ({"z": "N K", "labels": "N"}, {"out": "N K"}),
    "adadelta.step": ({"p": "K", "g": "K", "eg": "K", "ed": "K", "low": "K"}, {}),
    "color.encode": ({"rgb": "N H W 3", "top": "N", "left": "N", "flip": "N"},
                     {"luminance": "N H W 1", "chroma": "N 2 3 2"}),
    "color.decode": ({"luminance": "N H W 1", "chroma": "N H W 2"}, {}),
}  # fmt: skip
INTEGERS = {"labels": [6, 0], "top": [0, 0], "left": [0, 0], "flip": [True, False]}
ARGUMENTS = [(f, name) for f, (arrays, results) in CALLS.items() for name in [*arrays, *results]]


def draw(function, change=lambda name, a: a, out=True):
    """(a call of the function with drawn arrays, each changed by `change`; these arrays)"""
    rng = np.random.default_rng(0)

    def array(name, pattern):
        if name in INTEGERS:
            return change(name, place(np.array(INTEGERS[name])))
        values = rng.random(helpers.shape(pattern, SIZES))
        return change(name, place(values, np.float16 if name == "low" else np.float32))

    inputs, results = ({name: array(name, pattern) for name, pattern in group.items()} for group in CALLS[function])
    op, name = function.split(".")
    call, out = getattr(import_module(f"ltbc.kernels.{op}"), name), tuple(results.values()) if out else ()
    options = {"out": out if len(out) > 1 else out[0]} if out else {}
    return lambda: call(**inputs, **options, backend="gpu"), (*inputs.values(), *out)


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
