"""A checkpoint: all that resuming needs, in one file with a digest of every byte of it.

    RUN/checkpoints/STEP.safetensors   parameters, Adadelta's averages, progress, settings

Crops, flips and order are functions of the seed and the position, so these two are the random state, together with
`stream.RANDOM`, which says what functions. A checkpoint is written beside, flushed and renamed: what stops a run at any
moment leaves the last whole one. Everything else in RUN follows from it; `leavings.py` has that.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_safetensors

from ltbc.nn import Adadelta, Network
from ltbc.nn.architecture import Settings
from ltbc.nn.parameters import Parameters
from ltbc.nn.weights import safetensors_bytes, weights_bytes
from ltbc.train import TrainError
from ltbc.train.pictures.stream import RANDOM

FORMAT = "let-there-be-color-checkpoint/2"
VERSION = "train 3: a file a step, with a digest"  # of the program that wrote it, for people who read its metadata
CHECKPOINTS = "checkpoints"
DIGEST = b'"digest":"%s"'  # in the header; inside of another text its quotes would be escaped
BLANK = DIGEST % (b"0" * 64)  # while the digest is computed
LOGITS = "class.1."  # the layer whose size the classes decide
SHAPE = ("width", "global_size", "fusion", "class_loss", "color_space")  # of `Settings`, beside the classes


class Damaged(TrainError):
    """A checkpoint that is not what was written."""


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

    path: Path
    progress: Progress
    settings: dict[str, Any]
    classes: tuple[str, ...]
    fingerprint: str
    arrays: dict[str, np.ndarray]

    def restore(self, net: Network, optimizer: Adadelta, average: Any = None) -> None:
        """Puts the arrays into the network and the optimizer. Raises TrainError where they do not fit."""
        if self.classes != net.settings.classes:
            self.take_over(net)
        for name, into in state(net, optimizer, average).items():
            array = self.arrays.get(name)
            if array is None or array.shape != into.shape or array.dtype != into.dtype:
                got = "nothing" if array is None else f"{list(array.shape)} {array.dtype}"
                raise TrainError(f"{self.path}: {name} must be {list(into.shape)} {into.dtype}, the file has {got}")
            into[...] = net.xp.asarray(array)
        net.refresh()

    @property
    def shape(self) -> Settings:
        return Settings(classes=self.classes, **{name: self.settings[name] for name in SHAPE})

    def take_over(self, net: Network) -> None:
        """Makes the arrays those of a network of other classes: the layer of the logits is the network's own, new."""
        for name, flat in self.arrays.items():
            old, new = Parameters(self.shape, flat.dtype), Parameters(net.settings, flat.dtype)
            old.flat[...] = flat
            if name in ("parameters", "average"):
                new.flat[...] = net.parameters.flat if isinstance(net.parameters.flat, np.ndarray) else (
                    net.parameters.flat.get())
            for view in old.views:
                if not view.startswith(LOGITS):
                    new.views[view][...] = old.views[view]
            self.arrays[name] = new.flat

    def weights(self, name: str = "parameters") -> bytes:
        """The weights file that belongs to it, or that of the average. Raises TrainError for another network's."""
        settings = self.shape
        flat = self.arrays[name]
        parameters = Parameters(settings, flat.dtype)
        if flat.shape != parameters.flat.shape:
            raise TrainError(f"{self.path}: parameters must be {list(parameters.flat.shape)}, got {list(flat.shape)}")
        parameters.flat[...] = flat
        return weights_bytes(parameters, settings)


def state(net: Network, optimizer: Adadelta, average: Any = None) -> dict[str, Any]:
    """The arrays that make up the state of training, by their names in the file. average: of the parameters."""
    arrays = {"parameters": net.parameters.flat, "adadelta.eg": optimizer.eg, "adadelta.ed": optimizer.ed}
    return arrays if average is None else arrays | {"average": average}


def as_bytes(
    net: Network, optimizer: Adadelta, progress: Progress, settings: dict[str, Any], fingerprint: str,
    average: Any = None,
) -> bytes:
    """The checkpoint as a file holds it. Raises TrainError where the numbers are not finite."""
    arrays = {name: x if isinstance(x, np.ndarray) else x.get() for name, x in state(net, optimizer, average).items()}
    for name, x in arrays.items():
        if not np.isfinite(x).all():  # averages that overflowed would stop the parameters without a sign
            raise TrainError(diverged(name, progress.step))
    random = {"made by": RANDOM, "seed": settings["seed"], "position": progress.position}
    texts = {"progress": asdict(progress), "settings": settings, "classes": net.settings.classes, "random": random}
    about = {"format": FORMAT, "version": VERSION, "fingerprint": fingerprint, "digest": "0" * 64}
    return seal(safetensors_bytes(arrays, {**about, **{k: json.dumps(v) for k, v in texts.items()}}))


def seal(data: bytes) -> bytes:
    """The file with its digest, in place of the blank one."""
    return data.replace(BLANK, DIGEST % hashlib.sha256(data).hexdigest().encode(), 1)


def read(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises Damaged for one that is not as it was written, TrainError for a foreign one."""
    try:
        data = path.read_bytes()
        metadata = metadata_of(data)
        if "digest" not in metadata:
            raise Damaged(f"{path}: not a checkpoint of this program (it holds no digest)")
        blank = data.replace(DIGEST % metadata["digest"].encode(), BLANK, 1)
        if hashlib.sha256(blank).hexdigest() != metadata["digest"]:
            raise ValueError("its digest is of other bytes")
        del blank
        if metadata["format"] != FORMAT:
            raise TrainError(f"{path}: not for this program (it states {metadata['format']}, wanted {FORMAT})")
        arrays = from_safetensors(data)
        texts = {k: json.loads(metadata[k]) for k in ("progress", "settings", "classes", "random")}
        if (made_by := texts["random"]["made by"]) != RANDOM:
            raise TrainError(f"{path}: its order and crops are {made_by!r}, this program has {RANDOM!r}")
        progress, classes = Progress(**texts["progress"]), tuple(texts["classes"])
        return Checkpoint(path, progress, texts["settings"], classes, metadata["fingerprint"], arrays)
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror})") from None
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{path}: damaged checkpoint ({error})") from None


def metadata_of(data: bytes) -> dict[str, str]:
    """The metadata in the header of a safetensors file. Raises ValueError where it is none."""
    end = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or end > len(data):
        raise ValueError("not a whole file")
    return json.loads(data[8:end]).get("__metadata__") or {}


def paths(run: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    found = [path for path in (run / CHECKPOINTS).glob("*.safetensors") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem), reverse=True)


def newest(run: Path) -> Path:
    """Raises TrainError where there is none."""
    if found := paths(run):
        return found[0]
    if (run / "checkpoint.safetensors").is_file():
        raise TrainError(f"{run / 'checkpoint.safetensors'}: of an older version, without a digest; start another run "
                         f"from its weights: --init {run / 'weights.safetensors'} --out ...")
    started = (run / "settings.json").is_file()
    hint = "it stopped before its first checkpoint: start it again with --force" if started else "is that a run?"
    raise TrainError(f"{run / CHECKPOINTS}: no checkpoint in it; {hint}")


def load(run: Path) -> tuple[Checkpoint, list[str]]:
    """(the newest checkpoint that is whole, a line for each newer one that is not). Raises TrainError without any."""
    newest(run)
    told: list[str] = []
    for path in paths(run):
        try:
            return read(path), told
        except Damaged as error:
            told.append(str(error))
    more = f"; nor are the {len(told) - 1} before it" if len(told) > 1 else ""
    raise TrainError(f"{told[0]}{more}; start a new run with --out")


def diverged(what: str, step: int) -> str:
    return (
        f"{what} became NaN or infinite at step {step}: training diverged. Try a smaller --lr, a larger --eps or "
        "--dtype float32 in another run"
    )
