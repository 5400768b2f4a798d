"""The checks that the contracts share."""

import numpy as np
import pytest

from ltbc.kernels import conv3x3, linear
from ltbc.kernels.arrays import bind


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (1, 0, 4, 2), (1, 4, 0, 2)])
def test_empty_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"conv3x3: x is empty, \[.*0.*\]"):
        conv3x3.forward(np.zeros(shape), np.zeros((3, 3, 2, 5)), np.zeros(5))


def test_the_first_argument_that_disagrees_is_named():
    with pytest.raises(ValueError, match=r"linear: w must be \[Cin, Cout\] with Cin=3 \(from x\), got \[4, 5\]"):
        linear.forward(np.zeros((2, 3)), np.zeros((4, 5)), np.zeros(5))
    with pytest.raises(TypeError, match="linear: x must be a NumPy or CuPy array, got list"):
        linear.forward([[1.0]], np.zeros((1, 5)), np.zeros(5))


def test_sizes_come_back_by_name():
    assert bind("op", x=(np.zeros((2, 3)), "N C"), w=(np.zeros((3, 3, 3)), "3 C C")) == {"N": 2, "C": 3}
