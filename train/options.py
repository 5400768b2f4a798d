"""The command line of `ltbc train`, and which of its settings belong to a run for good."""

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ltbc.kernels import class_loss, color
from ltbc.kernels.cpu.cores import cores
from ltbc.kernels.dispatch import BACKENDS
from ltbc.nn import ALPHA, default_backend, default_dtype
from ltbc.nn.architecture import PARTS
from ltbc.nn.parameters import INITIALIZATIONS
from ltbc.nn.weights import RELEASED, WeightsError, load_weights
from ltbc.train import TrainError
from ltbc.train.checkpoint import SHAPE
from ltbc.train.pictures.photograph import NEAR_GREY

CPUS = cores()


def number(kind: type, low: float, high: float = float("inf"), multiple: int = 1):
    """A parser of numbers from low to high, for argparse."""

    def parse(text: str) -> Any:
        value = kind(text)
        if value == float("inf"):
            raise argparse.ArgumentTypeError(f"must be finite, got {text}")
        if not low <= value <= high or value % multiple and multiple > 1:
            limits = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            of = f" and a multiple of {multiple}" if multiple > 1 else ""
            raise argparse.ArgumentTypeError(f"must be {limits}{of}, got {text}")
        return value

    parse.__name__ = "number" if kind is float else "whole number"
    return parse


def beginning(text: str) -> str:
    """How the first weights are drawn, or the path of a weights file."""
    if text in INITIALIZATIONS:
        return text
    return str(RELEASED) if text == "released" else os.path.abspath(text)


def parts(text: str) -> str:
    """Names of parts of the network, separated by commas."""
    names = [name for name in text.split(",") if name]
    if wrong := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"must be of {', '.join(PARTS)}, got {wrong[0]}")
    return ",".join(part for part in PARTS if part in names)


count, size = number(int, 1), number(int, 8, 4096, 8)
fraction, tiny = number(float, 0, 0.9999999), number(float, 1e-30)

# name: (default, parser or choices, help). The first group belongs to a run for good; the second may change on resume.
FOR_GOOD: dict[str, tuple] = {
    "width": (1.0, number(float, 1e-3, 8), "scales every channel count"),
    "crop": (224, size, "side of the crops; pictures are resized to 256/224 of it"),
    "batch": (128, count, "pictures a step"),
    "seed": (0, number(int, 0, 2**63), "of the initial weights, the order, crops and flips"),
    "alpha": (ALPHA, number(float, 0), "weight of the class loss; 0 trains on color alone"),
    "alpha_first": (None, number(float, 0), "alpha in the first fifth of the run: 0 learns colors first, 1 scenes"),
    "init": ("he", beginning, "weights file to begin from, 'released' for the program's own; or how the first weights "
             f"are drawn: {', '.join(INITIALIZATIONS)}"),
    "lr": (1.0, tiny, "Adadelta's factor on every update"),
    "rho": (0.95, fraction, "Adadelta's decay of its two averages"),
    "eps": (1e-8, tiny, "Adadelta's constant under its roots"),
    "decay": (0.0, number(float, 0, 1), "last share of the run, over which lr falls to 0 (quieter weights)"),
    "schedule": ("linear", ("linear", "cosine"), "how it falls there"),
    "warm_up": (0, number(int, 0), "first steps, over which lr rises from 0"),
    "clip": (None, tiny, "largest norm of the gradient (before --scale)"),
    "average": (None, fraction, "decay of an exponential average of the weights, kept and measured beside them; 0.999"),
    "scale": (1000.0, tiny, "the gradient is multiplied by this before Adadelta; belongs together with --eps"),
    "fusion": ("sigmoid", ("sigmoid", "relu"), "activation of the fusion layer"),
    "class_loss": ("softmax", class_loss.KINDS, "form of the class loss"),
    "color_space": ("lab", tuple(color.CHANNELS), "of the predicted chroma"),
    "global_size": (None, number(int, 0, 4096, 8), "side that the global branch sees, default the crop; 0: no branch"),
    "near_grey": (NEAR_GREY, number(float, 0), "leave out pictures whose colors spread less; 0 keeps all"),
    "sampling": ("even", ("even", "classes"), "each picture once an epoch, or every class as often as the others"),
    "colorful": (0.0, number(float, 0), "K: a pixel's error counts (1 + K C / 20) / (1 + K), C its true chroma"),
    "shuffle": (1 << 14, count, "pictures of the buffer through which shards are read; folders: in any order"),
}
CHANGEABLE: dict[str, tuple] = {
    "backend": (None, BACKENDS, "default: the best that this machine has"),
    "dtype": (None, ("float32", "float64", "bfloat16", "float16"), "of the activations; default: the backend's best"),
    "workers": (min(4, CPUS), count, "threads that read pictures"),
    "memory": (2.0, number(float, 0), "GiB of decoded pictures to keep"),
    "accumulate": (1, count, "parts in which a batch is worked through, for less memory; their gradients are summed"),
    "checkpoint_every": (500, count, "steps"),
    "validate_every": (None, count, "steps between measurements on --held-out; default: --checkpoint-every"),
    "keep": (2, count, "checkpoints, the newest ones"),
    "events": ("none", ("none", "tensorboard"), "event files in RUN/events beside the metrics"),
    "freeze": ("", parts, f"parts that stay as they are, separated by commas, of {', '.join(PARTS)}"),
    "held_out": (None, str, "folder or shards to measure on; the best weights are kept"),
}
LENGTHS = ("steps", "epochs", "minutes")
EPOCHS = 11.0  # the paper, section 4


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise TrainError(f"{message} (--help lists the options)")


def parser() -> Parser:
    p = Parser(prog="ltbc train", description="Trains the colorization network on a folder of class sub-folders.")
    p.add_argument("photos", nargs="?", help="folder with one sub-folder of pictures a class, or of shards")
    p.add_argument("--out", metavar="RUN", help="folder for the new run: checkpoint, weights, metrics, settings")
    p.add_argument("--resume", metavar="RUN", help="go on where this run stopped, with the same bits")
    p.add_argument("--changed", action="store_true", help="with --resume: go on with other photographs")
    p.add_argument("--force", action="store_true", help="start anew where --out holds a run already")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=number(int, 0), help="length of the run, from its beginning")
    length.add_argument("--epochs", type=number(float, 0), help=f"the same in passes over the pictures ({EPOCHS:g})")
    length.add_argument("--minutes", type=number(float, 0), help="the same in minutes of training")
    for name, (default, kind, text) in {**FOR_GOOD, **CHANGEABLE}.items():
        how = {"choices": kind} if isinstance(kind, tuple) else {"type": kind}
        shown = "" if default is None else f" ({default:.4g})" if isinstance(default, float) else f" ({default})"
        p.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=text + shown, **how)
    return p


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options as given: those of the two tables are absent where they were not. Raises TrainError."""
    options = parser().parse_args(arguments)
    if options.changed and not options.resume:
        raise TrainError("--changed belongs to --resume RUN")
    if options.resume and (options.out or options.force):
        raise TrainError("--resume RUN goes on in RUN: leave out --out and --force")
    if not options.resume and not (options.photos and options.out):
        raise TrainError("wanted PHOTOS and --out RUN, or --resume RUN (--help lists the options)")
    return options


def check_names(saved: dict[str, Any], path: Path) -> None:
    """Raises TrainError for settings of a checkpoint that this program does not know, or wants and does not find."""
    if other := set(saved) ^ {*FOR_GOOD, *CHANGEABLE, *LENGTHS, "photos"}:
        name = min(other)
        what = "holds a setting" if name in saved else "lacks the setting"
        raise TrainError(f"{path}: {what} {name!r}: it is of another version of this program")


def settle(options: argparse.Namespace, saved: dict[str, Any] | None, processes: int = 1) -> dict[str, Any]:
    """All settings of the run: those given, else those of the run that is resumed, else the defaults.

    Raises TrainError where a setting that belongs to the run for good would change, or the processes cannot share it.
    """
    given = vars(options)
    settings = {name: default for name, (default, *_) in {**FOR_GOOD, **CHANGEABLE}.items()}
    settings |= {"photos": None, **dict.fromkeys(LENGTHS)} | (saved or {})
    for name in (*FOR_GOOD, *CHANGEABLE):
        if name in given:
            if saved and name in FOR_GOOD and given[name] != settings[name]:
                option = f"--{name.replace('_', '-')}"
                raise TrainError(f"{option} of {options.resume} is {settings[name]} for good, got {given[name]}; "
                                 "leave it out, or start another run with --out")
            settings[name] = given[name]
    if any(given[length] is not None for length in LENGTHS):
        settings |= {length: given[length] for length in LENGTHS}
    elif not saved:
        settings["epochs"] = EPOCHS
    for folder in ("photos", "held_out"):
        if given.get(folder):
            settings[folder] = os.path.abspath(given[folder])
    if settings["batch"] % processes:
        raise TrainError(f"--batch {settings['batch']} must be a multiple of the {processes} processes")
    if not saved and settings["init"] not in INITIALIZATIONS:
        take_shape(settings, given)
    if settings["accumulate"] > settings["batch"] // processes:
        raise TrainError(f"--accumulate {settings['accumulate']} is more than the pictures of a batch, "
                         f"{settings['batch'] // processes} a process")
    if settings["global_size"] is None:
        settings["global_size"] = settings["crop"]
    settings["backend"] = settings["backend"] or default_backend()
    settings["dtype"] = settings["dtype"] or default_dtype(settings["backend"])
    return settings


def take_shape(settings: dict[str, Any], given: dict[str, Any]) -> None:
    """The settings of a run that begins from a weights file: the network's are the file's, as is the crop's side.

    Raises TrainError where others were given, or the file cannot be read.
    """
    path = settings["init"]
    try:
        _, stated = load_weights(path)
    except WeightsError as error:
        raise TrainError(f"--init {error} (or give one of {', '.join(INITIALIZATIONS)})") from None
    for name in SHAPE:
        if name in given and given[name] != getattr(stated, name):
            raise TrainError(f"--{name.replace('_', '-')} {given[name]} does not fit --init {path}, which has "
                             f"{getattr(stated, name)}: leave it out")
        settings[name] = getattr(stated, name)
    if "crop" not in given and stated.global_size:
        settings["crop"] = stated.global_size


def length(settings: dict[str, Any], pictures: int) -> tuple[float, str]:
    """(end, the attribute of `checkpoint.Progress` that reaches it): a number of steps, or of seconds."""
    if settings["minutes"] is not None:
        return 60 * settings["minutes"], "seconds"
    if settings["steps"] is not None:
        return settings["steps"], "step"
    return math.ceil(settings["epochs"] * pictures / settings["batch"]), "step"
