"""class_loss, both kinds, where exponentials would overflow; the rest is in `test_operations.py`."""

import numpy as np
import pytest

from ltbc.kernels import class_loss
from tests.tools import in_torch
from tests.tools.helpers import Case


@pytest.mark.parametrize("kind", class_loss.KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(kind, dtype):
    """Nothing overflows; a class that is certain and right costs nothing, one that is certain and wrong its logit."""
    z = np.array([[1e4, -1e4, 0], [-1e4, 1e4, -1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, dz = class_loss.value_and_gradient(z, np.array([0, 0]), kind=kind)
    case = Case("class_loss", {}, {"z": z.astype(np.float64), "labels": np.array([0, 0])}, {"scale": 1.0, "kind": kind})
    want = in_torch.results(case)
    np.testing.assert_allclose(loss, want["loss"], rtol=1e-6)
    np.testing.assert_allclose(dz, want["dz"], atol=1e-6)
    assert loss.dtype == dz.dtype == dtype
