"""`out=`, `prepared=` and devices of every operation made wrong, one at a time, as in `test_contracts.py`."""

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from ltbc.kernels import dispatch
from ltbc.kernels.arrays import FLOATS, check_writable
from tests.kernels.test_contracts import DTYPES, NO_CHOICE, other_shapes
from tests.tools.contract_calls import ALL, ARRAYS, BUFFERS, CALLS, PREPARE, allowed, drawn, refused


@pytest.mark.parametrize("function, name", BUFFERS)
def test_buffers_of_wrong_shapes_are_refused_by_name(function, name):
    inputs, results = drawn(function)
    says = "out " if name == "out" else f"out {name} "
    for _, a in other_shapes(results[name]):
        refused(function, inputs, results | {name: a}, says=says)
        if len(results) > 1 and function != "color.encode":
            refused(function, inputs, dict.fromkeys(results) | {name: a}, says=says)


@pytest.mark.parametrize("function, name", BUFFERS)
def test_buffers_of_any_float_dtype_are_taken_and_no_others(function, name):
    inputs, results = drawn(function)
    for dtype in DTYPES:
        try_it = allowed if str(dtype) in FLOATS else refused
        try_it(function, inputs, results | {name: np.zeros(results[name].shape, dtype)})


@pytest.mark.parametrize("function, name", BUFFERS + [("adadelta.step", k) for k in ("p", "eg", "ed", "low")])
def test_buffers_that_cannot_be_written_are_refused_by_name(function, name):
    inputs, results = drawn(function)
    a = (inputs | results)[name]
    read_only = a.copy()
    read_only.flags.writeable = False
    broadcast = np.lib.stride_tricks.as_strided(np.zeros(1, a.dtype), a.shape, [0] * a.ndim)
    for wrong, what in ((read_only, "read-only"), (broadcast, "broadcast")):
        if name in inputs:
            refused(function, inputs | {name: wrong}, says=f"{name} must")
        else:
            refused(function, inputs, results | {name: wrong}, says="out ")
            refused(function, inputs, results | {name: wrong}, says=what)


def test_a_single_row_without_a_step_and_memory_of_a_gpu_can_be_written():
    """NumPy gives sides of 1 any step, and CuPy's flags do not say whether an array is writable."""
    inputs, _ = drawn("linear.forward")
    y = np.lib.stride_tricks.as_strided(np.zeros(5, np.float32), (1, 5), (0, 4))
    allowed("linear.forward", inputs | {"x": inputs["x"][:1]}, {"y": y})
    check_writable("op", "y", SimpleNamespace(strides=(4,), shape=(5,), flags=None))


def within(memory, a, start):
    """An array like a with its values in those bytes of the memory."""
    view = memory[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


WRITTEN = {function: tuple(results) for function, (_, results) in CALLS.items() if results}
WRITTEN["adadelta.step"] = ("p", "eg", "ed", "low")
PAIRS = [(function, one, other) for function, names in WRITTEN.items() for one in names
         for other in {**ALL[function][0], **ALL[function][1]} if other != one]


@pytest.mark.parametrize("function, one, other", PAIRS)
def test_what_is_written_lies_apart_from_all_other_arrays(function, one, other):
    """A few bytes in common are too many."""
    inputs, results = drawn(function)
    arrays = inputs | results
    memory, start = np.zeros(8192, np.uint8), 2048
    first, second = arrays[one], arrays[other]
    for shift, apart in ((0, False), ((first.nbytes - 1) // 8 * 8, False), (-(-first.nbytes // 8) * 8, True)):
        changed = {one: within(memory, first, start), other: within(memory, second, start + shift)}
        groups = [{k: changed.get(k, a) for k, a in group.items()} for group in (inputs, results)]
        if apart:
            allowed(function, *groups)
        else:
            refused(function, *groups, says="share memory")


def test_interleaved_arrays_lie_apart():
    both = np.zeros((2, 3, 2), np.float32)
    inputs, _ = drawn("linear.forward")
    allowed("linear.forward", inputs | {"x": both[..., 0]}, {"y": np.zeros((2, 5), np.float32)})
    inputs = {"y": np.zeros((1, 4, 6, 2), np.float32), "target": np.zeros((1, 4, 6, 2), np.float32)}
    allowed("chroma_loss.value_and_gradient", inputs | {"y": (both := np.zeros((1, 4, 12, 2), np.float32))[:, :, ::2]},
            {"out": both[:, :, 1::2]})


@pytest.mark.parametrize("backend", dispatch.BACKENDS)
@pytest.mark.parametrize("function", ["conv3x3.backward", "upsample2x_conv3x3.backward"])
def test_dx_may_go_over_x_itself(function, backend):
    inputs, results = drawn(function)
    x = inputs["x"]
    for through in ("none", "relu", "sigmoid"):
        allowed(function, inputs, results | {"dx": x}, backend=backend, through=through)
        refused(function, inputs, results | {"dx": x[:]}, backend=backend, through=through,
                says="out dx must lie apart from x")
    refused(function, inputs, results, says="through must be one of", backend=backend, through="tanh")
    refused(function, inputs | {"dy": x}, dict.fromkeys(results) | {"dx": x}, backend=backend)


@pytest.mark.parametrize("function", [f for f, (_, results) in CALLS.items() if len(results) > 1])
def test_tuples_of_buffers_have_the_right_length(function):
    inputs, results = drawn(function)
    full = tuple(results.values())
    for out in (full[:-1], full[1:], (*full, None), (*full, full[0]), (), [None], full[0], 0, "", "dx", {}, np.ones(3)):
        refused(function, inputs, out=out, says=f"out must be a tuple ({', '.join(results)}), got")
    allowed(function, inputs, out=list(full))
    allowed(function, inputs, out=(None,) * len(full))


def test_colors_buffers_come_together():
    inputs, results = drawn("color.encode")
    for name in results:
        refused("color.encode", inputs, results | {name: None}, says="out must hold both luminance and chroma")


@pytest.fixture
def elsewhere(monkeypatch):
    """CuPy, played by a class of NumPy's: no GPU needed."""
    cupy = ModuleType("cupy")
    cupy.ndarray = type("ndarray", (np.ndarray,), {})
    cupy.may_share_memory, cupy.shares_memory = np.may_share_memory, np.shares_memory
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return lambda a: a.view(cupy.ndarray)


@pytest.mark.parametrize("function, name", ARRAYS + BUFFERS)
def test_arrays_on_two_devices_are_refused_by_name(function, name, elsewhere):
    inputs, results = drawn(function)
    if name in results:
        refused(function, inputs, results | {name: elsewhere(results[name])}, says="is a cupy array but")
    elif len(inputs) > 1:
        refused(function, inputs | {name: elsewhere(inputs[name])}, says="is a ")
    inputs = {k: elsewhere(a) for k, a in inputs.items()}
    refused(function, inputs, backend="cpu", says="backend cpu takes NumPy arrays, got cupy arrays")
    for backend in ("reference", "gpu"):
        allowed(function, inputs, {k: elsewhere(a) for k, a in results.items()}, backend=backend)


@pytest.mark.parametrize("function", [f for f in ALL if "w" in ALL[f][0]])
def test_prepared_weights_are_those_of_w(function):
    """The cpu backend keeps the array itself; the gpu backend sums in an array of their own."""
    inputs, _ = drawn(function)
    w, name = inputs["w"], "out" if function in PREPARE else "prepared"
    mine, others = (SimpleNamespace(form=None, w=a) for a in (w, w.copy()))
    again = SimpleNamespace(form=None, w=w[...])
    small = SimpleNamespace(form=None, w=w[..., :-1].copy())
    half = SimpleNamespace(form=None, w=w.astype(np.float16))
    for right in (mine, again, *([others] if name == "out" else [])):
        allowed(function, inputs, backend="cpu", **{name: right})
    for wrong in (small, half, *([others] if name == "prepared" else [])):
        refused(function, inputs, backend="cpu", says=f"{name} must be what prepare made of this w", **{name: wrong})
    for backend in ("reference", "gpu"):
        refused(function, inputs, backend=backend, says=f"{name} must be what prepare(w, backend=", **{name: mine})
    summed = np.zeros((16, *w.shape[-2:]), w.dtype)
    allowed(function, inputs, backend="gpu", **{name: summed})
    for wrong in (summed[..., :-1], summed[:, :-1], summed.astype(np.float16)):
        refused(function, inputs, backend="gpu", says="that of other weights", **{name: wrong})
    for backend in ("reference", "cpu"):
        refused(function, inputs, backend=backend, says="got a ndarray", **{name: summed})


def test_integers_on_a_gpu_are_not_looked_at(monkeypatch):
    """That would wait for all that runs there: these arrays have no values."""
    def elsewhere(a):
        far = Far()
        far.shape, far.dtype, far.size = a.shape, a.dtype, a.size
        return far

    Far, cupy = type("ndarray", (), {}), ModuleType("cupy")
    cupy.ndarray = Far
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for function in ("color.encode", "class_loss.value_and_gradient"):
        inputs = {k: elsewhere(a) for k, a in drawn(function)[0].items()}
        allowed(function, inputs, backend="gpu")


def test_prepare_gives_what_its_contract_takes():
    inputs, _ = drawn("linear.forward")
    prepare = import_module("ltbc.kernels.linear").prepare
    prepared = prepare(inputs["w"], backend="cpu")
    assert prepare(inputs["w"].copy(), out=prepared, backend="cpu") is prepared
    refused("linear.forward", inputs, says="prepared must be what prepare made of this w [3, 5]", prepared=prepared,
            backend="cpu")


@pytest.mark.parametrize("backend", dispatch.BACKENDS)
def test_gradients_are_added_where_they_agree(backend):
    total, x = np.ones((1, 2, 3, 4), np.float32), np.ones((1, 2, 3, 4), np.float32)
    if backend != "cpu":
        dispatch.add(total, x, backend)
        assert (total == 2).all()
    read_only = np.broadcast_to(x[:, :1], x.shape)
    for wrong in ((total, x[:1, :1]), (total[:, :1], x), (total, x.astype(int)), (total.astype(int), x), (read_only, x),
                  (total, total), (total, [1.0]), ([1.0], x)):
        with pytest.raises((TypeError, ValueError), match="^add: [^\n]*(must|need)[^\n]*$"):
            dispatch.add(*wrong, backend)


@pytest.mark.parametrize("backend", NO_CHOICE)
def test_unknown_backends_have_no_buffers(backend):
    for f, *arguments in ((dispatch.allocate, (1, 2, 3, 4), np.float32), (dispatch.add, *np.ones((2, 3)))):
        with pytest.raises(ValueError, match=f"^{f.__name__}: backend must be one of reference, cpu, gpu, got "):
            f(*arguments, backend)


def test_a_missing_backend_is_an_error_not_a_fallback(monkeypatch):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    inputs, _ = drawn("linear.forward")
    refused("linear.forward", inputs, says="backend must be one that it has, got 'cpu'", backend="cpu")
