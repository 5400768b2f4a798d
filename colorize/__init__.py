"""Colors for black-and-white photographs, their luminance kept: the program and its three-line Python interface."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colorize.colorizer import Colorizer

__all__ = ["Colorizer"]


def __getattr__(name: str) -> Any:
    """Imported when asked for, so that `kernels.program` comes before what takes long."""
    if name != "Colorizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from colorize.colorizer import Colorizer

    return Colorizer
