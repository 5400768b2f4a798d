"""A run: the network, its optimizer, the pictures and how far training has come."""

import os
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ltbc.kernels import color
from ltbc.kernels.arrays import Array
from ltbc.nn import Adadelta, Network
from ltbc.nn.backends import array_module_of
from ltbc.nn.parameters import INITIALIZATIONS
from ltbc.nn.weights import load_weights, weights_bytes
from ltbc.train import TrainError, checkpoint, leavings
from ltbc.train.checkpoint import LOGITS, SHAPE, Checkpoint, Progress
from ltbc.train.distributed import World
from ltbc.train.journal import Bar, Metrics, Silent
from ltbc.train.pictures.folder import Gone, Pictures
from ltbc.train.pictures.stream import Batch, batches
from ltbc.train.score import evaluate

FIRST = 0.2  # share of a run in which --alpha-first holds


class Run:
    """Everything that the loop of `__main__.py` moves; folder is where its files go.

    settings: as `options.settle` gives them. held_out: pictures to measure on at every checkpoint, or None.
    saved: the step of the checkpoint on the disk. whole: no step is half done. world: the processes that train it
    together.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], pictures: Pictures, held_out: Pictures | None,
        world: World | None = None,
    ) -> None:
        self.folder, self.settings, self.pictures, self.held_out = folder, settings, pictures, held_out
        self.world = world = world or World()
        self.xp = array_module_of(settings["backend"])
        world.take_device(self.xp)
        network = {name: settings[name] for name in (*SHAPE, "backend", "dtype", "seed")}
        init = settings["init"] if settings["init"] in INITIALIZATIONS else "he"
        self.net = Network(classes=pictures.classes, xp=self.xp, init=init, **network)
        self.optimizer = Adadelta(self.net, settings["lr"], settings["rho"], settings["eps"])
        self.progress, self.saved, self.whole = Progress(), -1, True
        frozen = settings["freeze"].split(",")
        spans = self.net.parameters.spans().items()
        self.frozen = [span for layer, span in spans if layer.partition(".")[0] in frozen]
        self.done = world.attach(self.net.gradients)
        self.share_cores()

    def share_cores(self) -> None:
        """Processes of one machine share its cores; LTBC_THREADS says otherwise."""
        if self.net.backend == "cpu" and self.world.local_size > 1 and not os.environ.get("LTBC_THREADS"):
            from ltbc.kernels.cpu.threads import set_threads, threads

            set_threads(self.world.share(threads()))

    def begin_from(self, path: str) -> str:
        """Takes the weights of a file, but for the logits' layer where that is of other classes; what is to be told."""
        arrays, stated = load_weights(path)
        same = stated.classes == self.net.settings.classes
        for name, view in self.net.parameters.views.items():
            if same or not name.startswith(LOGITS):
                view[...] = self.xp.asarray(arrays[name])
        self.net.refresh()
        if same or not stated.global_size:
            return f"begins from {path}"
        return (f"begins from {path}, of {len(stated.classes)} other classes: the last layer of the class branch is "
                f"drawn anew, for {len(self.net.settings.classes)}")

    def restore(self, old: Checkpoint) -> None:
        old.restore(self.net, self.optimizer)
        self.progress, self.saved = old.progress, old.progress.step

    def batches(self) -> Generator[Batch, None, None]:
        """This process's part of each batch from here on."""
        settings, world = self.settings, self.world
        return batches(
            self.pictures, settings["batch"], settings["crop"], settings["seed"], self.progress.position,
            world.share(settings["workers"]), settings["shuffle"], world.rank, world.size,
        )

    def warm_up(self) -> None:
        """Allocates the buffers and compiles what is not in the cache yet, on black pictures, before the clock runs."""
        n, crop = self.settings["batch"] // self.world.size, self.settings["crop"]
        black = Batch(np.zeros((n, crop, crop, 3), np.uint8), np.zeros(n, bool), np.zeros(n, np.int64))
        self.net.compile_ahead("run", lambda: self.step(black))
        self.gradients(black, 0)

    def step(self, batch: Batch) -> None:
        """What a step asks of the backend: to see what it compiles."""
        self.net.loss_and_gradients(*self.encoded(batch))
        self.optimizer.step()

    def gradients(self, batch: Batch, done: float) -> dict[str, float]:
        """Fills the network's gradients for a batch; its losses (total, chroma, classes), over all processes' parts.

        done: the share of the run that is over. Raises TrainError for NaN or infinity.
        """
        net, world, first = self.net, self.world, self.settings["alpha_first"]
        alpha = self.settings["alpha"] if first is None or done >= FIRST else first
        scale = self.settings["scale"] / world.size  # so that the sum over the processes is the whole batch's mean
        losses = net.loss_and_gradients(*self.encoded(batch), alpha=alpha, scale=scale, done=self.done)
        means = world.mean({name: float(value) for name, value in losses.items()})
        world.finish()  # after `mean`, which fails where a process is gone; on a GPU, this would only wait
        if not np.isfinite(means["total"]):
            raise TrainError(checkpoint.diverged("the loss", self.progress.step + 1))
        return means

    def encoded(self, batch: Batch) -> tuple[Array, Array, Array]:
        """(luminance, chroma, labels), as the network takes them."""
        pixels, flip, labels = (self.xp.asarray(x) for x in (batch.pixels, batch.flip, batch.labels))
        space, dtype = self.net.settings.color_space, self.net.parameters.flat.dtype
        return *color.encode(pixels, space, flip=flip, dtype=dtype, backend=self.net.backend), labels

    def update(self, done: float, seconds: float, waited: float) -> None:
        """The optimizer's step, and progress; done: as above. In the last part of the run, lr falls linearly."""
        left, decay = max(1 - done, 0.0), self.settings["decay"]
        self.optimizer.lr = self.settings["lr"] * (max(left / decay, 1e-6) if left < decay else 1.0)
        self.whole = False
        for start, stop in self.frozen:
            self.net.gradients.flat[start:stop] = 0
        self.optimizer.step()
        self.progress.advance(self.settings["batch"], seconds, waited)
        self.whole = True

    def measure(self, metrics: Metrics | Silent, bar: Bar | Silent) -> None:
        """A line on the held-out pictures where there are any and none is there of this step, by the first process."""
        if self.held_out and self.world.rank == 0 and self.progress.step not in metrics.measured:
            try:
                score = evaluate(self.net, self.held_out)
            except Gone as error:
                bar.say(f"train: step {self.progress.step}, held out: not measured, {error}")
                return
            metrics.write(step=self.progress.step, held_out=asdict(score))
            bar.say(f"step {self.progress.step}, held out: {score}")

    def commit(self) -> None:
        """Checkpoint and weights, by the first process. Raises TrainError, among it Unwritten."""
        if self.world.rank == 0:
            self.write()
        self.saved = self.progress.step

    def write(self) -> None:
        data = checkpoint.as_bytes(
            self.net, self.optimizer, self.progress, self.settings, self.pictures.fingerprint
        )
        leavings.save(self.folder, self.progress.step, data, self.settings["keep"])
        del data
        leavings.put(self.folder / leavings.WEIGHTS, weights_bytes(self.net.parameters, self.net.settings))
