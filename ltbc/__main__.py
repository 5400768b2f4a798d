"""`ltbc COMMAND ...`: every program of the package under one name. `ltbc COMMAND --help` says more."""

import sys
from importlib import import_module

import ltbc

COMMANDS = {  # name: (module, words before the command line's own, what it does)
    "colorize": ("ltbc.colorize.__main__", (), "photographs in, the same photographs in color out"),
    "serve": ("ltbc.colorize.__main__", ("serve",), "the colorizer as a page in the browser, for this machine only"),
    "export": ("ltbc.colorize.__main__", ("export",), "the network as an ONNX file"),
    "train": ("ltbc.train.__main__", (), "trains a network on a folder of photographs, or on shards"),
    "pack": ("ltbc.train.pack", (), "many photographs as shards, decoded once"),
    "evaluate": ("ltbc.train.evaluate", (), "how good the colors of a network are"),
    "layers": ("ltbc.nn.__main__", (), "the table of layers"),
    "explain": ("ltbc.nn.__main__", ("explain",), "one number of the network, written out"),
    "study": ("ltbc.nn.__main__", ("study",), "a picture's way through the network, as one page"),
}
USAGE = "usage: ltbc COMMAND ...\n\n" + "\n".join(f"  {name:9} {line}" for name, (_, _, line) in COMMANDS.items())


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
    ltbc.started_as = "ltbc"
    return import_module(module).main([*words, *rest])


if __name__ == "__main__":
    sys.exit(main())
