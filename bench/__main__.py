"""`python -m bench COMMAND`: see `--help` of each command."""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import os
import sys
from importlib import import_module
from importlib.util import find_spec

if count := os.environ.get("LTBC_THREADS"):  # also of what NumPy calls, which looks at these as it is loaded
    os.environ |= {"OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}

from bench import BenchError, CheckError
from ltbc.kernels.notices import table

COMMANDS = {
    "all": "this machine, everything below into bench/results/ and README.md: a quarter of an hour",
    "kernels": "every operation at every layer shape: checked, timed, against PyTorch and the machine's ceilings",
    "network": "forward pass and training step of the whole network, ours against PyTorch's configurations",
    "scaling": "time and memory over picture size, batch, width and processes, with the fitted growth",
    "diff": "layer by layer, every backend against the float64 reference: errors, tolerances, where they part",
    "tune": "searches tiles for the kernels of an operation and writes its table",
    "gpu": "what the compiler makes of the GPU kernels; needs no GPU",
    "gradcheck": "gradient checkers held against each other over right and wrong pairs of forward and backward",
    "revisions": "two git revisions in turns on this machine: is one of them faster, by a rank test over rounds",
    "compare": "two result files: what got faster or slower beyond the noise of both",
    "history": "all committed results of a machine over commits, as a plot",
    "report": "tables and plots of result files; --readme puts them into README.md",
}


def main(argv: list[str]) -> int:
    known = {name: text for name, text in COMMANDS.items() if find_spec(f"bench.{name}")}
    if not argv or argv[0] not in known:
        print("usage: python -m bench COMMAND [options]\n\ncommands:")
        for name, text in known.items():
            print(f"  {name:<9} {text}")
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    try:
        with table():
            return import_module(f"bench.{argv[0]}").main(argv[1:]) or 0
    except CheckError as error:
        print(f"bench {argv[0]}: {error}", file=sys.stderr)
        return 1
    except (BenchError, ImportError, MemoryError) as error:
        memory = "out of memory; try a smaller --batch, --width or --size"
        print(f"bench {argv[0]}: {memory if isinstance(error, MemoryError) else error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"bench {argv[0]}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
