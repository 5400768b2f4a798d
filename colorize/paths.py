"""Which files a command line names, and where each result goes."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ltbc.colorize.images import LOSSY, READ, WRITE
from ltbc.colorize.picture import ImageError


class Job(NamedTuple):
    """label: what the source is called, where that is not its path."""

    source: Path
    target: Path
    label: str = ""


def plan(inputs: Sequence[str], out: str, suffix: str | None = None) -> tuple[list[Job], list[str]]:
    """(jobs, one line for each input of which nothing can be made).

    inputs: files, folders (searched, with their structure kept) and patterns. out: the file to write, where one file
    is named and `out` ends like a picture; else a folder. suffix: of the files in that folder; by default the input's
    where that format keeps the luminance, else .png. Raises ImageError where `out` cannot be meant.
    """
    target = Path(out)
    found, problems = search(inputs, target)
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
    return without_harm(jobs, problems), problems


def search(inputs: Sequence[str], out: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """(files, each with its path below the folder or pattern that it was found by; problems)."""
    found: dict[Path, tuple[Path, Path]] = {}
    problems = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise ImageError(f"--out {out}: this is the folder of the photographs; name another one")
            files = walk(path, out)
            pairs = [(file, file.relative_to(path)) for file in files]
        elif path.exists() or not glob.has_magic(text):
            pairs = [(path, Path(path.name))] if path.exists() else []
        else:
            root = Path(*fixed_parts(path))
            files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
            pairs = [(file, file.relative_to(root)) for file in files if is_picture(file)]
        if not pairs:
            empty = path.is_dir() or glob.has_magic(text)
            problems.append(f"{text}: " + (f"no pictures here ({listed(READ)})" if empty else "no such file or folder"))
        for file, relative in pairs:
            found.setdefault(file.resolve(), (file, relative))
    return list(found.values()), problems


def walk(folder: Path, out: Path) -> list[Path]:
    """The pictures below a folder, in order; not those below `out`, which an earlier call may have written."""
    files = []
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(top, name).resolve() != out.resolve())
        files += [file for name in sorted(names) if is_picture(file := Path(top, name))]
    return files


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in READ and not path.name.startswith(".") and path.is_file()


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
