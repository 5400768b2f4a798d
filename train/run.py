"""A run: the network, its optimizer, the pictures and how far training has come."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
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
from ltbc.train import TrainError, checkpoint, leavings, schedule
from ltbc.train.checkpoint import LOGITS, SHAPE, Checkpoint, Progress
from ltbc.train.distributed import World
from ltbc.train.journal import Bar, Metrics, Silent
from ltbc.train.pictures.folder import Pictures
from ltbc.train.pictures.stream import Batch, batches
from ltbc.train.score import evaluate

CHROMA = 20.0  # of a* and b* together; 14.7 * sqrt(2) in MiniPlaces, see colorize/WEIGHTS.md
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
        parts = settings["accumulate"]
        micro_batch = -(-settings["batch"] // world.size // parts) if parts > 1 else None
        self.net = Network(classes=pictures.classes, xp=self.xp, init=init, micro_batch=micro_batch, **network)
        self.optimizer = Adadelta(self.net, settings["lr"], settings["rho"], settings["eps"])
        self.progress, self.saved, self.whole = Progress(), -1, True
        self.average = self.net.parameters.flat.copy() if settings["average"] else None
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
        if self.average is not None:
            self.average[...] = self.net.parameters.flat
        if same or not stated.global_size:
            return f"begins from {path}"
        return (f"begins from {path}, of {len(stated.classes)} other classes: the last layer of the class branch is "
                f"drawn anew, for {len(self.net.settings.classes)}")

    def restore(self, old: Checkpoint) -> None:
        old.restore(self.net, self.optimizer, self.average)
        self.progress, self.saved = old.progress, old.progress.step

    def batches(self) -> Generator[Batch, None, None]:
        """This process's part of each batch from here on."""
        settings, world = self.settings, self.world
        return batches(
            self.pictures, settings["batch"], settings["crop"], settings["seed"], self.progress.position,
            world.share(settings["workers"]), settings["shuffle"], world.rank, world.size, settings["sampling"],
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
        luminance, chroma, labels = self.encoded(batch)
        weights = self.pixel_weights(batch) if self.settings["colorful"] else None
        losses = net.loss_and_gradients(
            luminance, chroma, labels, alpha=alpha, scale=scale, done=self.done, weights=weights
        )
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

    def pixel_weights(self, batch: Batch) -> Array:
        """How much each pixel's error counts, `[N, H/2, W/2, 1]`: (1 + K C / CHROMA) / (1 + K).

        C = sqrt(a*^2 + b*^2) of the true color, K = --colorful. Strong colors are rare, and the mean of all that is
        possible, which the plain error asks for, is pale; so they count more. CHROMA, about the root mean square of C
        in photographs, keeps the weights' mean near 1.
        """
        k = self.settings["colorful"]
        pixels, flip = self.xp.asarray(batch.pixels), self.xp.asarray(batch.flip)
        dtype = self.net.parameters.flat.dtype
        _, chroma = color.encode(pixels, "lab", flip=flip, dtype=dtype, backend=self.net.backend)
        ab = 220 * chroma - 110
        return ((1 + k / CHROMA * self.xp.sqrt((ab * ab).sum(3, keepdims=True))) / (1 + k)).astype(dtype)

    def update(self, done: float, seconds: float, waited: float) -> None:
        """The optimizer's step, the average's, and progress; done: as above."""
        settings, gradient = self.settings, self.net.gradients.flat
        self.optimizer.lr = schedule.rate(settings, self.progress.step, done)
        self.whole = False
        for start, stop in self.frozen:
            gradient[start:stop] = 0
        if settings["clip"]:
            schedule.clip(gradient, settings["clip"] * settings["scale"])
        self.optimizer.step()
        if self.average is not None:
            schedule.follow(self.average, self.net.parameters.flat, settings["average"], self.progress.step)
        self.progress.advance(settings["batch"], seconds, waited)
        self.whole = True

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the network has the average of its weights."""
        flat = self.net.parameters.flat
        own = flat.copy()
        try:
            flat[...] = self.average
            self.net.refresh()
            yield
        finally:
            flat[...] = own
            self.net.refresh()

    def measure(self, metrics: Metrics | Silent, bar: Bar | Silent) -> None:
        """A line on the held-out pictures where there are any and none is there of this step; keeps the best weights.

        All processes share the work; the first one tells.
        """
        step, world, held_out = self.progress.step, self.world, self.held_out
        if not held_out or not world.first(lambda: step not in metrics.measured):
            return
        scores = {"held_out": evaluate(self.net, held_out, world)}
        if self.average is not None:
            with self.averaged():
                scores["held_out_average"] = evaluate(self.net, held_out, world)
        error, name = min((score.chroma_error, name) for name, score in scores.items())
        if world.rank == 0:
            for which, score in scores.items():
                bar.say(f"step {step}, {which.replace('_', ' ', 1).replace('_', ', ')}: {score}")
            self.draw_samples()
            if metrics.events:
                metrics.events.measured(step, scores)
            if error < metrics.best:
                metrics.best = error
                leavings.put(self.folder / leavings.BEST, self.weights(name == "held_out_average"))
            if held_out.lost:
                bar.say(f"train: {len(held_out.lost)} held-out pictures cannot be read any more, for instance "
                        f"{next(iter(held_out.lost.values()))}")
            metrics.write(step=step, **{which: asdict(score) for which, score in scores.items()})

    def draw_samples(self) -> None:
        """A sheet of some held-out pictures as they are colored now, where scikit-image is installed."""
        try:
            from ltbc.train.sheet import draw_samples
        except ImportError:
            return
        folder = self.folder / leavings.SAMPLES
        folder.mkdir(exist_ok=True)
        if self.held_out:
            leavings.put(folder / f"{self.progress.step:08d}.jpg", draw_samples(self.net, self.held_out))

    def weights(self, average: bool = False) -> bytes:
        """The weights file, or that of the average."""
        with self.averaged() if average else nullcontext():
            return weights_bytes(self.net.parameters, self.net.settings)

    def commit(self) -> None:
        """Checkpoint and weights, by the first process. Raises TrainError, among it Unwritten."""
        if self.world.rank == 0:
            self.write()
        self.saved = self.progress.step

    def write(self) -> None:
        data = checkpoint.as_bytes(
            self.net, self.optimizer, self.progress, self.settings, self.pictures.fingerprint, self.average
        )
        leavings.save(self.folder, self.progress.step, data, self.settings["keep"])
        del data
        leavings.put(self.folder / leavings.WEIGHTS, self.weights())
        if self.average is not None:
            leavings.put(self.folder / leavings.AVERAGE, self.weights(average=True))
