"""What the experiments compare, and the runs of training that this takes."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltbc.train import TrainError, checkpoint
from ltbc.train.__main__ import main as train
from ltbc.train.options import FOR_GOOD

BASE = "base"  # the paper's network: global branch, L*a*b*, class loss, sigmoid fusion


@dataclass(frozen=True)
class Experiment:
    """arms: label -> the options of `ltbc train` in which it differs from the base, the first being the base.

    section: of the paper; claim: what it says there.
    """

    title: str
    section: str
    claim: str
    arms: dict[str, dict[str, str]]


EXPERIMENTS = {
    "global": Experiment(
        "With and without the global branch", "4.4",
        "without global features users find 70 % of the pictures natural, with them 92.6 %",
        {"with global branch": {}, "without": {"global-size": "0"}},
    ),
    "color-space": Experiment(
        "L*a*b* against YUV and RGB", "4.8", "L*a*b* is slightly better than YUV and RGB",
        {"L*a*b*": {}, "YUV": {"color-space": "yuv"}, "RGB": {"color-space": "rgb"}},
    ),
    "class-loss": Experiment(
        "With and without the classification loss", "3.3", "the class labels make training more effective",
        {"with class loss": {}, "without": {"alpha": "0"}},
    ),
    "fusion": Experiment(
        "Sigmoid against ReLU in the fusion layer", "3.2.4", "a sigmoid is written; several ports use ReLU",
        {"sigmoid": {}, "ReLU": {"fusion": "relu"}},
    ),
    "learning": Experiment(
        "ε of Adadelta and the scale of the loss", "3.4", "Adadelta needs no learning rate",
        {
            "ε 1e-8, gradient × 1000": {}, "ε 1e-7": {"eps": "1e-7"}, "ε 1e-6": {"eps": "1e-6"},
            "ε 1e-6, gradient × 1": {"eps": "1e-6", "scale": "1"},
        },
    ),
    "rho": Experiment(
        "ρ of Adadelta", "3.4", "Adadelta needs no learning rate",
        {"ρ 0.95": {}, "ρ 0.9": {"rho": "0.9"}, "ρ 0.99": {"rho": "0.99"}},
    ),
    "initialization": Experiment(
        "How the first weights are drawn", "3.4", "nothing is said of it",
        {
            "He, last layers a tenth": {}, "He": {"init": "he-whole"}, "Glorot": {"init": "glorot"},
            "uniform, as PyTorch's": {"init": "uniform"},
        },
    ),
    "order": Experiment(
        "Order of color and class terms", "3.3", "both are minimized together",
        {
            "together": {}, "colors first": {"alpha-first": "0"}, "scenes first": {"alpha-first": "1"},
        },
    ),
}
PRECISION = Experiment(
    "Training in bfloat16 and in float32", "3.4", "it was trained in Torch's float32",
    {
        "float32, reference": {"backend": "reference", "dtype": "float32"},
        "float32, cpu": {"backend": "cpu", "dtype": "float32"},
        "bfloat16, cpu": {"backend": "cpu", "dtype": "bfloat16"},
    },
)
STYLE = Experiment(
    "Style transfer", "4.5, 4.10", "another picture's global features change the colors; it takes a similar picture",
    {"trained": {}},
)


def name_of(options: dict[str, str]) -> str:
    """Of an arm's runs: arms of several experiments that are the same network share them."""
    return "-".join(word for option in options.items() for word in option) or BASE


def trained(
    options: dict[str, str], seed: int, photos: Path, held_out: Path, out: Path, common: dict[str, Any]
) -> Path:
    """The folder of the finished run of an arm: trained now, gone on with, or found. Raises TrainError.

    common: the options of `ltbc train` that all arms share, `steps` among them.
    """
    run = out / "runs" / f"{name_of(options)}-seed{seed}"
    given = {**{name: str(value) for name, value in common.items()}, **options, "seed": str(seed)}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    if checkpoint.paths(run):
        old, _ = checkpoint.load(run)
        check_same(run, old.settings, {**given, "photos": os.path.abspath(photos)})
        if old.progress.step >= common["steps"]:
            return run
        words = ["--resume", str(run), *words]
    else:
        words = [str(photos), "--out", str(run), "--force", *words]
    print(f"ltbc train {' '.join(words)}", flush=True)
    status = train([*words, "--held-out", str(held_out)])
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise TrainError(f"{run}: training ended with status {status}; the same command goes on with it")
    return run


def check_same(run: Path, settings: dict[str, Any], given: dict[str, str]) -> None:
    """Raises TrainError where a run was trained with other options or on other pictures than those given."""
    for option, text in given.items():
        name = option.replace("-", "_")
        kind = FOR_GOOD[name][1] if name in FOR_GOOD else str
        value = kind(text) if callable(kind) else text
        if (name in FOR_GOOD or name == "photos") and settings[name] != value:
            raise TrainError(f"{run} was trained with {option} {settings[name]}, wanted {value}: give another --out")
