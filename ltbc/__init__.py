"""Let there be Color!, by hand. The rooms of this package are the folders beside it: kernels, nn, train, colorize."""

import sys
from os import path

__version__ = "0.2.0"  # the one place: pyproject.toml and `ltbc --version` read it here

if not path.isdir(path.join(__path__[0], "kernels")):  # some zip programs and Windows' git make files of links
    raise ImportError("ltbc/kernels is no folder: this copy lost the project's links; clone it with "
                      "`git clone -c core.symlinks=true`, or install the wheel")


def only_as_ltbc(name: str) -> None:
    """Raises ImportError for a room that is imported without `ltbc.`: everything in it would be there twice.

    Not for `python -m train` in the project's folder: nothing else comes from there.
    """
    frame = sys._getframe(2)  # who imports the room: the import system's own frames are between
    while frame.f_back and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    if not name.startswith("ltbc.") and frame.f_globals.get("__name__") != "runpy":
        raise ImportError(f"import ltbc.{name}, not {name}: in the project's folder both can be found, as two copies")
