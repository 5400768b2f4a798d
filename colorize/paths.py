"""Which files a command line names, and where each result goes."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ltbc.colorize.images import LOSSY, READ, WRITE
from ltbc.colorize.pages import RAW_SUFFIXES
from ltbc.colorize.picture import ImageError


class Job(NamedTuple):
    """label: what the source is called, where that is not its path."""

    source: Path
    target: Path
    label: str = ""


class Plan(NamedTuple):
    """jobs; problems: a line for each input of which nothing can be made; left: for each file that is left alone."""

    jobs: list[Job]
    problems: list[str]
    left: list[str]


def plan(inputs: Sequence[str], out: str, suffix: str | None = None) -> Plan:
    """What is to be done.

    inputs: files, folders (searched, with their structure kept) and patterns. out: the file to write, where one file
    is named and `out` ends like a picture; else a folder. suffix: of the files in that folder; by default the input's
    where that format keeps the luminance, else .png. Raises ImageError where `out` cannot be meant.
    """
    target = Path(out)
    found, problems, left = search(inputs, target)
    one = Path(inputs[0])
    named_one = len(inputs) == 1 and not one.is_dir() and (one.exists() or not glob.has_magic(inputs[0]))
    is_folder = target.is_dir() or out.endswith(("/", os.sep)) or not target.suffix
    known = target.suffix.lower() in WRITE
    if not is_folder and (known or named_one):
        if not known:
            raise ImageError(
                f"--out {out}: files ending in {target.suffix} cannot be written; end it in {listed(WRITE)}, "
                "or in / for a folder"
            )
        if len(found) > 1 or not named_one:
            raise ImageError(f"--out {out}: this names one file, but there may be several pictures; name a folder")
        jobs = [Job(file, target) for file, _ in found]
    else:
        jobs = in_folder(found, target, suffix, problems)
    return Plan(without_harm(jobs, problems), problems, left)


def search(inputs: Sequence[str], out: Path) -> tuple[list[tuple[Path, Path]], list[str], list[str]]:
    """(files, each with its path below the folder or pattern that it was found by; problems; what is left alone)."""
    found: dict[Path, tuple[Path, Path]] = {}
    problems: list[str] = []
    left: dict[str, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise ImageError(f"--out {out}: this is the folder of the photographs; name another one")
            files, others = walk(path, out, problems)
            left |= dict.fromkeys(others)
            pairs = [(file, file.relative_to(path)) for file in files]
        elif path.exists() or not glob.has_magic(text):
            pairs = [(path, Path(path.name))] if path.exists() else []
        else:
            root = Path(*fixed_parts(path))
            files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
            left |= dict.fromkeys(f"{file}: {why}" for file in files if not file.is_dir() and (why := left_alone(file)))
            pairs = [(file, file.relative_to(root)) for file in files if is_picture(file)]
        if not pairs:
            empty = path.is_dir() or glob.has_magic(text)
            problems.append(f"{text}: " + (f"no pictures here ({listed(READ)})" if empty else "no such file or folder"))
        for file, relative in pairs:
            found.setdefault(file.resolve(), (file, relative))
    return list(found.values()), problems, list(left)


def walk(folder: Path, out: Path, problems: list[str]) -> tuple[list[Path], list[str]]:
    """(the pictures below a folder, in order; a line for all else but hidden files); nothing below `out`, which an
    earlier call may have written. Folders that cannot be read are problems."""
    files, left = [], []

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: folder cannot be read ({error.strerror})")

    for top, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if Path(top, name).resolve() != out.resolve())
        left += [f"{top}/{name}: linked folder" for name in folders if Path(top, name).is_symlink()]
        for file in (Path(top, name) for name in sorted(names)):
            if is_picture(file):
                files.append(file)
            elif why := left_alone(file):
                left.append(f"{file}: {why}")
    return files, left


def is_picture(path: Path) -> bool:
    return left_alone(path) == "" and not path.name.startswith(".")


def left_alone(path: Path) -> str:
    """Why a file in a folder is not colored; empty for a picture and for hidden files."""
    if path.name.startswith("."):
        return ""
    if not path.is_file():
        return "dangling link" if path.is_symlink() and not path.exists() else "no file"
    if path.suffix.lower() in RAW_SUFFIXES:
        return "raw file of a camera"
    return "" if path.suffix.lower() in READ else "no kind of picture that can be read"


def fixed_parts(pattern: Path) -> list[str]:
    """The folders of a pattern before its first wildcard."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts


def in_folder(found: list[tuple[Path, Path]], folder: Path, suffix: str | None, problems: list[str]) -> list[Job]:
    """A target in the folder for each file; `a.jpg` beside an `a.png` becomes `a.jpg.png`."""
    sources: dict[Path, Path] = {}  # by target
    for file, relative in sorted(found, key=lambda pair: ending(pair[0], suffix) != pair[0].suffix):
        end = ending(file, suffix)
        target = folder / relative.with_suffix(end)
        if target in sources and end != file.suffix:
            target = folder / relative.with_name(relative.name + end)
        if target in sources:
            problems.append(f"{file}: {target} is already made from {sources[target]}; give their folder instead")
        else:
            sources[target] = file
    targets = {file: target for target, file in sources.items()}
    return [Job(file, targets[file]) for file, _ in found if file in targets]


def ending(file: Path, suffix: str | None) -> str:
    if suffix:
        return suffix
    return file.suffix if WRITE.get(file.suffix.lower(), LOSSY[0]) not in LOSSY else ".png"


def without_harm(jobs: list[Job], problems: list[str]) -> list[Job]:
    """The jobs that would not write over one of the photographs themselves."""
    sources = {job.source.resolve() for job in jobs}
    safe = []
    for job in jobs:
        if job.target.resolve() in sources:
            problems.append(f"{job.target}: this is one of the photographs; name another --out")
        else:
            safe.append(job)
    return safe


def listed(suffixes: frozenset[str] | dict[str, str]) -> str:
    return ", ".join(sorted(suffixes))
