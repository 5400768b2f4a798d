"""What a run leaves on the disk, and how it goes on from there.

    RUN/checkpoint.safetensors   parameters, Adadelta's averages, progress, settings: all that resuming needs
    RUN/weights.safetensors      the network for `nn.Network.load`
    RUN/metrics.jsonl            one line a step       RUN/settings.json, RUN/pictures.json   to be read by people

Crops, flips and order are functions of the seed and the position, so these two are the random state, together with
`stream.RANDOM`, which says what functions. Every file but the metrics is written beside, flushed and renamed: what
stops a run at any moment leaves the last whole one.
"""

import errno
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from ltbc.nn import Adadelta, Network
from ltbc.nn.weights import write_whole
from ltbc.train import TrainError
from ltbc.train.pictures.stream import RANDOM

FORMAT = "let-there-be-color-checkpoint/1"
VERSION = "train 2: shards, several processes"  # of the program that wrote a file, for people who read its metadata
CHECKPOINT, WEIGHTS, METRICS = "checkpoint.safetensors", "weights.safetensors", "metrics.jsonl"


@dataclass
class Progress:
    """step: done so far. position: pictures seen. seconds: of training, over all sessions; waited: for pictures."""

    step: int = 0
    position: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def advance(self, batch: int, seconds: float, waited: float) -> None:
        """One step more."""
        self.step, self.position = self.step + 1, self.position + batch
        self.seconds, self.waited = self.seconds + seconds, self.waited + waited


@dataclass
class Checkpoint:
    """A checkpoint that was read: settings and classes of the run, fingerprint of its pictures, arrays by name."""

    progress: Progress
    settings: dict[str, Any]
    classes: tuple[str, ...]
    fingerprint: str
    arrays: dict[str, np.ndarray]

    def restore(self, net: Network, optimizer: Adadelta, path: Path) -> None:
        """Puts the arrays into the network and the optimizer. Raises TrainError where they do not fit."""
        for name, into in state(net, optimizer).items():
            array = self.arrays.get(name)
            if array is None or array.shape != into.shape or array.dtype != into.dtype:
                got = "nothing" if array is None else f"{list(array.shape)} {array.dtype}"
                raise TrainError(f"{path}: {name} must be {list(into.shape)} {into.dtype}, the file has {got}")
            into[...] = net.xp.asarray(array)
        net.refresh()


def state(net: Network, optimizer: Adadelta) -> dict[str, Any]:
    """The arrays that make up the state of training, by their names in the file."""
    return {"parameters": net.parameters.flat, "adadelta.eg": optimizer.eg, "adadelta.ed": optimizer.ed}


def save(
    run: Path, net: Network, optimizer: Adadelta, progress: Progress, settings: dict[str, Any], fingerprint: str
) -> None:
    """Writes checkpoint and weights. Raises TrainError where the disk is full or the numbers are not finite."""
    arrays = {name: x if isinstance(x, np.ndarray) else x.get() for name, x in state(net, optimizer).items()}
    for name, x in arrays.items():
        if not np.isfinite(x).all():  # averages that overflowed would stop the parameters without a sign
            raise TrainError(diverged(name, progress.step, run))
    random = {"made by": RANDOM, "seed": settings["seed"], "position": progress.position}
    texts = {"progress": asdict(progress), "settings": settings, "classes": net.settings.classes, "random": random}
    about = {"format": FORMAT, "version": VERSION, "fingerprint": fingerprint}
    metadata = {**about, **{k: json.dumps(v) for k, v in texts.items()}}
    put(run / CHECKPOINT, to_safetensors(arrays, metadata))
    try:
        net.save(run / WEIGHTS)
    except OSError as error:
        raise TrainError(unwritten(run / WEIGHTS, error)) from None


def load(run: Path) -> Checkpoint:
    """Reads RUN/checkpoint.safetensors. Raises TrainError with one line for a missing, truncated or foreign file."""
    path = run / CHECKPOINT
    if not path.is_file():
        started = (run / "settings.json").is_file()
        hint = "it stopped before its first checkpoint: start it again with --force" if started else "is that a run?"
        raise TrainError(f"{path}: no such checkpoint; {hint}")
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                stated = metadata.get("format", "no format")
                raise TrainError(f"{path}: not a checkpoint of this program (it states {stated}, wanted {FORMAT})")
            texts = {k: json.loads(metadata[k]) for k in ("progress", "settings", "classes")}
            made_by = json.loads(metadata.get("random", "{}")).get("made by", RANDOM)
            if made_by != RANDOM:
                raise TrainError(f"{path}: its order and crops are {made_by!r}, this program has {RANDOM!r}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        progress, classes = Progress(**texts["progress"]), tuple(texts["classes"])
        return Checkpoint(progress, texts["settings"], classes, metadata["fingerprint"], arrays)
    except (SafetensorError, OSError) as error:
        raise TrainError(f"{path}: not a whole checkpoint ({error}); start a new run with --out") from None
    except (KeyError, TypeError, ValueError) as error:
        raise TrainError(f"{path}: damaged checkpoint ({error}); start a new run with --out") from None


def refuse_run(run: Path) -> None:
    """Raises TrainError where `run` holds a run already."""
    if old_files(run):
        raise TrainError(f"{run}: holds a run already; --resume {run} goes on with it, --force starts anew")


def begin(run: Path, settings: dict[str, Any], pictures: dict[str, Any], new: bool) -> None:
    """Writes down what a run is about; makes the folder of a new one and removes what an older one left there."""
    for file in old_files(run) if new else ():
        file.unlink()
    for file in run.glob(".*.part"):  # of a process that was killed while it wrote
        file.unlink()
    run.mkdir(parents=True, exist_ok=True)
    put(run / "settings.json", settings)
    if new:
        put(run / "pictures.json", pictures)


def old_files(run: Path) -> list[Path]:
    names = ("settings.json", "pictures.json", CHECKPOINT, WEIGHTS, METRICS)
    return [run / name for name in names if (run / name).exists()]


def put(path: Path, data: bytes | dict) -> None:
    """Writes a file whole or not at all, a dict as JSON. Raises TrainError where it cannot be written."""
    try:
        write_whole(path, data if isinstance(data, bytes) else json.dumps(data, indent=2).encode() + b"\n")
    except OSError as error:
        raise TrainError(unwritten(path, error)) from None


def unwritten(path: Path, error: OSError) -> str:
    kept = "; the last checkpoint is untouched" if (path.parent / CHECKPOINT).exists() else ""
    full = "; free some space and start again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{path}: could not be written ({error.strerror or error}){full}{kept}"


def diverged(what: str, step: int, run: Path) -> str:
    return (
        f"{what} became NaN or infinite at step {step}: training diverged. Try a smaller --lr, a larger --eps or "
        f"--dtype float32; the last checkpoint in {run} (if any) is untouched"
    )
