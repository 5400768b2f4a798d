"""One photograph, from file to file: what the command line and the page do alike."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltbc.colorize import hints, images, memory, preview
from ltbc.colorize.colorizer import Colored, Colorizer
from ltbc.colorize.hints import Hint
from ltbc.colorize.paths import Job
from ltbc.colorize.picture import ImageError, Picture, from_pil

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class Wishes(NamedTuple):
    """style: a photograph whose global features are mixed in, by blend. top: how many scenes to name. preview: a
    labelled sheet instead of the photograph. hints: colors at places of the upright photograph.
    quality: of a JPEG, 1 to 100."""

    style: Picture | None = None
    saturation: float = 1
    blend: float = 1
    top: int = 0
    preview: bool = False
    hints: Sequence[Hint] = ()
    quality: int = images.QUALITY


def color_file(job: Job, colorizer: Colorizer, wishes: Wishes) -> list[str]:
    """Colors one photograph and returns what to tell of it.

    Raises ImageError about this one, OSError where no other can be written.
    """
    check_memory(job.source, colorizer)
    picture = images.read(job.source)
    try:
        hints.checked(wishes.hints, *picture.luminance.shape)
    except ValueError as error:
        raise ImageError(f"{job.source}: {error}") from None
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        if wishes.preview:
            sheet = preview.sheet(colorizer, picture, wishes.style, wishes.blend, wishes.hints)
            images.write(job.target, np.asarray(sheet), from_pil(sheet))
            return [f"{job.source} -> {job.target}: preview"]
        depth = images.depth(job.target, picture)
        colored = colorizer.colorize(
            picture, *depth, wishes.style, wishes.saturation, wishes.blend, wishes.hints
        )
        notes = picture.notes + images.write(job.target, colored.pixels, picture, wishes.quality)
        return report(job, colored, picture, notes, colorizer, wishes.top)
    except MemoryError as error:
        height, width = picture.luminance.shape
        why = f" ({images.one_line(error)})" if error.args else ""
        raise ImageError(f"{job.source}: not enough memory for {width} x {height} pixels{why}; raise --max-memory, "
                         "close other programs, or make it smaller") from None
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
                         f"{memory.told(colorizer.max_memory)}; raise --max-memory, or make it smaller")


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
