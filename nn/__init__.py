"""The network of *Let there be Color!*: layers, forward, backward, parameters. Start with `architecture.py`."""

from nn.architecture import Settings
from nn.backends import default_backend, default_dtype, describe
from nn.network import ALPHA, Network
from nn.parameters import Adadelta, WeightsError

__all__ = ["ALPHA", "Adadelta", "Network", "Settings", "WeightsError", "default_backend", "default_dtype", "describe"]
