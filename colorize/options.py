"""Options that several commands take, and the network that they name."""

import argparse
import math
import sys
from typing import Any

from ltbc.colorize import hints, images, memory
from ltbc.colorize.colorizer import NO_WEIGHTS, WEIGHTS, Colorizer
from ltbc.colorize.parameters import FULL
from ltbc.colorize.picture import ImageError
from ltbc.nn import WeightsError, default_backend, describe
from ltbc.program import printable


def add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--weights", metavar="FILE", help="a trained network; default: the one beside the program, if there is one")
    add("--max-memory", type=memory_size, metavar="2G", help="memory that the program may take: large pictures go "
        "through the network in tiles; one sample in millions may then differ, by one code (default: most of what the "
        "machine has left)")
    add("--backend", choices=("reference", "cpu", "gpu"), help="default: the fastest that this machine has")
    add("--dtype", choices=("float32", "bfloat16", "float16"), help="of the activations; default: the backend's best")


def load(options: argparse.Namespace, render_size: int | str | None = None) -> Colorizer:
    """The network of --weights. Raises WeightsError or ImageError, one line each, for all that can be wrong with it."""
    if options.weights is None and not WEIGHTS.is_file():
        raise WeightsError(NO_WEIGHTS)
    backend = options.backend or default_backend()
    try:
        limit = options.max_memory or memory.limit_of_machine()
        colorizer = Colorizer(options.weights or WEIGHTS, backend, render_size, options.dtype, limit)
    except WeightsError:
        raise
    except (ImportError, RuntimeError, ValueError) as error:
        other = "; try --backend reference" if backend != "reference" else ""
        raise ImageError(f"the backend {backend} cannot run here ({images.one_line(error)}){other}") from None
    print(f"{describe(backend)}; activations in {colorizer.net.dtype}", file=sys.stderr, flush=True)
    return colorizer


def fail(line: str, code: int = 1) -> int:
    print(printable(f"colorize: {line}", sys.stderr), file=sys.stderr)
    return code


def within(text: str, kind: type, low: float, high: float, wanted: str) -> Any:
    value = kind(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must {wanted}, got {text}")
    return value


def factor(text: str) -> float:
    return within(text, float, 0, sys.float_info.max, "be 0 or more")


def part(text: str) -> float:
    return within(text, float, 0, 1, "lie in 0 to 1")


def count(text: str) -> int:
    return within(text, int, 1, math.inf, "be at least 1")


def white(text: str) -> float:
    return within(text, float, sys.float_info.min, sys.float_info.max, "be a positive number")


def port(text: str) -> int:
    return within(text, int, 1, 65535, "lie in 1 to 65535")


def size(text: str) -> int | str:
    return text if text == FULL else count(text)


def hint(text: str) -> hints.Hint:
    try:
        return hints.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def memory_size(text: str) -> int:
    try:
        return memory.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like 2G or 800M, got {text}") from None


def suffix(text: str) -> str:
    if text.lower() not in images.WRITE:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(images.WRITE)}, got {text}")
    return text
