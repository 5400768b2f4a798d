"""The network of *Let there be Color!*: layers, forward, backward, parameters. Start with `architecture.py`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nn.architecture import Settings
    from nn.backends import default_backend, default_dtype, describe
    from nn.network import ALPHA, Network
    from nn.parameters import Adadelta, WeightsError

__all__ = ["ALPHA", "Adadelta", "Network", "Settings", "WeightsError", "default_backend", "default_dtype", "describe"]

HOMES = {
    "Settings": "architecture", "default_backend": "backends", "default_dtype": "backends", "describe": "backends",
    "ALPHA": "network", "Network": "network", "Adadelta": "parameters", "WeightsError": "parameters",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imported when asked for, so that `kernels.program` comes before what takes long."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nn.{HOMES[name]}"), name)
