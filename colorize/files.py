"""One photograph, from file to file: what the command line and the page do alike."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltbc.colorize import hints, images, memory, preview
from ltbc.colorize.colorizer import Colored, Colorizer
from ltbc.colorize.errors import PLAINLY, How
from ltbc.colorize.hints import Hint
from ltbc.colorize.parameters import FULL
from ltbc.colorize.paths import Job
from ltbc.colorize.picture import ImageError, Picture, from_pil

IN_COLOR = "it is in color: its own colors were replaced (--skip-color leaves such alone)"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class ColorPhotograph(Exception):
    """A photograph that is in color already, where such are to be skipped."""


class Wishes(NamedTuple):
    """style: a photograph whose global features are mixed in, by blend. top: how many scenes to name. preview: a
    labelled sheet instead of the photograph. hints: colors at places of the upright photograph. quality: of a JPEG, 1
    to 100. how: the file is to be read. style_name: of its file, for the history. every_page: each page of it is
    colored, into a TIFF file. skip_color: ColorPhotograph is raised for what is in color already."""

    style: Picture | None = None
    saturation: float = 1
    blend: float = 1
    top: int = 0
    preview: bool = False
    hints: Sequence[Hint] = ()
    quality: int = images.QUALITY
    how: How = PLAINLY
    style_name: str = ""
    skip_color: bool = False
    every_page: bool = False


def color_file(job: Job, colorizer: Colorizer, wishes: Wishes) -> list[str]:
    """Colors one photograph and returns what to tell of it.

    Raises ImageError about this one, ColorPhotograph, OSError where no other can be written.
    """
    check_memory(job.source, colorizer, job.target)
    if wishes.every_page:
        return color_pages(job, colorizer, wishes)
    picture = images.read(job.source, wishes.how)
    if picture.in_color and wishes.skip_color:
        raise ColorPhotograph("it is a color photograph")
    check_hints(job, picture, wishes)
    with writing(job, picture.luminance.shape):
        if wishes.preview:
            sheet = preview.sheet(colorizer, picture, wishes.style, wishes.blend, wishes.hints)
            images.write(job.target, np.asarray(sheet), from_pil(sheet))
            return [f"{job.source} -> {job.target}: preview"]
        colored = color(job, picture, colorizer, wishes)
        notes = picture.notes + images.write(job.target, colored.pixels, picture, wishes.quality)
        return report(job, colored, picture, notes, colorizer, wishes.top)


def color_pages(job: Job, colorizer: Colorizer, wishes: Wishes) -> list[str]:
    """Colors every page of a file into a TIFF file of as many, one page in memory at a time."""
    if not images.holds_pages(job.target):
        raise ImageError(f"{job.target}: --pages all needs a .tif file, which holds several")
    lines: list[str] = []

    def colored_pages() -> Iterator[tuple[np.ndarray, Picture]]:
        for number in images.pages(job.source):
            try:
                picture = images.read(job.source, wishes.how._replace(page=number))
            except ImageError as error:
                lines.append(f"  note: page {number} was left out: {str(error).removeprefix(f'{job.source}: ')}")
                continue
            check_hints(job, picture, wishes)
            colored = color(job, picture, colorizer, wishes)
            page = job._replace(label=f"{job.source}, page {number}")
            lines.extend(report(page, colored, picture, picture.notes, colorizer, wishes.top))
            yield colored.pixels, picture

    with writing(job, None):
        images.write_pages(job.target, colored_pages())
    return lines


def color(job: Job, picture: Picture, colorizer: Colorizer, wishes: Wishes) -> Colored:
    picture.metadata.made = recipe(colorizer, wishes)
    depth = images.depth(job.target, picture)
    style, saturation, blend = wishes.style, wishes.saturation, wishes.blend
    return colorizer.colorize(picture, *depth, style, saturation, blend, wishes.hints)


def recipe(colorizer: Colorizer, wishes: Wishes) -> str:
    """What makes the same colors again, for the file's history."""
    weights = f"weights sha256:{colorizer.digest}" if colorizer.digest else "weights in memory"
    words = [f"--render-size {colorizer.render_size or FULL}", f"--saturation {wishes.saturation:g}"]
    words += [f"--style {wishes.style_name or '(a photograph)'} --blend {wishes.blend:g}"] if wishes.style else []
    words += [f"--hint {hint}" for hint in wishes.hints]
    return f"{weights}; {' '.join(words)} --backend {colorizer.net.backend} --dtype {colorizer.net.dtype}"


def check_hints(job: Job, picture: Picture, wishes: Wishes) -> None:
    """Raises ImageError where one of them lies beside the picture."""
    try:
        hints.checked(wishes.hints, *picture.luminance.shape)
    except ValueError as error:
        raise ImageError(f"{job.source}: {error}") from None


@contextmanager
def writing(job: Job, shape: tuple[int, ...] | None) -> Iterator[None]:
    """Makes the target's folder; what goes wrong inside becomes an ImageError, or an OSError for a full disk."""
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except MemoryError as error:
        size = f"{shape[1]} x {shape[0]} pixels" if shape else "its pages"
        why = f" ({images.one_line(error)})" if error.args else ""
        raise ImageError(f"{job.source}: not enough memory for {size}{why}; raise --max-memory, "
                         "close other programs, or make it smaller") from None
    except (FileExistsError, NotADirectoryError):
        raise ImageError(f"{job.target}: cannot be written ({job.target.parent} is not a folder)") from None
    except OSError as error:
        if error.errno in FULL_DISK:
            raise OSError(error.errno, "the disk is full; free some space and call again", job.target) from None
        raise ImageError(f"{job.target}: cannot be written ({error.strerror or error})") from None


def check_memory(source: Path, colorizer: Colorizer, target: Path | None = None) -> None:
    """Raises ImageError for a picture that could take more memory than allowed, before it is opened."""
    size, needed = images.most_memory(source, target)
    needed += memory.resident()
    if size and colorizer.max_memory and needed > colorizer.max_memory:
        raise ImageError(f"{source}: {size} may take {memory.told(needed)} of memory, over the limit of "
                         f"{memory.told(colorizer.max_memory)}; raise --max-memory, or make it smaller")


def report(job: Job, colored: Colored, picture: Picture, notes: list, colorizer: Colorizer, top: int) -> list[str]:
    """What the user is told about one photograph."""
    height, width = picture.luminance.shape
    share = colored.forced / (height * width)
    forced = f", the gamut forced {colored.forced:,} pixels ({share:.1%}) towards grey"
    lines = [f"{job.label or job.source} -> {job.target}: {width} x {height}" + (forced if colored.forced else "")]
    notes = [*notes, IN_COLOR] if picture.in_color else notes
    lines += [f"  note: {note}" for note in notes]
    if top and colored.probabilities is not None:
        scenes = colorizer.scenes(colored.probabilities, top)
        lines.append("  seen: " + ", ".join(f"{name} {probability:.1%}" for name, probability in scenes))
    return lines
