"""`python -m bench COMMAND`: see `--help` of each command."""

import sys
from importlib import import_module

COMMANDS = {
    "network": "forward pass and training step of the whole network, ours against PyTorch's configurations",
}


def main(argv: list[str]) -> None:
    if not argv or argv[0] not in COMMANDS:
        print("usage: python -m bench COMMAND [options]\n\ncommands:")
        for name, text in COMMANDS.items():
            print(f"  {name:<9} {text}")
        raise SystemExit(0 if argv and argv[0] in ("-h", "--help") else 2)
    import_module(f"bench.{argv[0]}").main(argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
