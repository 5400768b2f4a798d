"""A call of every function of every contract, on small drawn arrays: `drawn`, `call`. Tests make one thing wrong: a
call is `allowed` or `refused`, by the contract alone."""

import re
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from ltbc.kernels import dispatch
from ltbc.kernels.arrays import sum_dtype
from tests.tools import helpers

SIZES = {"N": 2, "H": 4, "W": 6, "C": 3, "Cin": 3, "Cout": 5, "Cg": 2, "Cm": 3, "K": 7}
CONV, UP = {"x": "N H W Cin", "w": "3 3 Cin Cout", "b": "Cout"}, "N H+H W+W Cout"
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
    "upsample2x_conv3x3.forward": (CONV, {"y": UP}),
    "upsample2x_conv3x3.backward": ({"dy": UP, "x": CONV["x"], "w": CONV["w"], "y": UP},
                                    {"dx": CONV["x"], "dw": CONV["w"], "db": "Cout"}),
    "upsample2x.forward": ({"x": "N H W C"}, {"y": "N H+H W+W C"}),
    "upsample2x.backward": ({"dy": "N H W C"}, {"dx": "N 2 3 C"}),
    "chroma_loss.value_and_gradient": ({"y": "N H W C", "target": "N H W C"}, {"out": "N H W C"}),
    "class_loss.value_and_gradient": ({"z": "N K", "labels": "N"}, {"out": "N K"}),
    "adadelta.step": ({"p": "K", "g": "K", "eg": "K", "ed": "K", "low": "K"}, {}),
    "color.encode": ({"rgb": "N H W 3", "top": "N", "left": "N", "flip": "N"},
                     {"luminance": "N H W 1", "chroma": "N 2 3 2"}),
    "color.decode": ({"luminance": "N H W 1", "chroma": "N H W 2"}, {}),
}
PREPARE = {f"{op}.prepare": ({"w": CALLS[f"{op}.forward"][0]["w"]}, {})
           for op in ("linear", "fusion", "conv3x3", "upsample2x_conv3x3")}
ALL = CALLS | PREPARE
ARRAYS = [(function, name) for function, (arrays, _) in ALL.items() for name in arrays]
BUFFERS = [(function, name) for function, (_, results) in ALL.items() for name in results]
OPTIONAL = ("low", "top", "left", "flip")  # arrays that may be None
INTEGERS = {"labels": [6, 0], "top": [0, 0], "left": [0, 0], "flip": [True, False]}
WIDE = {"b", "dw", "db"}


def drawn(function: str, storage: Any = np.float32, make=np.array) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arrays, buffers for the results) of a right call, by name; `make(values, dtype)` places each."""
    rng = np.random.default_rng(0)

    def array(name: str, pattern: str) -> Any:
        if name in INTEGERS:
            return make(np.array(INTEGERS[name]), None)
        dtype = np.float16 if name == "low" else sum_dtype(storage) if name in WIDE else storage
        return make(rng.random(helpers.shape(pattern, SIZES)), dtype)

    inputs, results = ({name: array(name, pattern) for name, pattern in group.items()} for group in ALL[function])
    return inputs, results


def call(function: str, inputs: dict[str, Any], results: dict[str, Any] | None = None, **options: Any) -> Any:
    """The function on those arrays, with those buffers as `out` if there are any."""
    op, name = function.split(".")
    if results:
        out = tuple(results.values())
        options = {"out": out if len(out) > 1 else out[0]} | options
    return getattr(import_module(f"ltbc.kernels.{op}"), name)(**inputs | options)


class Reached(Exception):
    """The contract let the call through to a backend."""


def reached(*_: Any, **__: Any) -> None:
    raise Reached


FUNCTIONS = ("prepare", "forward", "backward", "value_and_gradient", "step", "encode", "decode")
IN_PLACE_OF_BACKENDS = SimpleNamespace(**dict.fromkeys(FUNCTIONS, reached))  # nothing is computed, nothing written


def no_backend() -> Any:
    return patch.object(dispatch, "import_module", lambda name: IN_PLACE_OF_BACKENDS)


def allowed(function, inputs, results=None, **options):
    with no_backend(), pytest.raises(Reached):
        call(function, inputs, results, **options)


def refused(function, inputs, results=None, says="", **options):
    """In one line that names the operation and what came."""
    try:
        with no_backend():
            call(function, inputs, results, **options)
    except Reached:
        got = {name: getattr(a, "shape", a) for name, a in {**inputs, **(results or {}), **options}.items()}
        pytest.fail(f"{function} takes {got}")
    except (TypeError, ValueError) as error:
        assert type(error) in (TypeError, ValueError)
        message = str(error)
    assert re.fullmatch(rf"{function.split('.')[0]}: [^\n]*\b(must|need|take|like)s?\b[^\n]*, got [^\n]+", message) or (
        re.search(r" is a \w+ array but \w+ is a \w+ array$", message)), message
    assert says in message, message
