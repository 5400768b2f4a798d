"""One unit of checks in a process of its own, since an error on the GPU ends everything that its process does there.

`python -m tests.on_gpu.worker UNIT FILE`: UNIT is a number of `operations.units()`, "layers" or "network". Appends one
line of JSON to FILE as a check starts and one as it ends. Exit status 3 where the GPU is of no use to this process any
more.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ltbc.kernels.gpu import launch
from tests.on_gpu import layers, network, operations

BROKEN = 3


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.on_gpu.worker")
    p.add_argument("unit")
    p.add_argument("file", type=Path)
    p.add_argument("--skip", type=int, default=0, help="checks that have been done")
    p.add_argument("--largest", type=int, default=1 << 40, help="elements of a check's input")
    p.add_argument("--no-pool", action="store_true", help="each array in memory of its own, for compute-sanitizer")
    options = p.parse_args(argv)
    if options.no_pool:
        import cupy

        cupy.cuda.set_allocator(None)
    return run(options.unit, options.file, options.skip, options.largest)


def run(unit: str, file: Path, skip: int = 0, largest: int = 1 << 40, tiny: bool = False) -> int:
    """Does the unit's checks from number `skip` on. tiny: small networks, for Triton's interpreter."""
    for number, (name, what, check) in enumerate(checks(unit, largest, tiny)):
        if number < skip:
            continue
        begun = time.perf_counter()
        line: dict[str, Any] = {"unit": name, "number": unit, "check": number, "what": what}
        write(file, line | {"state": "started"})
        try:
            found = check()
            write(file, line | {"state": "passed", "found": found, "seconds": round(time.perf_counter() - begun, 2)})
        except Exception as error:
            kind = "failed" if isinstance(error, AssertionError) else "error"
            write(file, line | {"state": kind, "found": f"{type(error).__name__}: {error}"[:3000],
                                "where": traceback.format_exc()[-1500:]})
            if broken():
                return BROKEN
    return 0


def checks(unit: str, largest: int, tiny: bool) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """(unit's name, what is checked, the check) of everything in the unit."""
    if unit == "network":
        for function, sizes in network.CHECKS:
            if not (tiny and sizes == network.FULL):
                sizes = network.TINY if tiny else sizes
                width, side, images = sizes
                what = f"{function.__name__.replace('_', ' ')}, width {width:g}, {images} of {side}x{side}"
                yield "network", what, partial(function, sizes)
        return
    if unit == "layers":
        for what, check in layers.checks(layers.TINY if tiny else layers.FULL):
            yield "layers", what, check
        return
    one = operations.units()[int(unit)]
    for case in operations.cases(one, largest):
        what = " ".join([*(f"{k}={n}" for k, n in case.sizes.items()), *(f"{k}={v}" for k, v in case.settings.items())])
        yield one.name, what, partial(operations.check, one, case)


def write(file: Path, line: dict[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def broken() -> bool:
    """Whether an error on the GPU has ended this process's use of it."""
    try:
        xp = launch.target().arrays
        if xp.__name__ != "cupy":
            return False
        xp.cuda.Device().synchronize()
        return int(xp.arange(3).sum()) != 3
    except Exception:
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
