"""The checks that the contracts share, in the words that they are told in; `test_contracts` tries them all."""

import numpy as np
import pytest

from ltbc.kernels import adadelta, class_loss, color, conv3x3, fusion, linear
from ltbc.kernels.arrays import bind
from tests.tools.helpers import rejects

X, W, B = np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4)), np.ones(4)


@pytest.mark.parametrize("wrong, error, message", [
    ({"stride": 3}, ValueError, "stride must be 1 or 2, got 3"),
    ({"activation": "gelu"}, ValueError, "activation must be one of none, relu, sigmoid, got 'gelu'"),
    ({"backend": "tpu"}, ValueError, "backend must be one of reference, cpu, gpu, got 'tpu'"),
    ({"x": X[0]}, ValueError, "x must be [N, H, W, Cin], got [5, 5, 2]"),
    ({"x": X[:0]}, ValueError, "x must not be empty, got [0, 5, 5, 2]"),
    ({"w": W[..., :1, :]}, ValueError, "w must be [3, 3, Cin, Cout] with Cin=2 (from x), got [3, 3, 1, 4]"),
    ({"x": X.astype(int)}, TypeError, "x must be of a float dtype, got int64"),
    ({"w": np.float32(W)}, TypeError, "w must be float64 like x, got float32"),
    ({"b": np.float32(B)}, TypeError, "b must be float64 where x is float64, got float32"),
    ({"x": [[0.0]]}, TypeError, "x must be a NumPy or CuPy array, got list"),
    ({"out": X}, ValueError, "out y must be [1, 5, 5, 4], got [1, 5, 5, 2]"),
    ({"out": np.ones((1, 5, 5, 4), int)}, TypeError, "out y must be of a float dtype, got int64"),
    ({"out": np.broadcast_to(1.0, (1, 5, 5, 4))}, ValueError, "out y must be writable, got a read-only array"),
    ({"w": (w := np.ones((3, 3, 2, 2))), "b": w[0, 0, 0], "out": w.ravel()[:8].reshape(1, 2, 2, 2), "x": X[:, :2, :2]},
     ValueError, "out y must lie apart from w, got arrays that share memory"),
    ({"prepared": 1}, TypeError, "prepared must be what prepare(w, backend='reference') returned, got 1"),
])
def test_messages(wrong, error, message):
    rejects(f"conv3x3: {message}", error, conv3x3.forward, **{"x": X, "w": W, "b": B} | wrong)


def test_messages_of_single_operations():
    p, z, rgb = np.ones(3), np.ones((2, 3)), np.ones((2, 4, 6, 3))
    rejects("linear: w must be [Cin, Cout] with Cin=3 (from x), got [4, 5]", ValueError, linear.forward, z,
            np.ones((4, 5)), np.ones(5))
    rejects("fusion: w must be [4 + 2, Cout] (channels of global_, then of mid), got [5, 3]", ValueError,
            fusion.forward, X, np.ones((1, 4)), np.ones((5, 3)), p)
    rejects("adadelta: need 0 <= rho < 1, eps > 0, lr > 0 in float64, got rho=1.0, eps=1e-06, lr=1.0", ValueError,
            adadelta.step, p, p, p, p, rho=1.0)
    rejects("class_loss: labels must lie in 0..2, got 0..3", ValueError, class_loss.value_and_gradient, z,
            np.array([3, 0]))
    rejects("class_loss: scale must be finite in float64, got inf", ValueError, class_loss.value_and_gradient, z,
            np.array([1, 0]), np.inf)
    rejects("color: size must fit into rgb of 4 x 6, got 4 x 8", ValueError, color.encode, rgb, size=(4, 8))
    rejects("color: top must lie in 0..2, got 0..3", ValueError, color.encode, rgb, size=(2, 2), top=np.array([3, 0]))
    y = np.ones((1, 5, 5, 4))
    rejects("conv3x3: out must be a tuple (dx, dw, db), got one of 2", ValueError, conv3x3.backward, y, X, W, y,
            out=(X, W))


def test_sizes_come_back_by_name():
    assert bind("op", x=(np.zeros((2, 3)), "N C"), w=(np.zeros((3, 3, 3)), "3 C C")) == {"N": 2, "C": 3}
