"""`python -m colorize PHOTO... --out PATH`: photographs in, the same photographs in color out.

Nothing is overwritten without --force, and each file is written whole or not at all. A file of which nothing can be
made is named, the others are colored, and the exit code is 1; 2 for a wrong command line, 130 for an interruption.
"""

import argparse
import errno
import logging
import math
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

from colorize import export, images, memory, preview
from colorize.colorizer import FULL, Colored, Colorizer
from colorize.paths import Job, plan
from colorize.picture import ImageError, Picture, from_pil
from nn import WeightsError, default_backend, describe

WEIGHTS = Path(__file__).parent / "weights.safetensors"
NO_WEIGHTS = (
    "no weights: name a file with --weights. To make one: `make demo`, or "
    "`python -m train PHOTOS --out RUN`, then --weights RUN/weights.safetensors"
)
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["export"]:
        return export.main(arguments[1:], WEIGHTS if WEIGHTS.is_file() else None)
    options = parse(arguments)
    warnings.simplefilter("ignore")  # Pillow's, about odd files: what matters of them is a note of ours
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        return run(options)
    except KeyboardInterrupt:
        return fail("interrupted; what was written is whole", 130)
    except (ImageError, WeightsError) as error:
        return fail(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or closing it would complain again
            return 1
        return fail(f"{error.filename or options.out}: {error.strerror or error}")


def fail(line: str, code: int = 1) -> int:
    print(f"colorize: {line}", file=sys.stderr)
    return code


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m colorize", description="Colors photographs and keeps their luminance.",
        epilog="python -m colorize export --onnx FILE writes the network for other programs.",
    )  # fmt: skip
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="files, folders (with all that is in them) or patterns")
    add("--out", required=True, metavar="PATH", help="the file to write, or a folder")
    add("--weights", metavar="FILE", help="a trained network; default: the one beside the program, if there is one")
    add("--style", metavar="PHOTO", help="take the global features from this photograph")
    add("--blend", type=part, default=1.0, metavar="PART", help="of the style's features in the mixture with the "
        "picture's own, 0 to 1 (default 1)")  # fmt: skip
    add("--saturation", type=factor, default=1.0, metavar="FACTOR", help="multiply the chroma (default 1)")
    add("--top", type=count, default=0, metavar="K", help="print the K most probable scenes")
    add("--render-size", type=size, metavar="PIXELS", help="longest side of what the network sees, or `full` "
        "(default: 1.5 times the side that its global branch sees)")  # fmt: skip
    add("--max-memory", type=memory_size, metavar="2G", help="memory that the program may take: large pictures go "
        "through the network in tiles, with the same result (default: most of what the machine has left)")  # fmt: skip
    add("--preview", action="store_true", help="write one labelled sheet a photograph, with several render sizes and "
        "saturations to choose from, instead of the photograph in color")  # fmt: skip
    add("--suffix", type=suffix, metavar=".png", help="ending of the files in the folder (default: the input's where "
        "its format keeps the luminance, else .png)")  # fmt: skip
    add("--backend", choices=("reference", "cpu", "gpu"), help="default: the fastest that this machine has")
    add("--dtype", choices=("float32", "bfloat16", "float16"), help="of the activations; default: the backend's best")
    add("--force", action="store_true", help="overwrite what exists")
    return parser.parse_args(arguments)


def factor(text: str) -> float:
    value = float(text)
    if not (0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return value


def part(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in 0 to 1, got {text}")
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def size(text: str) -> int | str:
    return text if text == FULL else count(text)


def memory_size(text: str) -> int:
    try:
        return memory.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like 2G or 800M, got {text}") from None


def suffix(text: str) -> str:
    if text.lower() not in images.WRITE:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(images.WRITE)}, got {text}")
    return text


def run(options: argparse.Namespace) -> int:
    """Colors what the options name; the exit code says whether all went well."""
    jobs, problems = plan(options.photos, options.out, options.suffix)
    for line in problems:
        fail(line)
    todo = []
    for job in jobs:
        if job.target.exists() and not options.force:
            print(f"{job.source}: skipped, {job.target} exists (--force overwrites it)")
        else:
            todo.append(job)
    failed = color_all(todo, options) if todo else 0
    if len(jobs) + len(problems) > 1:
        failed_in_all = failed + len(problems)
        print(f"{len(todo) - failed} colored, {len(jobs) - len(todo)} skipped, {failed_in_all} failed")
    return 1 if failed or problems else 0


def color_all(jobs: list[Job], options: argparse.Namespace) -> int:
    """Colors one after the other and returns how many failed."""
    colorizer = load(options)
    style = images.read(options.style) if options.style else None
    failed = 0
    with tqdm(jobs, unit="photo", disable=None if len(jobs) > 1 else True) as bar:
        for job in bar:
            try:
                lines = color(job, colorizer, style, options)
            except ImageError as error:
                failed += 1
                tqdm.write(f"colorize: {error}", file=sys.stderr)
                continue
            for line in lines:
                tqdm.write(line, file=sys.stdout)
    return failed


def load(options: argparse.Namespace) -> Colorizer:
    """The network of --weights. Raises WeightsError or ImageError, one line each, for all that can be wrong with it."""
    if options.weights is None and not WEIGHTS.is_file():
        raise WeightsError(NO_WEIGHTS)
    backend = options.backend or default_backend()
    try:
        limit = options.max_memory or memory.limit_of_machine()
        colorizer = Colorizer(options.weights or WEIGHTS, backend, options.render_size, options.dtype, limit)
    except WeightsError:
        raise
    except (ImportError, RuntimeError, ValueError) as error:
        other = "; try --backend reference" if backend != "reference" else ""
        raise ImageError(f"the backend {backend} cannot run here ({images.one_line(error)}){other}") from None
    for option in ("style", "top"):
        if getattr(options, option) and not colorizer.settings.global_size:
            raise ImageError(f"--{option}: these weights have no global branch, which it needs")
    print(f"{describe(backend)}; activations in {colorizer.net.dtype}", file=sys.stderr, flush=True)
    return colorizer


def color(job: Job, colorizer: Colorizer, style: Picture | None, options: argparse.Namespace) -> list[str]:
    """One photograph, from file to file, and what to tell of it.

    Raises ImageError about this one, OSError where no other can be written.
    """
    check_memory(job.source, colorizer)
    picture = images.read(job.source)
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        if options.preview:
            sheet = preview.sheet(colorizer, picture, style, options.blend)
            images.write(job.target, np.asarray(sheet), from_pil(sheet))
            return [f"{job.source} -> {job.target}: preview"]
        depth = images.depth(job.target, picture)
        colored = colorizer.colorize(picture, *depth, style, options.saturation, options.blend)
        notes = picture.notes + images.write(job.target, colored.pixels, picture)
        return report(job, colored, picture, notes, colorizer, options.top)
    except MemoryError as error:
        height, width = picture.luminance.shape
        why = f" ({images.one_line(error)})" if error.args else ""
        raise ImageError(f"{job.source}: not enough memory for {width} x {height} pixels{why}; raise --max-memory, "
                         "close other programs, or make it smaller") from None  # fmt: skip
    except (FileExistsError, NotADirectoryError):
        raise ImageError(f"{job.target}: cannot be written ({job.target.parent} is not a folder)") from None
    except OSError as error:
        if error.errno in FULL_DISK:
            raise OSError(error.errno, "the disk is full; free some space and call again", job.target) from None
        raise ImageError(f"{job.target}: cannot be written ({error.strerror or error})") from None


def check_memory(source: Path, colorizer: Colorizer) -> None:
    """Raises ImageError for a picture that could take more memory than allowed, before it is opened."""
    size, needed = images.most_memory(source)
    needed += memory.resident()
    if size and colorizer.max_memory and needed > colorizer.max_memory:
        raise ImageError(f"{source}: {size} may take {memory.told(needed)} of memory, over the limit of "
                         f"{memory.told(colorizer.max_memory)}; raise --max-memory, or make it smaller")  # fmt: skip


def report(job: Job, colored: Colored, picture: Picture, notes: list, colorizer: Colorizer, top: int) -> list[str]:
    """What the user is told about one photograph."""
    height, width = picture.luminance.shape
    share = colored.forced / (height * width)
    forced = f", the gamut forced {colored.forced:,} pixels ({share:.1%}) towards grey"
    lines = [f"{job.source} -> {job.target}: {width} x {height}" + (forced if colored.forced else "")]
    lines += [f"  note: {note}" for note in notes]
    if top and colored.probabilities is not None:
        scenes = colorizer.scenes(colored.probabilities, top)
        lines.append("  seen: " + ", ".join(f"{name} {probability:.1%}" for name, probability in scenes))
    return lines


if __name__ == "__main__":
    sys.exit(main())
