"""Let there be Color!, by hand. The rooms of this package are the folders beside it: kernels, nn, train, colorize."""

import sys

__version__ = "0.2.0"


def only_as_ltbc(name: str) -> None:
    """Raises ImportError for a room that is imported without `ltbc.`: everything in it would be there twice.

    `python -m train` in the project's folder does that too, and may: nothing else comes from there.
    """
    if not name.startswith("ltbc.") and sys.argv[:1] != ["-m"]:
        raise ImportError(f"import ltbc.{name}, not {name}: in the project's folder both can be found, as two copies")
