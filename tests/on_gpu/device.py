"""Arrays on the device between guard bands, full of NaN until written; and kernels that get such arrays."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ltbc.kernels.arrays import address
from ltbc.kernels.gpu import launch

BAND = 256  # bytes on either side
NAN = 0xFF  # in every byte: a NaN of every float dtype


class Guarded:
    """Makes guarded arrays; `check` raises AssertionError where something was written beside one of them."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.made = xp, []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = self.xp.full(size + 2 * BAND + 128, NAN, np.uint8)
        start = BAND + -(address(raw) + BAND) % 128
        self.made.append((raw, start, start + size, shape))
        return raw[start : start + size].view(dtype).reshape(shape)

    def place(self, values: Any) -> Any:
        array = self.empty(np.shape(values), values.dtype)
        array[...] = self.xp.asarray(values)
        return array

    def check(self) -> None:
        for raw, start, end, shape in self.made:
            bands = self.xp.concatenate([raw[:start], raw[end:]])
            if int((bands != NAN).sum()):
                at = [int(k) - start for k in self.xp.nonzero(bands != NAN)[0][:5]]
                raise AssertionError(f"written beside an array of shape {list(shape)}, bytes before (-) or after: {at}")


@contextmanager
def guarded(capability: int = 0) -> Iterator[Guarded]:
    """Within the context kernels run where they would, their new buffers and workspaces are guarded, and descriptors
    (TMA) are used as on a GPU of that capability, by default of the GPU's own. Bands are looked at at the end."""
    target = launch.target()
    launch.use(target)  # forgets workspaces, so that their guards are new
    own, guards = target.capability, Guarded(target.arrays)
    target.empty, target.capability = guards.empty, capability or own
    try:
        yield guards
        guards.check()
    finally:
        del target.empty
        target.capability = own
        launch.use(target)
