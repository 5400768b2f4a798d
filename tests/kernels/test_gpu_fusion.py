"""The gpu backend of fusion against the reference, under Triton's interpreter."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from ltbc.kernels import fusion
from tests.tools import helpers
from tests.tools.interpreter import place, same_bits, watched

derivative, matrices = (import_module(f"ltbc.kernels.gpu.{name}") for name in ("derivative", "matrices"))  # after
TILE = {"BLOCK_P": 16, "BLOCK_C": 16, "BLOCK_O": 16, "BLOCK_G": 16, "BLOCK_N": 16}
DTYPES = (np.float32, np.float16, bfloat16)
ODD = {"N": 3, "H": 5, "W": 4, "Cg": 18, "Cm": 20, "Cout": 21}  # two tiles an image, no side a multiple of its tile
GRADIENTS = [
    "derivative_kernel", "backward_data_kernel", "backward_weights_kernel", "sum_splits_kernel",
    "backward_global_kernel",
]


@pytest.fixture(autouse=True)
def short_splits(monkeypatch):
    """Sums over pixels are split from a few pixels on."""
    monkeypatch.setattr(matrices, "STEPS", 1)
    monkeypatch.setattr(derivative, "BLOCK_P", 16)


def draw(seed=0, activation="sigmoid", **sizes):
    """A case of those sizes."""
    rng = np.random.default_rng(seed)
    patterns = helpers.LAYERS["fusion"].arguments | {"dy": "N H W Cout"}
    arguments = {k: rng.standard_normal(helpers.shape(p, sizes)) for k, p in patterns.items()}
    return helpers.Case("fusion", sizes, arguments, {"activation": activation})


def check(case, dtype, capability=90, **tile):
    with watched(capability, **tile) as target:
        helpers.check_backend(case, "gpu", np.dtype(dtype).name, dtype, place=lambda name, a: place(a))
    return target.launches


@settings(max_examples=12)
@given(
    case=helpers.cases("fusion", H=5, W=5, Cg=20, Cm=20, Cout=20), dtype=st.sampled_from(DTYPES),
    capability=st.sampled_from([80, 90]),
)
def test_fusion(case, dtype, capability):
    launches = check(case, dtype, capability, **TILE)
    assert launches[0] == "forward_kernel" and [k for k in GRADIENTS if k in launches] == launches[1:]


def test_small():
    check(draw(6, **ODD), bfloat16, **TILE)


def test_more_images_than_a_tile_holds():
    check(draw(1, N=18, H=1, W=2, Cg=3, Cm=2, Cout=5), bfloat16, **TILE)


@pytest.mark.parametrize("dtype", [np.float32, bfloat16])
def test_every_order_of_programs(dtype):
    case = draw(2, **ODD).converted(lambda k, a: place(a, np.float32 if k == "b" else dtype))
    same_bits(lambda: tuple(helpers.results(case, "gpu").values()), **TILE)


def test_the_tables_own_tiles():
    check(draw(3, N=2, H=9, W=9, Cg=70, Cm=66, Cout=130), bfloat16)


def test_out_decides_the_dtype():
    case = draw(4, **ODD).converted(lambda k, a: place(a, np.float32 if k == "b" else bfloat16))
    shapes = (3, 5, 4, 21), (3, 5, 4, 20), (3, 18), (38, 21), (21,)
    y, *gradients = (place(np.zeros(s), np.float32) for s in shapes)
    with watched(**TILE):
        assert helpers.forward(case, "gpu", out=y) is y
        found = helpers.backward(case, y, "gpu", out=tuple(gradients))
    assert all(a is b for a, b in zip(found, gradients))
    exact = case.converted(lambda k, a: a.astype(np.float64))
    np.testing.assert_allclose(y, helpers.forward(exact), rtol=1e-5, atol=1e-5)  # 16-bit storage would be off by 1e-3


def test_an_images_sum_may_exceed_float16():
    case = draw(5, "none", N=1, H=8, W=8, Cg=2, Cm=2, Cout=3)
    case.arguments["dy"][...] = 2000.0  # the 64 sum up to 128000, float16 ends at 65504
    case.arguments["w"] /= 1000
    check(case, np.float16, **TILE)


def test_rejects_what_a_kernel_cannot_take():
    right = {"mid": np.ones((2, 4, 4, 3)), "global_": np.ones((2, 4)), "w": np.ones((7, 5)), "b": np.ones(5)}
    right = {k: a.astype(np.float32) for k, a in right.items()}
    with watched():
        helpers.rejects(
            "fusion: backend gpu takes contiguous arrays; copy mid with ascontiguousarray", ValueError,
            fusion.forward, **right | {"mid": np.ones((2, 4, 8, 3), np.float32)[:, :, ::2]}, backend="gpu",
        )
