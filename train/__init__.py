"""Training: a folder of class sub-folders in, a run (checkpoint, weights, metrics) out. Start with `__main__.py`."""

from ltbc import only_as_ltbc

only_as_ltbc(__name__)


class TrainError(Exception):
    """What stops a training run; the message is one line for the user: what, where, what to do."""
