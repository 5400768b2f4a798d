"""What goes wrong with a picture, and how a picture is to be read."""

from typing import NamedTuple


class ImageError(ValueError):
    """A picture that cannot be read or written; the message is one line for the user."""


class How(NamedTuple):
    """How a file is to be read. page: its number, from 1; None for the photograph among them. white: of floats and of
    whole numbers of 32 bits, where the file does not tell. strict: whether a file that is cut off is refused."""

    page: int | None = None
    white: float | None = None
    strict: bool = False


PLAINLY = How()
