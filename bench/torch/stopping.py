"""Stops PyTorch in the middle of what it does: an emulated dtype may take minutes for what another does in a second."""

import time
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class TooSlow(Exception):
    """The time was over."""


class Until(TorchDispatchMode):
    """Within the context every operation of PyTorch's, of a backward pass too, that would begin after `end` (as
    perf_counter counts) raises TooSlow instead. Not for what torch.compile made, which it does not see."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if time.perf_counter() > self.end:
            raise TooSlow
        return function(*args, **(kwargs or {}))
