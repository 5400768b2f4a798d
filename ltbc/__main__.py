"""`ltbc COMMAND ...`: every program of the package under one name. `ltbc COMMAND --help` says more."""

import sys
from importlib import import_module

import ltbc
from ltbc import program

COMMANDS = {  # name: (module, words before the command line's own, what it does)
    "colorize": ("colorize.__main__", (), "photographs in, the same photographs in color out"),
    "serve": ("colorize.__main__", ("serve",), "the colorizer as a page in the browser, for this machine only"),
    "export": ("colorize.__main__", ("export",), "the network as an ONNX file"),
    "train": ("train.__main__", (), "trains a network on a folder of photographs, or on shards"),
    "pack": ("train.pack", (), "many photographs as shards, decoded once"),
    "report": ("train.report", (), "a run as one page: curves, pictures over time, speed"),
    "evaluate": ("train.evaluate", (), "how good the colors of a network are"),
    "layers": ("nn.__main__", (), "the table of layers"),
    "classes": ("nn.__main__", ("classes",), "the scenes that a network tells apart"),
    "explain": ("nn.__main__", ("explain",), "one number of the network, written out"),
    "study": ("nn.__main__", ("study",), "a picture's way through the network, as one page"),
}
LASTING = ("train", "pack")
USAGE = "\n".join(("usage: ltbc COMMAND ...\n", *(f"  {name:9} {line}" for name, (_, _, line) in COMMANDS.items())))


def start() -> None:
    """The program, as a process of its own."""
    program.begin(lasting=sys.argv[1:2] in [[name] for name in LASTING])
    sys.exit(main())


def main(arguments: list[str] | None = None) -> int | None:
    """Runs a command and returns its exit code; 2 for one that does not exist."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if name == "--version":
        print(f"ltbc {ltbc.__version__}")
        return 0
    if name not in COMMANDS:
        print(f"ltbc: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module, words, _ = COMMANDS[name]
    return import_module(f"ltbc.{module}").main([*words, *rest])


if __name__ == "__main__":
    start()
