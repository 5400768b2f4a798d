"""`python -m train.experiments NAME --photos DIR --out DIR`: trains both sides, measures, draws.

OUT/runs holds the runs of `ltbc train`, one an arm and seed. What is there already is not trained again, so an
interrupted experiment goes on where it stopped, and experiments with the same --out share the runs of the base.
OUT/NAME.md, OUT/NAME.png and OUT/NAME.jpg are the tables, the curves and the photographs.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin(lasting=True)

import argparse
import sys
import warnings
from pathlib import Path

from ltbc.train import TrainError
from ltbc.train.experiments.arms import EXPERIMENTS, PRECISION, STYLE, Experiment, trained
from ltbc.train.options import CPUS
from ltbc.train.pictures.folder import Pictures, scan

HELD_OUT = ("val", "held_out")  # names of the sub-folder that is measured on


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m train.experiments", description=(__doc__ or "").partition("\n")[0])
    p.add_argument("name", choices=(*EXPERIMENTS, "style", "precision", "all"),
                   help="all: all but precision, of which the reference takes long")
    p.add_argument("--photos", default=str(Path(__file__).parents[1] / "photographs"), metavar="DIR",
                   help="holds train/CLASS/* and val/CLASS/* or held_out/CLASS/* (those built in)")
    p.add_argument("--out", default="runs/experiments", metavar="DIR", help="for runs, tables and figures")
    p.add_argument("--steps", type=int, default=1000, help="of every run (1000)")
    p.add_argument("--seeds", type=int, default=3, help="runs of each arm (3)")
    p.add_argument("--width", type=float, default=0.25, help="as in ltbc train (0.25)")
    p.add_argument("--crop", type=int, default=96, help="as in ltbc train (96)")
    p.add_argument("--batch", type=int, default=32, help="as in ltbc train (32)")
    p.add_argument("--decay", type=float, default=0.5, help="as in ltbc train (0.5)")
    return p


def main(arguments: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module="PIL")
    options = parser().parse_args(arguments)
    try:
        run(options)
    except ImportError as error:
        return fail(f"{error.name} is not installed: pip install 'let-there-be-color[evaluate]'")
    except OSError as error:
        return fail(f"{error.filename or options.out}: {error.strerror or error}")
    except TrainError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on with it", 130)
    return 0


def fail(message: str, status: int = 2) -> int:
    print(f"train.experiments: {message}", file=sys.stderr)
    return status


def run(options: argparse.Namespace) -> None:

    if options.steps < 1 or options.seeds < 1:
        raise TrainError(f"--steps and --seeds must be at least 1, got {options.steps} and {options.seeds}")
    photos, out = Path(options.photos), Path(options.out)
    held_out = next((photos / name for name in HELD_OUT if (photos / name).is_dir()), None)
    if held_out is None:
        raise TrainError(f"--photos {photos}: wanted sub-folders train and val (or held_out) in it")
    common = {name: getattr(options, name) for name in ("steps", "width", "crop", "batch", "decay")}
    common |= {"workers": CPUS, "checkpoint-every": max(1, options.steps // 10)}
    names = (*EXPERIMENTS, "style") if options.name == "all" else (options.name,)
    wanted = {name: {**EXPERIMENTS, "style": STYLE, "precision": PRECISION}[name] for name in names}
    runs = {
        name: {label: [trained(arm, seed, photos / "train", held_out, out, common) for seed in range(options.seeds)]
               for label, arm in experiment.arms.items()}
        for name, experiment in wanted.items()
    }
    pictures = scan(held_out, options.crop)
    for name, experiment in wanted.items():
        conclude(name, experiment, runs[name], pictures, options)


def conclude(
    name: str, experiment: Experiment, runs: dict[str, list[Path]], pictures: Pictures, options: argparse.Namespace
) -> None:
    """Measures the finished runs and writes the table, the curves and the sheet."""
    from ltbc.train.experiments import figures, precision, results, style

    out, grey = Path(options.out), results.grey_error(pictures)
    curves, photographs = out / f"{name}.png", out / f"{name}.jpg"
    if experiment is STYLE:
        nets = [results.load(run) for run in runs["trained"]]
        styles = [style.measure(net, pictures) for net in nets]
        told = style.table(styles)
        style.draw_curves(styles, grey, experiment.title, curves)
        style.draw_sheet(nets[0], options.crop, photographs)
    elif experiment is PRECISION:
        losses = {label: precision.losses(group) for label, group in runs.items()}
        told = precision.table(losses)
        precision.draw_curves(losses, experiment.title, curves)
    else:
        arms = {label: [results.Measured(run, pictures, grey) for run in group] for label, group in runs.items()}
        told = results.tables(arms, options.steps)
        figures.draw_curves(arms, grey, experiment.title, curves)
        figures.draw_sheet({label: group[0].net for label, group in arms.items()}, options.crop, photographs)
    told = (
        f"{experiment.title} (the paper, {experiment.section}: {experiment.claim}). {len(pictures)} held-out pictures, "
        f"grey's chroma error {grey:.2f}; {options.seeds} seeds of {options.steps} steps each, batch {options.batch}, "
        f"crop {options.crop}, width {options.width:g}.\n\n{told}"
    )
    (out / f"{name}.md").write_text(told)
    print(f"\n{told}\nlook at {curves}{f' and {photographs}' * photographs.exists()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
