"""The network of *Let there be Color!*: layers, forward, backward, parameters. Start with `architecture.py`."""

from ltbc import only_as_ltbc
from ltbc.nn.architecture import Settings
from ltbc.nn.backends import default_backend, default_dtype, describe
from ltbc.nn.network import ALPHA, Network
from ltbc.nn.optimizer import Adadelta
from ltbc.nn.weights import WeightsError

__all__ = ["ALPHA", "Adadelta", "Network", "Settings", "WeightsError", "default_backend", "default_dtype", "describe"]

only_as_ltbc(__name__)
