"""`ltbc colorize PHOTO... --out PATH`: photographs in, the same photographs in color out.

Nothing is overwritten without --force, and each file is written whole or not at all. A file of which nothing can be
made is named, the others are colored, and the exit code is 1; 2 for a wrong command line, 130 for an interruption.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from ltbc.colorize import export, files, images, options, pipes, serve
from ltbc.colorize.colorizer import WEIGHTS, Colorizer
from ltbc.colorize.errors import How
from ltbc.colorize.options import fail
from ltbc.colorize.paths import Job, plan
from ltbc.colorize.picture import ImageError
from ltbc.nn import WeightsError
from ltbc.program import printable

Tell = Callable[[str], None]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    warnings.simplefilter("ignore")  # Pillow's, about odd files: what matters of them is a note of ours
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    if arguments[:1] == ["export"]:
        return export.main(arguments[1:], WEIGHTS if WEIGHTS.is_file() else None)
    if arguments[:1] == ["serve"]:
        return serve.main(arguments[1:])
    chosen = parse(arguments)
    try:
        if pipes.PIPE not in (*chosen.photos, chosen.out):
            return run(chosen)
        with pipes.piped(chosen) as folder:
            return run(chosen, folder)
    except KeyboardInterrupt:
        return fail("interrupted; what was written is whole", 130)
    except (ImageError, WeightsError) as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error.filename or chosen.out}: {error.strerror or error}")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "ltbc colorize", description="Colors photographs and keeps their luminance.",
        epilog="ltbc serve opens a page in the browser that does the same; "
        "ltbc export --onnx FILE writes the network for other programs.",
    )
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="files, folders (with all that is in them) or patterns; "
        "- for standard input")
    add("--out", required=True, metavar="PATH", help="the file to write, or a folder; - for standard output (PNG, "
        "or as --suffix says)")
    options.add_network(parser)
    add("--style", metavar="PHOTO", help="take the global features from this photograph")
    add("--blend", type=options.part, default=1.0, metavar="PART", help="of the style's features in the mixture with "
        "the picture's own, 0 to 1 (default 1)")
    add("--saturation", type=options.factor, default=1.0, metavar="FACTOR", help="multiply the chroma (default 1)")
    add("--hint", type=options.hint, action="append", default=[], metavar="X,Y,#RRGGBB", dest="hints", help="a color "
        "at a place of the upright photograph, in pixels from its left and upper edges, which spreads within its "
        "region; may be given several times, for one photograph")
    add("--top", type=options.count, default=0, metavar="K", help="print the K most probable scenes")
    add("--render-size", type=options.size, metavar="PIXELS", help="longest side of what the network sees, or `full` "
        "(default: 3 times the side that its global branch sees)")
    add("--preview", action="store_true", help="write one labelled sheet a photograph, with several render sizes and "
        "saturations to choose from, instead of the photograph in color")
    add("--suffix", type=options.suffix, metavar=".png", help="ending of the files in the folder (default: the input's "
        "where its format keeps the luminance, else .png)")
    add("--page", type=options.count, metavar="N", help="of a file with several pages, color this one (default: the "
        "photograph among them, reduced copies and masks left aside)")
    add("--pages", choices=("all",), help="color each page, into a TIFF file of as many")
    add("--white", type=options.white, metavar="1|255|65535", help="what is white in files of floats or of whole "
        "numbers of 32 bits (default: what the file states, or where nearly all of its values fit)")
    add("--skip-color", action="store_true", help="leave color photographs alone")
    add("--verbose", action="store_true", help="name the files in a folder that are left alone, and say why")
    add("--strict", action="store_true", help="refuse a JPEG that is cut off, instead of using what is there of it")
    add("--force", action="store_true", help="overwrite what exists")
    chosen = parser.parse_args(arguments)
    if chosen.pages and (chosen.page or chosen.preview):
        parser.error("--pages all goes with neither --page nor --preview")
    if chosen.pages and chosen.suffix and not images.holds_pages(Path(f"page{chosen.suffix}")):
        parser.error("--pages all: only .tif holds several pages")
    chosen.suffix = chosen.suffix or (".tif" if chosen.pages else None)
    return chosen


def run(chosen: argparse.Namespace, hidden: str = "") -> int:
    """Colors what the options name; the exit code says whether all went well. hidden: a folder that is not named, and
    of which standard output may hold a file."""
    say = partial(tell, hidden, sys.stderr if hidden and chosen.out.startswith(hidden) else sys.stdout)
    jobs, problems, left = plan(chosen.photos, chosen.out, chosen.suffix)
    for line in problems:
        fail(line)
    if left:
        named = "" if chosen.verbose else " (--verbose names them)"
        say(f"{len(left)} other file{'s' * (len(left) > 1)} left alone{named}")
        for line in left if chosen.verbose else ():
            say(f"  {line}")
    if chosen.hints and len(jobs) > 1:
        raise ImageError(f"--hint: its place is one in a photograph, and {len(jobs)} are named")
    todo = []
    for job in jobs:
        if job.target.exists() and not chosen.force:
            say(f"{job.source}: skipped, {job.target} exists (--force overwrites it)")
        else:
            todo.append(job)
    failed, in_color = color_all(todo, chosen, say, partial(tell, hidden, sys.stderr)) if todo else (0, 0)
    if len(jobs) + len(problems) > 1:
        failed_in_all = failed + len(problems)
        colored = len(todo) - failed - in_color
        say(f"{colored} colored, {len(jobs) - len(todo) + in_color} skipped, {failed_in_all} failed")
    return 1 if failed or problems else 0


def tell(hidden: str, stream: TextIO, line: str) -> None:
    """One line, beside the progress bar."""
    tqdm.write(printable(line.replace(hidden, ""), stream), file=stream)


def color_all(jobs: list[Job], chosen: argparse.Namespace, say: Tell, complain: Tell) -> tuple[int, int]:
    """Colors one after the other; (how many failed, how many were skipped as they are in color)."""
    colorizer = load(chosen)
    style = images.read(chosen.style) if chosen.style else None
    wishes = files.Wishes(style, chosen.saturation, chosen.blend, chosen.top, chosen.preview,
                          chosen.hints, how=How(chosen.page, chosen.white, chosen.strict),
                          style_name=Path(chosen.style or "").name, every_page=chosen.pages == "all",
                          skip_color=chosen.skip_color)
    failed = skipped = 0
    with tqdm(jobs, unit="photo", disable=None if len(jobs) > 1 else True) as bar:
        for job in bar:
            try:
                lines = files.color_file(job, colorizer, wishes)
            except files.ColorPhotograph as reason:
                skipped += 1
                say(f"{job.source}: skipped, {reason}")
                continue
            except ImageError as error:
                failed += 1
                complain(f"colorize: {error}")
                continue
            for line in lines:
                say(line)
    return failed, skipped


def load(chosen: argparse.Namespace) -> Colorizer:
    colorizer = options.load(chosen, chosen.render_size)
    for option in ("style", "top"):
        if getattr(chosen, option) and not colorizer.settings.global_size:
            raise ImageError(f"--{option}: these weights have no global branch, which it needs")
    return colorizer


if __name__ == "__main__":
    sys.exit(main())
