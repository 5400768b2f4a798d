"""What a run leaves on the disk beside its checkpoints, and what of it is written anew.

    RUN/checkpoints/               the last ones (`--keep`), all that resuming needs
    RUN/weights.safetensors        the network for `nn.Network.load`, of the newest checkpoint
    RUN/average.safetensors        the same with the average of the weights (`--average`)
    RUN/best.safetensors           the weights, or their average, that were the best on the held-out pictures
    RUN/metrics.jsonl              one line a step       RUN/settings.json, RUN/pictures.json   to be read by people
    RUN/samples/STEP.jpg           some held-out pictures at each measurement, for `ltbc report`
    RUN/scan.jsonl, RUN/scan_held_out.jsonl    what the picture files are, so that --resume need not decode them

The checkpoint is what counts: the weights follow from it, and are written again where they are missing or another's.
Every file but the metrics is written beside, flushed and renamed.
"""

import errno
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from ltbc.nn.weights import write_whole
from ltbc.train import TrainError, checkpoint
from ltbc.train.checkpoint import CHECKPOINTS, Checkpoint

WEIGHTS, METRICS = "weights.safetensors", "metrics.jsonl"
AVERAGE, BEST = "average.safetensors", "best.safetensors"
SAMPLES = "samples"  # of the held-out pictures, one sheet a measurement
SCAN, HELD_OUT = "scan.jsonl", "scan_held_out.jsonl"


class Unwritten(TrainError):
    """A file that could not be written; `full`: for want of space, which may come back."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "; free some space" if self.full else ""
        super().__init__(f"{path}: could not be written ({error.strerror or error}){hint}")


def refuse_run(run: Path) -> None:
    """Raises TrainError where `run` holds a run already."""
    if old_files(run):
        raise TrainError(f"{run}: holds a run already; --resume {run} goes on with it, --force starts anew")


def begin(
    run: Path, settings: dict[str, Any], pictures: dict[str, Any], new: bool, scans: dict[str, bytes] | None = None
) -> None:
    """Writes down what a run is about, in its folder; of a new one, removes what an older one left there."""
    for file in old_files(run) if new else ():
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for file in (*run.glob(".*.part"), *run.glob(f"{CHECKPOINTS}/.*.part")):  # of a process that was killed
        file.unlink()
    (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    try:
        put(run / "settings.json", settings)
        put(run / "pictures.json", pictures)
        for name, data in (scans or {}).items():
            put(run / name, data)
    except Unwritten as error:
        if new:
            raise
        print(f"train: {error}; goes on without", file=sys.stderr)  # what people read, and what saves time


def old_files(run: Path) -> list[Path]:
    names = ("settings.json", "pictures.json", CHECKPOINTS, "checkpoint.safetensors", WEIGHTS, METRICS,
             AVERAGE, BEST, SCAN, HELD_OUT, SAMPLES, "events")
    return [run / name for name in names if (run / name).exists()]


def save(run: Path, step: int, data: bytes, keep: int) -> None:
    """Writes a checkpoint and removes all but the newest `keep`. Raises Unwritten, with the older ones untouched."""
    (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    put(run / CHECKPOINTS / f"{step:08d}.safetensors", data)
    for path in checkpoint.paths(run)[keep:]:
        path.unlink()


def forget_damaged(run: Path, old: Checkpoint) -> None:
    """Sets aside what is newer than the checkpoint that was loaded: it could not be read."""
    for path in checkpoint.paths(run):
        if int(path.stem) > old.progress.step:
            path.rename(path.with_suffix(".damaged"))


def complete(run: Path, old: Checkpoint) -> bool:
    """Writes the weights of a checkpoint where they are missing or others; whether that was so."""
    written = False
    for name, array in ((WEIGHTS, "parameters"), (AVERAGE, "average")):
        if array in old.arrays and not holds(run / name, data := old.weights(array)):
            put(run / name, data)
            written = True
    return written


def holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def put(path: Path, data: bytes | dict) -> None:
    """Writes a file whole or not at all, a dict as JSON. Raises Unwritten."""
    try:
        write_whole(path, data if isinstance(data, bytes) else json.dumps(data, indent=2).encode() + b"\n")
    except OSError as error:
        raise Unwritten(path, error) from None
