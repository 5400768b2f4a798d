"""The network of *Let there be Color!*: layers, forward, backward, parameters. Start with `architecture.py`."""

from ltbc.nn.architecture import Settings
from ltbc.nn.backends import default_backend, default_dtype, describe
from ltbc.nn.network import ALPHA, Network
from ltbc.nn.parameters import Adadelta, WeightsError

__all__ = ["ALPHA", "Adadelta", "Network", "Settings", "WeightsError", "default_backend", "default_dtype", "describe"]
