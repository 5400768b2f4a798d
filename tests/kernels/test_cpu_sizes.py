"""The cpu backend's layers beyond every block that kernels are cut into, and at the sizes of a network that is in use.

All between bands of NaN and on 1, 2, 3 and 5 threads, with the same bits (`cpu_checks.check`).
"""

import numpy as np
import pytest
from ml_dtypes import bfloat16

from ltbc.colorize.colorizer import WEIGHTS
from ltbc.kernels.arrays import ACTIVATIONS
from ltbc.kernels.compare import relative_error
from ltbc.kernels.cpu.gradient import ANCHORS  # windows that a weight gradient packs at a time
from ltbc.kernels.cpu.matrix import STEPS_BLOCK as STEPS
from ltbc.kernels.cpu.rows import FEW_ROWS as ROWS  # of linear, whose weights are packed on the way
from ltbc.nn import Network
from ltbc.nn.architecture import layers
from ltbc.nn.weights import load_weights
from tests.tools.cpu_checks import check, drawn

DTYPES = pytest.mark.parametrize("dtype", [bfloat16, np.float32])


@DTYPES
@pytest.mark.parametrize("op, sizes, options", [
    ("linear", dict(N=ROWS + 1, Cin=75, Cout=70), {"activation": "relu"}),
    ("linear", dict(N=2 * ROWS + 5, Cin=2 * STEPS + 9, Cout=37), {}),  # a reduction of more than a panel's block
    ("linear", dict(N=ROWS, Cin=37, Cout=2 * STEPS + 9), {}),
    ("linear", dict(N=2 * ANCHORS + 7, Cin=5, Cout=3), {}),
    ("conv3x3", dict(N=1, H=65, W=66, Cin=5, Cout=7), {"stride": 1}),
    ("conv3x3", dict(N=2, H=129, W=97, Cin=3, Cout=37), {"stride": 2}),
    ("conv3x3", dict(N=1, H=93, W=91, Cin=24, Cout=33), {"stride": 1, "activation": "sigmoid"}),
    ("upsample2x_conv3x3", dict(N=2, H=47, W=45, Cin=6, Cout=5), {"activation": "none"}),
    ("fusion", dict(N=2, H=46, W=45, Cm=9, Cg=7, Cout=5), {}),
    ("upsample2x", dict(N=2, H=40, W=3, C=70), {}),
])
def test_more_than_a_block(op, sizes, options, dtype):
    check(drawn(op, sizes, **options), dtype)


@DTYPES
def test_every_number_of_rows(dtype):
    """Register tiles of every height, and what is left over."""
    for n in range(1, ROWS + 8):
        check(drawn("linear", dict(N=n, Cin=19, Cout=35), n, activation=ACTIVATIONS[n % 3]), dtype, (1,))


@DTYPES
def test_every_width(dtype):
    """Rows of pixels that fill register tiles or do not, on the way that reads windows where they lie and the other."""
    for width in range(12, 48):
        check(drawn("conv3x3", dict(N=1, H=3, W=width, Cin=12, Cout=5), width, activation="none"), dtype, (1,))
    for op, sizes in (("conv3x3", dict(Cin=8, Cout=40)), ("upsample2x_conv3x3", dict(Cin=16, Cout=12))):
        check(drawn(op, dict(N=2, H=9, W=56) | sizes), dtype)
    check(drawn("fusion", dict(N=2, H=9, W=28, Cm=20, Cg=8, Cout=40)), dtype)
    check(drawn("conv3x3", dict(N=1, H=67, W=28, Cin=4, Cout=8)), dtype)  # several rows a block, and a smaller one
    check(drawn("conv3x3", dict(N=2, H=17, W=55, Cin=12, Cout=8), stride=2), dtype)  # dx ends between two phases


@DTYPES
@pytest.mark.parametrize("sizes, stride", [
    (dict(N=2, H=66, W=65, Cin=96, Cout=160), 1),  # more than a slice of either channels; a sum of several parts
    (dict(N=3, H=65, W=67, Cin=32, Cout=48), 1),
    (dict(N=2, H=50, W=62, Cin=80, Cout=144), 2),
])
def test_more_than_a_slice_of_winograds_sums(sizes, stride, dtype):
    check(drawn("conv3x3", sizes, stride=stride, activation="relu"), dtype, (1, 3))


SHAPES = sorted({(spec.op, spec.inputs, spec.filters, spec.stride, spec.activation)
                 for part in layers(load_weights(WEIGHTS)[1]).values() for spec in part})
SIZES = {1: dict(N=2, H=12, W=13), 2: dict(N=2, H=32, W=34)}  # by stride: so many pixels that Winograd's tiles pay


@DTYPES
@pytest.mark.parametrize("op, cin, cout, stride, activation", SHAPES)
def test_layers_of_the_released_network(op, cin, cout, stride, activation, dtype):
    channels = dict(Cm=cin // 2, Cg=cin // 2) if op == "fusion" else dict(Cin=cin)
    options = {"stride": stride} if op == "conv3x3" else {}
    case = drawn(op, SIZES[stride] | channels | dict(Cout=cout), activation=activation, **options)
    check(case, dtype, (2,))


# Relative errors of chroma, logits, all gradients, and those of a layer. Of float32 measured: 8e-8, 5e-7, 2e-5, 4e-5,
# on which side of relu's kink a sum lies counts more than how it is rounded; of bfloat16: 2e-4, 4e-3, 0.02, 0.15. A
# layer's own checks are stricter; this one finds what goes wrong between layers.
BOUNDS = {"float32": (1e-6, 5e-6, 2e-4, 5e-4), "bfloat16": (2e-3, 2e-2, 0.1, 0.5)}


@pytest.mark.parametrize("dtype", BOUNDS)
def test_the_released_network(dtype):
    rng = np.random.default_rng(0)
    side = load_weights(WEIGHTS)[1].global_size
    batch = {"luminance": rng.uniform(-1, 1, (2, 48, 64, 1)), "chroma": rng.uniform(0.3, 0.7, (2, 24, 32, 2)),
             "labels": np.array([3, 70]), "global_input": rng.uniform(-1, 1, (2, side, side, 1))}
    found = []
    for backend, kind in (("reference", "float64"), ("cpu", dtype)):
        net = Network.load(WEIGHTS, backend, kind)
        kinds = {"labels": int, "chroma": net.parameters.flat.dtype}
        given = {k: a.astype(kinds.get(k, net.dtype)) for k, a in batch.items()}
        chroma, logits = (np.array(a) for a in net.forward(given["luminance"], given["global_input"]))
        net.loss_and_gradients(**given)
        found.append((chroma, logits, net.gradients.flat, net.gradients.views))
    for name, got, want, bound in zip(("chroma", "logits", "gradients"), found[1], found[0], BOUNDS[dtype]):
        assert relative_error(got, want) < bound, name
    each = {name: relative_error(found[1][3][name], want) for name, want in found[0][3].items()}
    assert max(each.values()) < BOUNDS[dtype][3], each
