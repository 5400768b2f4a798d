"""Options that several commands share, and what they mean on this machine."""

import argparse
from pathlib import Path

from bench import BenchError
from bench.measure import overrides
from ltbc.kernels.dispatch import BACKENDS, implementation
from ltbc.nn import Settings, default_backend, default_dtype
from ltbc.nn.backends import OPERATIONS, array_module_of, complete

DTYPES = ("bfloat16", "float16", "float32", "float64")
OF_BACKEND = {"reference": ("float32", "float64"), "cpu": ("bfloat16", "float32"), "gpu": DTYPES[:3]}  # to measure
CLASSES = 205  # of the paper


def positive(kind: type, multiple: int = 1):
    """A parser of positive numbers for argparse; `multiple` of which they must be."""

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf") or multiple > 1 and value % multiple:
            of = f" and a multiple of {multiple}" if multiple > 1 else ""
            raise argparse.ArgumentTypeError(f"must be positive{of}, got {text!r}")
        return value

    return parse


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog=f"python -m bench {command}", description=description)
    p.add_argument("--backend", nargs="+", choices=(*BACKENDS, "all"), help="default: the best of this machine")
    p.add_argument("--dtype", nargs="+", choices=DTYPES, help="of activations and weights, default the program's own")
    p.add_argument("--width", type=positive(float), default=1.0, help="scales every channel count (default 1)")
    p.add_argument("--size", type=positive(int, 8), default=224, help="side of the pictures (default 224)")
    p.add_argument("--csv", type=Path, metavar="FILE", help="also write the rows into this file")
    overrides.add(p)
    return p


def settings(args: argparse.Namespace) -> Settings:
    return Settings(args.width, tuple(map(str, range(CLASSES))), args.size)


def chosen(args: argparse.Namespace, every: bool = False) -> list[tuple[str, str]]:
    """(backend, dtype) pairs to measure; without --dtype the program's own of each
    backend, or all where `every`.

    Raises BenchError for a backend that cannot run here or a dtype that it does not have.
    """
    named = args.backend or (["all"] if every else [default_backend()])
    backends = [b for b in BACKENDS if runs(b)] if "all" in named else named
    pairs = []
    for backend in backends:
        if (why := refusal(backend)):
            raise BenchError(f"backend {backend} cannot run here: {why}")
        has = OF_BACKEND[backend]
        if args.dtype and not set(args.dtype) & set(has) and "all" not in named:
            raise BenchError(f"backend {backend} has no {', '.join(args.dtype)}; choose of {', '.join(has)}")
        wanted = [d for d in args.dtype if d in has] if args.dtype else has if every else (default_dtype(backend),)
        pairs += [(backend, dtype) for dtype in wanted]
    if not pairs:
        raise BenchError(f"no backend of this machine has {', '.join(args.dtype)}")
    return pairs


def runs(backend: str) -> bool:
    return not refusal(backend)


def refusal(backend: str) -> str:
    """Why the backend cannot run on this machine, in one line; "" where it can."""
    if not complete(backend):
        return "it lacks operations that the network needs"
    try:
        for op in sorted(OPERATIONS):
            implementation(op, backend)
        if backend == "gpu":
            from ltbc.kernels.gpu import launch

            launch.target()
            array_module_of(backend)  # Triton's interpreter needs no CuPy, the network does
    except (ImportError, RuntimeError, ValueError) as error:
        return str(error).splitlines()[0]
    return ""
