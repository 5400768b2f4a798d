"""What a run is made from: mistakes are told before pictures are read, and pictures are read once, by one process."""

import os
from pathlib import Path
from typing import Any

from ltbc.nn.architecture import Settings
from ltbc.nn.backends import array_module_of, check_dtype
from ltbc.train import TrainError, events
from ltbc.train.checkpoint import SHAPE, Checkpoint
from ltbc.train.distributed import World
from ltbc.train.leavings import HELD_OUT, SCAN
from ltbc.train.pictures.folder import Pictures, from_entries, scan
from ltbc.train.pictures.scan import Entry, find, known_from
from ltbc.train.pictures.shards import is_packed


def check(settings: dict[str, Any], run: Path) -> None:
    """Raises TrainError for what can be known to be wrong without a picture."""
    try:
        array_module_of(settings["backend"])
        check_dtype(settings["backend"], settings["dtype"])
        Settings(classes=("any",), **{name: settings[name] for name in SHAPE})
    except ImportError as error:
        raise TrainError(f"--backend {settings['backend']} cannot run here ({error}); try another one") from None
    except (ValueError, TypeError) as error:  # settings that do not fit each other
        raise TrainError(" ".join(str(error).split())) from None
    if settings["events"] == "tensorboard":
        events.check()
    photos, held_out = Path(settings["photos"]), settings["held_out"]
    if run.resolve().is_relative_to(photos.resolve()):
        raise TrainError(f"the run's folder {run} lies in the photographs' {photos}; choose another one with --out")
    if held_out and Path(held_out).resolve().is_relative_to(photos.resolve()):
        raise TrainError(f"--held-out {held_out} lies in {photos}: it would be trained on; move it out")
    for folder in (Path(held_out), photos) if held_out else (photos,):
        names = [] if is_packed(folder) else find(folder).names
    if names:
        check_classes(photos, {os.path.dirname(name) or "." for name in names}, settings)


def check_classes(photos: Path, classes: set[str] | tuple[str, ...], settings: dict[str, Any]) -> None:
    """Raises TrainError where there is nothing to tell apart."""
    if len(classes) < 2 and settings["alpha"] and settings["global_size"]:
        raise TrainError(f"{photos}: all pictures are of one class ({min(classes)}), nothing to tell apart: sort them "
                         "into sub-folders, one a class, or train on color alone with --alpha 0")


def read_pictures(
    settings: dict[str, Any], world: World, run: Path | None = None
) -> tuple[Pictures, Pictures | None]:
    """(pictures to train on, held-out pictures or None), with a report on stdout. Raises TrainError.

    run: the folder with earlier scans. The first process looks at the files, the others are told.
    """
    photos, held_out = Path(settings["photos"]), settings["held_out"]
    measured = None
    if held_out:  # first: it is the shorter
        measured = read_folder(Path(held_out), settings["crop"], settings, world, run and run / HELD_OUT)
    pictures = read_folder(photos, round(settings["crop"] * 256 / 224), settings, world, run and run / SCAN)
    for found in (pictures, measured):
        if found:
            world.say("\n".join(found.report()))
    check_classes(photos, pictures.classes, settings)
    return pictures, measured


def changes(run: Path, old: Checkpoint, pictures: Pictures, allowed: bool) -> str:
    """What differs from the pictures of the checkpoint. Raises TrainError with it unless that is `allowed`."""
    before = known_from(run / SCAN, pictures.short_side)
    now = {entry.name: entry for entry in pictures.entries}
    texts = []
    if before and now:
        both = before.keys() & now.keys()
        counts = {"came": len(now.keys() - before.keys()), "went": len(before.keys() - now.keys()),
                  "changed": sum(before[name].digest != now[name].digest for name in both)}
        texts = [f"{n} {what}" for what, n in counts.items() if n]
    lists = {"more": set(pictures.classes) - set(old.classes), "less": set(old.classes) - set(pictures.classes)}
    for what, names in lists.items():
        if names:
            texts.append(f"{len(names)} class{'es' * (len(names) > 1)} {what} ({', '.join(sorted(names)[:5])})")
    told = f"{pictures.root}: not the pictures of {run}: {', '.join(texts) or 'files came, went or changed'}"
    if not allowed:
        raise TrainError(f"{told}; bring them back, go on with those that are there (--changed), or start another run "
                         "with --out")
    new = "; the last layer of the class branch is drawn anew" * (old.classes != pictures.classes)
    return f"{told}; goes on{new}"


def read_folder(
    folder: Path, short_side: int, settings: dict[str, Any], world: World, kept: Path | None
) -> Pictures:
    near_grey, memory = settings["near_grey"], settings["memory"] / world.local_size
    if world.first(lambda: is_packed(folder)):
        return scan(folder, short_side, near_grey, memory)
    mine: list[Pictures] = []

    def looked_at() -> list[Entry]:
        known = known_from(kept, short_side) if kept else {}
        mine.append(scan(folder, short_side, near_grey, memory, settings["workers"], known))
        return mine[0].entries

    entries = world.first(looked_at)
    return mine[0] if mine else from_entries(folder, short_side, near_grey, memory, entries)
