"""`ltbc train PHOTOS --out RUN`: trains the network on a folder of class sub-folders, or on shards.

Exit status: 0 at the end of the run, 2 where something is wrong (one line says what), 130 after Ctrl-C and 143 after
SIGTERM (SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU likewise: 128 and their number), after the step in hand and with a
checkpoint of it.
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
from ltbc.nn.parameters import INITIALIZATIONS
from ltbc.program import printable
from ltbc.train import TrainError, checkpoint, leavings
from ltbc.train.distributed import Told, World, join
from ltbc.train.interruption import Interruption
from ltbc.train.journal import tell
from ltbc.train.lock import Lock
from ltbc.train.options import check_names, length, parse, settle
from ltbc.train.rescue import Keeper
from ltbc.train.run import Run
from ltbc.train.source import changes, check, read_pictures


def main(arguments: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")  # what cannot be used is reported by `scan`
    world = World()
    try:
        options = parse(arguments)
        with closing(world := join()):
            return start(options, world)
    except KeyboardInterrupt as error:
        return fail(world, "interrupted", error, 130)
    except MemoryError as error:
        return fail(world, "out of memory; try a smaller --batch, --crop or --width", error)
    except OSError as error:
        return fail(world, f"{error.filename or 'input or output'}: {error.strerror or error}", error)
    except Told:
        return 2
    except TrainError as error:
        return fail(world, str(error), error)


def fail(world: World, message: str, error: BaseException, status: int = 2) -> int:
    """One line: what is wrong, and what `rescue` noted of a checkpoint."""
    who = f"process {world.rank}: " if world.rank else ""
    line = "; ".join((f"train: {who}{message}", *getattr(error, "__notes__", ())))
    print(printable(line, sys.stderr), file=sys.stderr)
    return status


def start(options: argparse.Namespace, world: World) -> int:
    """A new run, or one that goes on."""
    folder = Path(options.resume or options.out)
    with Lock(folder) as lock:
        old = world.first(lambda: look(options, folder, lock))
        settings = world.first(lambda: settle(options, old.settings if old else None, world.size))
        world.first(lambda: check(settings, folder))
        pictures, held_out = read_pictures(settings, world, folder)
        if old and (old.classes, old.fingerprint) != (pictures.classes, pictures.fingerprint):
            world.say(world.first(lambda: changes(folder, old, pictures, options.changed)))
        run = Run(folder, settings, pictures, held_out, world)
        together = f"; {world.size} processes" if world.size > 1 else ""
        world.say(f"{describe(settings['backend'])}; activations in {settings['dtype']}{together}")
        if settings["init"] not in INITIALIZATIONS and not old:
            world.say(run.begin_from(settings["init"]))
        if old:
            run.restore(old)
            old.arrays.clear()
            world.first(lambda: leavings.forget_damaged(folder, old))
        read = {leavings.SCAN: pictures, leavings.HELD_OUT: held_out}
        scans = {name: data for name, found in read.items() if found and (data := found.scan_bytes())}
        world.first(lambda: leavings.begin(folder, settings, pictures.summary(), not old, scans))
        return train(run, lock)


def look(options: argparse.Namespace, folder: Path, lock: Lock) -> checkpoint.Checkpoint | None:
    """The checkpoint to go on from, or None for a new run. torchrun's restarts go on from what the first try left.

    Takes the lock, and writes the weights of the checkpoint where a kill or a full disk came between the two.
    """
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if not (options.resume or (restarted and checkpoint.paths(folder))):
        if not (options.force or restarted):
            leavings.refuse_run(folder)
        lock.take()
        return None
    if not folder.is_dir():
        checkpoint.newest(folder)  # says so
    lock.take()
    old, damaged = checkpoint.load(folder)
    check_names(old.settings, old.path)
    for line in damaged:
        print(f"train: {line}; goes on from step {old.progress.step}", file=sys.stderr)
    if leavings.complete(folder, old):
        print(f"{folder / leavings.WEIGHTS}: written anew from the checkpoint of step {old.progress.step}", flush=True)
    return old


def train(run: Run, lock: Lock) -> int:
    """The loop. Leaves a checkpoint every so many steps, at the end, and whatever ends it before."""
    settings, progress, world = run.settings, run.progress, run.world
    end, unit = length(settings, len(run.pictures))
    metrics, bar = tell(run.folder, progress.step, (end, getattr(progress, unit), unit), world.rank,
                        settings["events"] == "tensorboard")
    keeper, signal, begun = Keeper(run, lock, metrics, bar), 0, 0.0
    with metrics, bar:
        over = run.saved == progress.step and getattr(progress, unit) >= end
        measured_every = settings["validate_every"] or settings["checkpoint_every"]
        if over or progress.step and progress.step % measured_every == 0:
            keeper.measure()  # where a kill came before
        if over:
            world.say(f"{run.folder} has come to its end already: --steps, --epochs or --minutes make it longer")
            return 0
        run.warm_up()
        with Interruption() as stop, keeper.rescue(), closing(run.batches()) as stream, np.errstate(all="ignore"):
            begun = time.perf_counter()
            while getattr(progress, unit) < end and not signal:
                batch = next(stream)
                waited = time.perf_counter() - begun
                done = getattr(progress, unit) / end
                losses = run.gradients(batch, done)
                now = time.perf_counter()  # a step's time is that from gradients to gradients
                seconds, waited, signal = world.agree(now - begun, waited, stop.signal)
                begun = now
                run.update(done, seconds, waited)  # nothing is said to other processes until this step is told of
                metrics.step(progress, losses, settings["batch"] / seconds, waited / seconds)
                bar.update(getattr(progress, unit), losses["total"], settings["batch"] / seconds)
                keeper.step()
                if getattr(progress, unit) < end and not signal:
                    if progress.step % settings["checkpoint_every"] == 0:
                        keeper.save()
                        begun = time.perf_counter()
                    if progress.step % measured_every == 0:
                        keeper.measure()
                        begun = time.perf_counter()
            if run.saved != progress.step:
                keeper.save(last=True)
            if not signal:
                keeper.measure()
    world.say(f"{run.folder}: {progress.step} steps, {progress.position / len(run.pictures):.1f} epochs, "
              f"{progress.seconds / 60:.1f} minutes, {progress.waited / max(progress.seconds, 1e-9):.1%} of them "
              f"waiting for pictures; weights in {run.folder / leavings.WEIGHTS}")
    if run.pictures.lost:
        print(f"train: {len(run.pictures.lost)} pictures could not be read any more", file=sys.stderr)
    if signal and world.rank == 0:
        name = Signals(signal).name
        print(f"train: stopped by {name}; ltbc train --resume {run.folder} goes on", file=sys.stderr)
    return 128 + signal if signal else 0  # the shell's convention: 130 for Ctrl-C, 143 for SIGTERM


if __name__ == "__main__":
    sys.exit(main())
