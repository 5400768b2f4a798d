"""Checks a backward pass that you wrote, and says which element of which gradient is wrong. Needs NumPy only.

    from gradcheck import check_gradients

    check_gradients(forward, backward, {"x": x, "w": w, "b": b})
"""

from .adjoint import check_adjoint
from .autograd import check_autograd
from .defaults import defaults
from .errors import GradientError
from .gradients import check_gradients
from .jvp import check_jvp
from .kinds import check_double_backward, check_loss
from .layers import check_layer
from .made import array
from .result import Result

__all__ = [
    "GradientError", "Result", "array", "check_adjoint", "check_autograd", "check_double_backward", "check_gradients",
    "check_jvp", "check_layer", "check_loss", "defaults",
]
__version__ = "0.1.0"
