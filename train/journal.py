"""What a run tells: a line of JSON a step, and a bar (or, where nobody watches, a line now and then)."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ltbc.nn.weights import write_whole
from ltbc.train.checkpoint import Progress
from ltbc.train.events import Events
from ltbc.train.leavings import METRICS, Unwritten

QUIET_SECONDS = 15  # between two lines where stderr is no terminal


class Metrics:
    """RUN/metrics.jsonl: {"step", "loss", "chroma", "classes", "images_per_s", "seconds", "data_wait"} a step.

    seconds: of training so far. data_wait: share of the step spent waiting for pictures. Measurements on held-out
    pictures are lines {"step", "held_out": {...}}; measured: at which steps. On resume, lines beyond the checkpoint's
    step are dropped first. best: the smallest chroma error there. Where the disk is full, lines wait until there is
    space; `full` says why.
    """

    def __init__(self, run: Path, step: float, events: Events | None = None) -> None:
        self.events = events
        self.path = run / METRICS
        self.waiting, self.full = b"", ""
        old = lines(self.path)
        left = [line for line in old if at_step(line) <= step]
        self.last_step = max(map(at_step, left), default=0)
        measured = [json.loads(line) for line in left if b'"held_out"' in line]
        self.measured = {line["step"] for line in measured}
        scores = [score for line in measured for name, score in line.items() if name.startswith("held_out")]
        self.best = min((score["chroma_error"] for score in scores), default=float("inf"))
        try:
            if left != old:
                write_whole(self.path, b"".join(left))
            self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise Unwritten(self.path, error) from None

    def step(self, progress: Progress, losses: dict[str, float], images_per_s: float, data_wait: float) -> None:
        """The line of a step; losses: total, chroma, classes."""
        if self.events:
            self.events.step(progress, losses, images_per_s, data_wait)
        self.write(
            step=progress.step, loss=losses["total"], chroma=losses["chroma"], classes=losses["classes"],
            images_per_s=round(images_per_s, 2), seconds=round(progress.seconds, 3), data_wait=round(data_wait, 4),
        )

    def write(self, **values: Any) -> None:
        self.waiting += json.dumps(values).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        try:
            while self.waiting:
                self.waiting = self.waiting[os.write(self.file, self.waiting) :]
            self.full = ""
        except OSError as error:
            self.full = str(Unwritten(self.path, error))

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        os.close(self.file)
        if self.events:
            self.events.close()


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def at_step(line: bytes) -> float:
    """The step of a line; infinite for one that was cut off."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


class Bar:
    """Progress with loss, images a second and time left, on stderr.

    total, done: steps, or seconds where the length of the run was given in minutes; unit: "step" or "seconds".
    """

    def __init__(self, total: float, done: float, unit: str) -> None:
        terminal = sys.stderr.isatty()
        unit = unit.removesuffix("s") + "s"
        shape = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit}, {remaining} left{postfix}"
        self.bar = tqdm(total=total, initial=done, unit=unit, bar_format=shape, disable=not terminal)
        self.quiet, self.unit, self.total, self.first = not terminal, unit, total, done
        self.loss, self.rate, self.count = 0.0, 0.0, 0
        self.started = self.told = time.perf_counter()

    def update(self, done: float, loss: float, images_per_s: float) -> None:
        """done: steps or seconds. Shown are means over about the last 20 steps."""
        self.count += 1
        share = max(0.05, 1 / self.count)
        self.loss += share * (loss - self.loss)
        self.rate += share * (images_per_s - self.rate)
        text = f"loss {self.loss:.5f}, {self.rate:.3g} images/s"
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(min(done, self.total) - self.bar.n)
        now = time.perf_counter()
        if self.quiet and now - self.told > QUIET_SECONDS:
            self.told = now
            left = (now - self.started) * (self.total - done) / max(done - self.first, 1e-9)
            self.say(f"{done:.0f}/{self.total:.0f} {self.unit}, {text}, {tqdm.format_interval(max(left, 0))} left")

    def say(self, text: str) -> None:
        """A line that leaves the bar whole."""
        tqdm.write(text, file=sys.stderr)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()


class Silent:
    """Metrics and bar of a process that leaves telling to the first one; it knows the last line, in case that dies."""

    measured, full, best, events = frozenset[float](), "", float("inf"), None
    last: tuple[Any, ...] = ()

    def step(self, *line: Any) -> None:
        self.last = line

    def write(self, *_: Any, **__: Any) -> None:
        pass

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    update = write

    def hand_over(self, run: Path) -> None:
        """Writes the last line of the dead first process where it did not."""
        if self.last and run.joinpath(METRICS).exists():
            with Metrics(run, float("inf")) as metrics:
                if metrics.last_step < self.last[0].step:
                    metrics.step(*self.last)

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def tell(
    run: Path, step: int, length: tuple[float, float, str], rank: int, events: bool = False
) -> tuple[Metrics | Silent, Bar | Silent]:
    """What tells of a run from `step` on; length: (total, done, unit) of `Bar`. Only the first process tells.

    events: to TensorBoard, too.
    """
    if rank:
        return Silent(), Silent()
    return Metrics(run, step, Events(run, step) if events else None), Bar(*length)
