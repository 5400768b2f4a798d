"""The network of *Let there be Color!*: layers, forward, backward, parameters. Start with `architecture.py`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ltbc import only_as_ltbc

if TYPE_CHECKING:
    from ltbc.nn.architecture import Settings
    from ltbc.nn.backends import default_backend, default_dtype, describe
    from ltbc.nn.network import ALPHA, Network
    from ltbc.nn.optimizer import Adadelta
    from ltbc.nn.weights import WeightsError

__all__ = ["ALPHA", "Adadelta", "Network", "Settings", "WeightsError", "default_backend", "default_dtype", "describe"]

HOMES = {
    "Settings": "architecture", "default_backend": "backends", "default_dtype": "backends", "describe": "backends",
    "ALPHA": "network", "Network": "network", "Adadelta": "optimizer", "WeightsError": "weights",
}

only_as_ltbc(__name__)


def __getattr__(name: str) -> Any:
    """Imported when asked for, so that `ltbc.program` comes before what takes long."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ltbc.nn.{HOMES[name]}"), name)
