"""Colors for black-and-white photographs, their luminance kept: the program and its three-line Python interface."""

from typing import TYPE_CHECKING, Any

from ltbc import only_as_ltbc

if TYPE_CHECKING:
    from ltbc.colorize.colorizer import Colorizer

__all__ = ["Colorizer"]

only_as_ltbc(__name__)


def __getattr__(name: str) -> Any:
    """Imported when asked for, so that `ltbc.program` comes before what takes long."""
    if name != "Colorizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ltbc.colorize.colorizer import Colorizer

    return Colorizer
