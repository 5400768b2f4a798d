"""`ltbc train PHOTOS --out RUN`: trains the network on a folder of class sub-folders, or on shards.

Exit status: 0 at the end of the run, 2 where something is wrong (one line says what), 130 after Ctrl-C and 143 after
SIGTERM, both after the step in hand and with a checkpoint of it.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin(lasting=True)

import argparse
import os
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path
from signal import Signals

import numpy as np

from ltbc.nn import describe
from ltbc.train import TrainError, checkpoint
from ltbc.train.distributed import Told, World, join
from ltbc.train.interruption import Interruption
from ltbc.train.journal import tell
from ltbc.train.options import length, parse, settle
from ltbc.train.run import Run, read_pictures


def main(arguments: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")  # what cannot be used is reported by `scan`
    world = World()
    try:
        options = parse(arguments)
        with closing(world := join()):
            return start(options, world)
    except KeyboardInterrupt:
        return fail(world, "interrupted; the last checkpoint (if any) is untouched", 130)
    except MemoryError:
        return fail(world, "out of memory; try a smaller --batch, --crop or --width")
    except OSError as error:
        return fail(world, f"{error.filename or 'input or output'}: {error.strerror or error}")
    except Told:
        return 2
    except TrainError as error:
        return fail(world, str(error))


def fail(world: World, message: str, status: int = 2) -> int:
    who = f"process {world.rank}: " if world.rank else ""
    print(f"train: {who}{message}", file=sys.stderr)
    return status


def start(options: argparse.Namespace, world: World) -> int:
    """A new run, or one that goes on."""
    folder = Path(options.resume or options.out)
    old = world.first(lambda: look(options, folder))
    settings = world.first(lambda: settle(options, old.settings if old else None, world.size))
    pictures, held_out = read_pictures(settings, world)
    if old and (old.classes, old.fingerprint) != (pictures.classes, pictures.fingerprint):
        raise TrainError(f"{pictures.root}: not the pictures of {folder} (files came, went or changed): bring them "
                         "back, or start another run with --out")
    run = Run(folder, settings, pictures, held_out, world)
    together = f"; {world.size} processes" if world.size > 1 else ""
    world.say(f"{describe(settings['backend'])}; activations in {settings['dtype']}{together}")
    if old:
        run.restore(old)
        old.arrays.clear()
    world.first(lambda: checkpoint.begin(folder, settings, pictures.summary(), new=not old))
    return train(run)


def look(options: argparse.Namespace, folder: Path) -> checkpoint.Checkpoint | None:
    """The checkpoint to go on from, or None for a new run. torchrun's restarts go on from what the first try left."""
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if options.resume or (restarted and (folder / checkpoint.CHECKPOINT).exists()):
        return checkpoint.load(folder)
    if not (options.force or restarted):
        checkpoint.refuse_run(folder)
    return None


def train(run: Run) -> int:
    """The loop. Leaves a checkpoint every so many steps, at the end, when interrupted and when a process is lost."""
    settings, progress, world = run.settings, run.progress, run.world
    end, unit = length(settings, len(run.pictures))
    if run.saved == progress.step and getattr(progress, unit) >= end:
        world.say(f"{run.folder} has come to its end already: --steps, --epochs or --minutes make it longer")
        return 0
    run.warm_up()
    stream = run.batches()
    metrics, bar = tell(run.folder, progress.step, (end, getattr(progress, unit), unit), world.rank)
    with Interruption() as stop, run.rescue(), closing(stream), metrics, bar, np.errstate(all="ignore"):
        begun, signal = time.perf_counter(), 0
        while getattr(progress, unit) < end and not signal:
            batch = next(stream)
            waited = time.perf_counter() - begun
            done = getattr(progress, unit) / end
            losses = run.gradients(batch, done)
            now = time.perf_counter()  # a step's time is that from gradients to gradients
            seconds, waited, signal = world.agree(now - begun, waited, stop.signal)
            begun = now
            run.update(done)  # nothing is said to other processes until this step is told of
            progress.advance(settings["batch"], seconds, waited)
            metrics.step(progress, losses, settings["batch"] / seconds, waited / seconds)
            bar.update(getattr(progress, unit), losses["total"], settings["batch"] / seconds)
            if progress.step % settings["checkpoint_every"] == 0:
                run.save(metrics, bar)
                begun = time.perf_counter()
        if run.saved != progress.step:
            run.save(metrics, bar, measure=not signal)
    world.say(f"{run.folder}: {progress.step} steps, {progress.position / len(run.pictures):.1f} epochs, "
              f"{progress.seconds / 60:.1f} minutes, {progress.waited / max(progress.seconds, 1e-9):.1%} of them "
              f"waiting for pictures; weights in {run.folder / checkpoint.WEIGHTS}")
    if signal and world.rank == 0:
        name = Signals(signal).name
        print(f"train: stopped by {name}; ltbc train --resume {run.folder} goes on", file=sys.stderr)
    return 128 + signal if signal else 0  # the shell's convention: 130 for Ctrl-C, 143 for SIGTERM


if __name__ == "__main__":
    sys.exit(main())
