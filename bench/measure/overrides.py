"""Level of instructions, threads and tiles from the command line, before kernels are loaded."""

import argparse
import os
import sys
from importlib import import_module
from typing import Any

from bench import BenchError

MACHINE = "ltbc.kernels.cpu.machine"


class Setting(argparse.Action):
    """Sets an environment variable that the kernels look at when they are loaded: `dest` in capitals."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        os.environ[self.dest] = str(values)
        if loaded := sys.modules.get(MACHINE):
            if self.dest == "LTBC_CPU" and loaded.LEVEL.name != values:
                raise BenchError(f"{option} {values} comes too late: kernels are loaded for {loaded.LEVEL.name}")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--level", dest="LTBC_CPU", action=Setting, metavar="LEVEL",
                        help="of instructions for the cpu backend, such as avx2; as the environment variable LTBC_CPU")
    parser.add_argument("--threads", dest="LTBC_THREADS", action=Setting, type=int, metavar="N",
                        help="of both sides; as the environment variable LTBC_THREADS")


def tile(text: str) -> tuple[str, int]:
    """Of "rows=12"."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value.isdecimal() or not int(value):
        raise argparse.ArgumentTypeError(f"must be NAME=NUMBER, got {text!r}")
    return name, int(value)


def use_tiles(chosen: dict[str, int], backend: str, op: str) -> None:
    """Every kernel takes these in place of its own: cpu: `rows` and `step_rows` of register tiles, as in `LEVELS`, and
    constants of `kernels/cpu/` by their names, such as in_place.PIXELS; gpu: what the operation's tiles.json has.

    Compiled code of the cpu backend goes into a folder of its own. Raises BenchError for names that there are not.
    """
    if backend == "gpu":
        from ltbc.kernels.gpu import launch

        rows = [row for table in launch.tiles(op).values() for row in table]
        if unknown := set(chosen) - {name for row in rows for name in row}:
            raise BenchError(f"--tile: {op} has no {', '.join(sorted(unknown))} in its tiles.json")
        for row in rows:
            row |= {name: value for name, value in chosen.items() if name in row}
        return
    if backend != "cpu":
        raise BenchError(f"--tile: backend {backend} has no tiles")
    if "ltbc.kernels.cpu.compiler" in sys.modules:
        raise BenchError("--tile comes too late: kernels are loaded already")
    from ltbc.kernels.cpu.store import default_folder

    folder = default_folder()
    if folder:
        os.environ["LTBC_CACHE"] = str(folder / "-".join(f"{k}{v}" for k, v in sorted(chosen.items())))
    machine: Any = import_module(MACHINE)
    level = {name: value for name, value in chosen.items() if "." not in name}
    if unknown := set(level) - {"rows", "step_rows"}:
        raise BenchError(f"--tile: the cpu backend has rows, step_rows and constants such as in_place.PIXELS, "
                         f"no {', '.join(sorted(unknown))}")
    machine.LEVEL = machine.LEVEL._replace(**level)
    for name in chosen.keys() - level.keys():
        file, _, constant = name.partition(".")
        try:
            module = import_module(f"ltbc.kernels.cpu.{file}")
            if not isinstance(getattr(module, constant), int):
                raise AttributeError
        except (ImportError, AttributeError):
            raise BenchError(f"--tile: kernels/cpu has no number {name}") from None
        setattr(module, constant, chosen[name])
