"""`python -m train PHOTOS --out RUN`: trains the network on a folder of class sub-folders.

Exit status: 0 at the end of the run, 2 where something is wrong (one line says what), 130 after Ctrl-C and 143 after
SIGTERM, both after the step in hand and with a checkpoint of it.
"""

import argparse
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np

from nn import describe
from train import TrainError, checkpoint
from train.interruption import Interruption
from train.metrics import Bar, Metrics
from train.options import length, parse, settle
from train.run import Run, read_pictures
from train.stream import batches


def main(arguments: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")  # what cannot be used is reported by `scan`
    try:
        return start(parse(arguments))
    except KeyboardInterrupt:
        print("train: interrupted; the last checkpoint (if any) is untouched", file=sys.stderr)
        return 130
    except MemoryError:
        return fail("out of memory; try a smaller --batch, --crop or --width")
    except OSError as error:
        return fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except TrainError as error:
        return fail(str(error))


def fail(message: str) -> int:
    print(f"train: {message}", file=sys.stderr)
    return 2


def start(options: argparse.Namespace) -> int:
    """A new run, or one that goes on."""
    folder = Path(options.resume or options.out)
    old = checkpoint.load(folder) if options.resume else None
    if not (options.resume or options.force):
        checkpoint.refuse_run(folder)
    settings = settle(options, old.settings if old else None)
    pictures, held_out = read_pictures(settings)
    if old and (old.classes, old.fingerprint) != (pictures.classes, pictures.fingerprint):
        raise TrainError(f"{pictures.root}: not the pictures of {folder} (files came, went or changed): bring them "
                         "back, or start another run with --out")
    run = Run(folder, settings, pictures, held_out)
    print(f"{describe(settings['backend'])}; activations in {settings['dtype']}", flush=True)
    if old:
        run.restore(old)
        checkpoint.put(folder / "settings.json", settings)
    else:
        checkpoint.begin(folder, settings, pictures.summary())
    del old  # its arrays
    return train(run)


def train(run: Run) -> int:
    """The loop. Leaves a checkpoint every so many steps, at the end and when interrupted."""
    settings, progress = run.settings, run.progress
    end, unit = length(settings, len(run.pictures))
    if run.saved == progress.step and getattr(progress, unit) >= end:
        print(f"{run.folder} has come to its end already: --steps, --epochs or --minutes make it longer")
        return 0
    size, crop, seed = settings["batch"], settings["crop"], settings["seed"]
    run.warm_up()
    stream = batches(run.pictures, size, crop, seed, progress.position, settings["workers"], settings["shuffle"])
    metrics, bar = Metrics(run.folder, progress.step), Bar(end, getattr(progress, unit), unit)
    with Interruption() as interruption, closing(stream), metrics, bar, np.errstate(all="ignore"):
        begun = time.perf_counter()
        while getattr(progress, unit) < end and not interruption.signal:
            batch = next(stream)
            waited = time.perf_counter() - begun
            run.anneal(getattr(progress, unit) / end)
            losses = run.step(batch)
            seconds = time.perf_counter() - begun
            begun += seconds
            progress.advance(size, seconds)
            metrics.step(progress, losses, size / seconds, waited / seconds)
            bar.update(getattr(progress, unit), losses["total"], size / seconds)
            if progress.step % settings["checkpoint_every"] == 0:
                run.save(metrics, bar)
                begun = time.perf_counter()
        if run.saved != progress.step:
            run.save(metrics, bar, measure=not interruption.signal)
    print(f"{run.folder}: {progress.step} steps, {progress.position / len(run.pictures):.1f} epochs, "
          f"{progress.seconds / 60:.1f} minutes; weights in {run.folder / checkpoint.WEIGHTS}")
    if interruption.signal:
        print(f"train: stopped by {interruption.name}; python -m train --resume {run.folder} goes on", file=sys.stderr)
    return interruption.exit_status


if __name__ == "__main__":
    sys.exit(main())
