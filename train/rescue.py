"""A run that loses nothing: what happens when a checkpoint cannot be written, and whatever ends the loop."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ltbc.train import TrainError, checkpoint, leavings
from ltbc.train.distributed import Lost, Told
from ltbc.train.journal import Bar, Metrics, Silent
from ltbc.train.lock import Lock
from ltbc.train.run import Run

AGAIN = 60.0  # seconds, after which a checkpoint that could not be written is tried again
NAMED = 10  # pictures that could not be read any more
PATIENCE, PAUSE = 60.0, 2.0  # seconds for which the last one waits for space, and between its tries


class Keeper:
    """Saves a run as it goes on, and tells of what fails. lock: of the run's folder."""

    def __init__(self, run: Run, lock: Lock, metrics: Metrics | Silent, bar: Bar | Silent) -> None:
        self.run, self.lock, self.metrics, self.bar = run, lock, metrics, bar
        self.failed, self.lost = 0.0, 0
        self.told: dict[str, float] = {}  # what -> when

    def warn(self, what: str, text: str) -> None:
        """A line on stderr, at most once a minute of the same."""
        now = time.monotonic()
        if now > self.told.get(what, -AGAIN) + AGAIN:
            self.told[what] = now
            self.bar.say(f"train: {text}")

    def save(self, last: bool = False) -> None:
        """Checkpoint and weights. On a full disk the run goes on; at its end (`last`) it waits."""
        run = self.run
        try:
            run.world.check_same(run.net.parameters.flat)
        except Lost:
            raise
        except TrainError:
            run.whole = False  # of these weights no checkpoint is to be left
            raise
        if last:
            self.write_at_last()
        else:
            self.write()

    def measure(self) -> None:
        """On the held-out pictures, where that is due."""
        try:
            self.run.measure(self.metrics, self.bar)
        except leavings.Unwritten as error:
            self.warn("best", f"{error}; goes on")

    def write(self) -> None:
        try:
            self.run.commit()
            self.failed = 0.0
        except leavings.Unwritten as error:
            self.failed = time.monotonic()
            self.warn("checkpoint", f"{error}; goes on, and tries again in a minute")

    def write_at_last(self) -> None:
        """Makes room by giving up the older checkpoints, then waits for a while. Raises TrainError."""
        run, until = self.run, time.monotonic() + PATIENCE
        while True:
            try:
                return run.commit()
            except leavings.Unwritten as error:
                if older := checkpoint.paths(run.folder)[1:]:
                    for path in older:
                        path.unlink()
                elif not error.full or time.monotonic() > until:
                    raise
                else:
                    self.warn("end", f"{error}; the run is at its end and waits for {PATIENCE:.0f} s")
                    time.sleep(PAUSE)

    def step(self) -> None:
        """After a step: what is to be told, and what is due again."""
        for line in list(self.run.pictures.lost.values())[self.lost :]:
            self.lost += 1
            if self.lost <= NAMED:
                last = " (no more of them are named)" if self.lost == NAMED else ""
                self.bar.say(f"train: {line}; another one takes its place{last}")
        if self.metrics.full:
            self.warn("metrics", f"{self.metrics.full}; goes on, and keeps the lines")
        if self.failed and time.monotonic() > self.failed + AGAIN:
            self.write()

    @contextmanager
    def rescue(self) -> Iterator[None]:
        """Whatever ends the loop leaves a checkpoint of the last whole step, and the error says so.

        At once, while signals are only noted: where another process is lost, torchrun is about to end this one too.
        """
        try:
            yield
        except BaseException as error:
            left = self.leave()
            if not isinstance(error, Lost):
                if left:
                    error.add_note(left)
                raise
            rank = self.run.world.rank
            who = f"process {rank}: " if rank else ""
            print(f"train: {who}{error}{f'; {left}' if left else ''}", file=sys.stderr, flush=True)
            raise Told() from None

    def leave(self) -> str:
        """A checkpoint of this step where there is none; what is to be said of it.

        By the first process or, where that is gone and so is its lock, by the first of the others to come.
        """
        run = self.run
        step, said = run.progress.step, f"; --resume {run.folder} goes on from it"
        try:
            if run.world.rank:
                self.lock.take()
                if (there := checkpoint.paths(run.folder)) and int(there[0].stem) >= step:
                    return ""
            elif run.saved == step:
                return f"checkpoint of step {step} in {run.folder}{said}"
            if not run.whole or not step:
                return ""
            run.write()
            if isinstance(self.metrics, Silent):
                self.metrics.hand_over(run.folder)
        except (TrainError, OSError, MemoryError):  # in another's hands, not finite, a full disk
            return ""
        return f"checkpoint of step {step} in {run.folder}{said}"
