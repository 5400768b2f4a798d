"""What the tests of the operations share: cases drawn at random, run on a backend, held against the reference.

    @given(case=cases("conv3x3"))
    def test_cpu(case):
        check_backend(case, "cpu", "bfloat16", storage=bfloat16)
"""

from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from gradcheck import check_adjoint, check_gradients, strategies
from ltbc.kernels import im2col
from ltbc.kernels.arrays import ACTIVATIONS, activation_backward, sum_dtype
from ltbc.kernels.compare import assert_close, to_float64, tolerance


class Layer(NamedTuple):
    """An operation with forward and backward: shapes of its arguments, settings, sizes to draw, sums' lengths."""

    arguments: dict[str, str]  # name: shape, in forward's order
    takes: tuple[str, ...]  # what backward takes after dy
    settings: dict[str, tuple]
    sizes: dict[str, int]  # the largest of each
    lengths: dict[str, str]  # products summed into an element of each result, as a product of sizes

    @property
    def gradients(self) -> list[str]:
        return ["d" + name.rstrip("_") for name in self.arguments]


ACTIVATION = {"activation": ACTIVATIONS}
CONV = Layer(
    {"x": "N H W Cin", "w": "3 3 Cin Cout", "b": "Cout"}, ("x", "w", "y"), {"stride": (1, 2), **ACTIVATION},
    dict(N=3, H=7, W=7, Cin=4, Cout=5), {"y": "9 Cin", "dx": "9 Cout", "dw": "N H W", "db": "N H W"},
)
LAYERS = {
    "conv3x3": CONV,
    "upsample2x_conv3x3": CONV._replace(
        settings=ACTIVATION, lengths={"y": "9 Cin", "dx": "36 Cout", "dw": "4 N H W", "db": "4 N H W"}
    ),
    "upsample2x": Layer({"x": "N H W C"}, (), {}, dict(N=3, H=5, W=5, C=4), {"y": "1", "dx": "4"}),
    "linear": Layer(
        {"x": "N Cin", "w": "Cin Cout", "b": "Cout"}, ("x", "w", "y"), ACTIVATION,
        dict(N=6, Cin=9, Cout=9), {"y": "Cin", "dx": "Cout", "dw": "N", "db": "N"},
    ),
    "fusion": Layer(
        {"mid": "N H W Cm", "global_": "N Cg", "w": "Cg+Cm Cout", "b": "Cout"}, ("mid", "global_", "w", "y"),
        ACTIVATION, dict(N=3, H=4, W=4, Cm=5, Cg=4, Cout=5),
        {"y": "Cg+Cm", "dmid": "Cout", "dglobal": "H W Cout", "dw": "N H W", "db": "N H W"},
    ),
}


class Case(NamedTuple):
    """Arguments and settings of one call. `arguments` of a layer end with dy."""

    op: str
    sizes: dict[str, int]
    arguments: dict[str, Any]
    settings: dict[str, Any]
    band: int = im2col.BAND_BYTES  # the reference's bands; small ones cut tiny images too

    @property
    def module(self):
        return import_module(f"ltbc.kernels.{self.op}")

    def converted(self, convert) -> "Case":
        """With `convert(name, array)` applied to every array."""
        arrays = {k: convert(k, a) if isinstance(a, np.ndarray) else a for k, a in self.arguments.items()}
        return self._replace(arguments=arrays)


@st.composite
def cases(draw, op: str, layout=None, **largest: int) -> Case:
    """A case of a layer in float64; sizes replace those of the table."""
    layer = LAYERS[op]
    sizes = draw(strategies.sizes(**layer.sizes | largest))
    chosen = {k: draw(st.sampled_from(v)) for k, v in layer.settings.items()}
    band = draw(st.sampled_from((im2col.BAND_BYTES, 1, 2000)))
    arguments = {k: draw(strategies.arrays(shape(p, sizes), layout=layout)) for k, p in layer.arguments.items()}
    case = Case(op, sizes, arguments, chosen, band)
    dy = draw(strategies.arrays(forward(case).shape, layout=layout))
    return case._replace(arguments={**arguments, "dy": dy})


def shape(pattern: str, sizes: dict[str, int]) -> tuple[int, ...]:
    """ "3 3 Cin Cout" with the sizes put in; "Cg+Cm" is their sum."""
    return tuple(sum(int(sizes.get(name, name)) for name in d.split("+")) for d in pattern.split())


def forward(case: Case, backend: str = "reference", **options) -> Any:
    inputs = [case.arguments[k] for k in LAYERS[case.op].arguments]
    with band_bytes(case.band):
        return case.module.forward(*inputs, **case.settings, backend=backend, **options)


def backward(case: Case, y: Any, backend: str = "reference", **options) -> tuple:
    inputs = [{"y": y, **case.arguments}[k] for k in LAYERS[case.op].takes]
    with band_bytes(case.band):
        found = case.module.backward(case.arguments["dy"], *inputs, **case.settings, backend=backend, **options)
    return found if isinstance(found, tuple) else (found,)


def results(case: Case, backend: str = "reference", y: Any = None) -> dict[str, Any]:
    """{"y": ..., "dx": ...}: forward, then backward with that y or with the one found."""
    found = forward(case, backend)
    return {"y": found, **dict(zip(LAYERS[case.op].gradients, backward(case, found if y is None else y, backend)))}


def check_backend(
    case: Case, backend: str, arithmetic: str, storage: Any, scale: float = 1.0, place=lambda name, a: a
) -> None:
    """Forward and backward of a layer on a backend against the reference in float64, from the same stored values.

    `place` turns a NumPy array into the backend's own (`cupy.asarray`, a buffer with a border).
    """

    def stored(name: str, a: np.ndarray) -> np.ndarray:
        return a.astype(sum_dtype(storage) if name == "b" else storage)

    rounded = case.converted(stored)
    exact = rounded.converted(lambda name, a: to_float64(a))
    y = stored("y", forward(exact))
    want, usual = results(exact, y=to_float64(y)), magnitudes(exact, to_float64(y))
    got = results(rounded.converted(place), backend, y=place("y", y))
    assert_results(got, want, case, arithmetic, scale, usual)


def assert_results(got, want, case: Case, arithmetic: str = "float64", scale: float = 1.0, usual=None) -> None:
    """Every result within the tolerance of its sums, in the order of the computation."""
    usual = usual or magnitudes(case, want["y"])
    for name, length in LAYERS[case.op].lengths.items():
        allowed = scale * tolerance(arithmetic, int(np.prod(shape(length, case.sizes))), got[name].dtype)
        assert_close(f"{case.op} {name} {case.settings}", got[name], want[name], allowed, usual[name])


def magnitudes(case: Case, y: np.ndarray) -> dict[str, np.ndarray]:
    """sqrt(sum (a_k b_k)^2) of each result, for `assert_close`: the same sums over squares."""
    activation = case.settings.get("activation", "none")
    dz = activation_backward(case.arguments["dy"], y, activation)
    squares = case.converted(lambda name, a: (dz if name == "dy" else a) ** 2)
    return {k: np.sqrt(a) for k, a in results(without_activation(squares)).items()}


def without_activation(case: Case) -> Case:
    return case._replace(settings={k: "none" if k == "activation" else v for k, v in case.settings.items()})


def check_slopes(case: Case) -> None:
    """Directional derivatives of every gradient; the adjoint identity where the activation leaves the layer linear."""
    layer, inputs = LAYERS[case.op], {k: case.arguments[k] for k in LAYERS[case.op].arguments}
    pair = [lambda *a: case.module.forward(*a, **case.settings), lambda *a: case.module.backward(*a, **case.settings)]
    check_gradients(*pair, inputs, takes=layer.takes, operation=case.op)
    if case.settings.get("activation", "none") == "none":
        check_adjoint(*pair, inputs, linear_in=list(inputs), takes=layer.takes, operation=case.op)


def check_out(case: Case) -> None:
    """`out=` buffers are filled, returned and decide the dtype; results are the same as without them."""
    want = results(case)
    y = np.full(want["y"].shape, np.nan, np.float32)
    assert forward(case, out=y) is y
    np.testing.assert_array_equal(y, want["y"].astype(np.float32))
    buffers = tuple(np.full(want[k].shape, np.nan) for k in LAYERS[case.op].gradients)
    found = backward(case, want["y"], out=buffers if len(buffers) > 1 else buffers[0])
    for name, buffer, gradient in zip(LAYERS[case.op].gradients, buffers, found):
        assert gradient is buffer, name
        np.testing.assert_array_equal(buffer, want[name], err_msg=name)


@contextmanager
def band_bytes(n: int):
    """Bands of the reference convolutions of about n bytes."""
    before, im2col.BAND_BYTES = im2col.BAND_BYTES, n
    try:
        yield
    finally:
        im2col.BAND_BYTES = before


def rejects(message: str, error: type[Exception], call, *args, **kwargs) -> None:
    """The call raises exactly that error with exactly that line."""
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is error and str(caught.value) == message
