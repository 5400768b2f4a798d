"""Colors for black-and-white photographs, their luminance kept: the program and its three-line Python interface."""

from ltbc import only_as_ltbc
from ltbc.colorize.colorizer import Colorizer

__all__ = ["Colorizer"]

only_as_ltbc(__name__)
