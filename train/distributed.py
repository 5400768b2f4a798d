"""Several processes that train one network: `torchrun --nproc-per-node N -m ltbc.train ...`, on one machine or many.

Every process has the whole network and its share of each batch. Gradients are summed over the processes with
torch.distributed, which is used for nothing else: NCCL on GPUs (CuPy's memory, through DLPack), gloo on CPUs. The flat
gradient buffer goes in buckets, each on its way as soon as its layers are done, while the backward pass goes on. The
sums have the same bits in every process, so all processes hold the same weights without ever sending them.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeVar

from ltbc.kernels.arrays import Array, array_module
from ltbc.nn.parameters import Parameters
from ltbc.train import TrainError

PATIENCE = timedelta(days=7)  # the first process may look at a million pictures; the dead are noticed at once
BUCKET = 1 << 22  # elements: 16 MiB of float32
T = TypeVar("T")


class Lost(TrainError):
    """Another process of the run is gone."""


class Told(TrainError):
    """What the first process tells for all."""


class World:
    """The processes of a run, here this one alone. rank: its number of `size`; `local_size` are on this machine."""

    rank, size, local_size = 0, 1, 1

    def take_device(self, xp: ModuleType) -> None:
        """Takes this process's GPU; to be called before anything is allocated there."""

    def attach(self, gradients: Parameters) -> Callable[[str], None] | None:
        """`gradients` is what is summed; returns the `done` for `Network.loss_and_gradients`."""

    def finish(self) -> None:
        """Returns (on a GPU: lets its stream wait) until the gradients are summed."""

    def first(self, function: Callable[[], T]) -> T:
        """function() of the first process, in all of them, or its TrainError."""
        return function()

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        return values

    def sum(self, values: list[float]) -> list[float]:
        return values

    def agree(self, seconds: float, waited: float, signal: int) -> tuple[float, float, int]:
        """(the first process's seconds, the longest wait, a signal that came to any), the same in all processes."""
        return seconds, waited, signal

    def check_same(self, weights: Array) -> None:
        """Raises TrainError unless all processes hold the same bits."""

    def say(self, text: str) -> None:
        """Prints, in the first process."""
        if self.rank == 0:
            print(text, flush=True)

    def share(self, n: int) -> int:
        """How many of a machine's n threads or cores are this process's."""
        return max(1, n // self.local_size)

    def close(self) -> None:
        pass


class Group(World):
    """One of several processes, from the variables that torchrun sets. Raises TrainError where torch is missing."""

    def __init__(self) -> None:
        try:
            import torch
            import torch.distributed
        except ImportError:
            raise TrainError(
                "several processes (WORLD_SIZE is set) talk through PyTorch, which is not installed: "
                "pip install 'let-there-be-color[parallel]', or start without torchrun"
            ) from None
        self.torch: ModuleType = torch
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        gpus = torch.cuda.is_available() and torch.distributed.is_nccl_available()
        start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        with self.talking():
            store, *_ = next(torch.distributed.rendezvous("env://"))
            torch.distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if gpus else "gloo", rank=self.rank, world_size=self.size, timeout=PATIENCE,
                store=torch.distributed.PrefixStore(start, store),  # else restarts find the addresses of the dead
            )

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Raises Lost where a process is gone. (NCCL may wait for it without end instead; torchrun ends that.)"""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Lost(f"of {self.size} processes, another one is gone ({reason})") from None

    def take_device(self, xp: ModuleType) -> None:
        if xp.__name__ == "cupy":
            import cupy

            local = int(os.environ.get("LOCAL_RANK", 0))
            cupy.cuda.Device(local).use()
            self.torch.cuda.set_device(local)

    # gradients

    def attach(self, gradients: Parameters) -> Callable[[str], None]:
        self.flat = self.tensor(gradients.flat)
        self.spans, self.pending = gradients.spans(), (0, 0)
        self.works: list[Any] = []
        return self.done

    def tensor(self, x: Array) -> Any:
        """The same memory as PyTorch sees it."""
        return self.torch.from_dlpack(x) if array_module(x).__name__ == "cupy" else self.torch.from_numpy(x)

    def done(self, layer: str) -> None:
        """A layer's gradients are complete: with their neighbors they go on their way when they fill a bucket."""
        start, stop = self.spans[layer]
        first, last = self.pending
        if stop == first:
            stop = last
        elif start == last:
            start = first
        else:
            self.send()
        self.pending = (start, stop)
        if stop - start >= BUCKET:
            self.send()

    def send(self) -> None:
        start, stop = self.pending
        self.pending = (0, 0)
        if start < stop:
            with self.talking(), self.on_stream():
                self.works.append(self.torch.distributed.all_reduce(self.flat[start:stop], async_op=True))

    def finish(self) -> None:
        self.send()
        with self.talking(), self.on_stream():
            while self.works:
                self.works.pop(0).wait()

    @contextmanager
    def on_stream(self) -> Iterator[None]:
        """NCCL waits for, and is waited for by, PyTorch's current stream: let it be CuPy's."""
        if not self.flat.is_cuda:
            yield
            return
        import cupy

        stream = self.torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr)
        with self.torch.cuda.stream(stream):
            yield

    # everything else is a few numbers

    def first(self, function: Callable[[], T]) -> T:
        result: list[Any] = [None, None]
        if self.rank == 0:
            try:
                result[0] = function()
            except TrainError as error:
                result[1] = error
        with self.talking():
            self.torch.distributed.broadcast_object_list(result)
        if result[1]:
            raise result[1] if self.rank == 0 else Told()
        return result[0]

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        rows = self.all(*values.values())
        return {name: sum(row[i] for row in rows) / self.size for i, name in enumerate(values)}

    def sum(self, values: list[float]) -> list[float]:
        return [sum(column) for column in zip(*self.all(*values))]

    def agree(self, seconds: float, waited: float, signal: int) -> tuple[float, float, int]:
        rows = self.all(seconds, waited, signal)
        return rows[0][0], min(rows[0][0], max(row[1] for row in rows)), int(max(row[2] for row in rows))

    def check_same(self, weights: Array) -> None:
        host = weights if array_module(weights).__name__ == "numpy" else weights.get()
        if len({row[0] for row in self.all(zlib.crc32(host.view("uint8")))}) > 1:
            raise TrainError("the processes hold different weights; --resume goes on from the last checkpoint")

    def all(self, *values: float) -> list[list[float]]:
        """These values of every process."""
        mine = self.torch.tensor(values, dtype=self.torch.float64)
        rows = [self.torch.empty_like(mine) for _ in range(self.size)]
        with self.talking():
            self.torch.distributed.all_gather(rows, mine)
        return [row.tolist() for row in rows]

    def close(self) -> None:
        self.torch.distributed.destroy_process_group()


def join() -> World:
    """The processes that torchrun (or what else sets RANK and WORLD_SIZE) started, or this one alone."""
    return Group() if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ else World()
