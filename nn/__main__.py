"""`ltbc layers`: the table of layers, with shapes, parameters, multiply-adds and activation bytes.

`ltbc classes`: the scenes that it knows. `ltbc explain --help`: one number of the network, written out. `ltbc study
--help`: a page to look at.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import json
import sys

from ltbc.nn.architecture import Settings, cost_table

COLUMNS = "{:<17} {:>16} {:>16} {:>12} {:>15} {:>12}"


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["explain"]:
        from ltbc.nn.study.explain import main as explain

        return explain(argv[1:])
    if argv[:1] == ["study"]:
        from ltbc.nn.study.page import main as study

        return study(argv[1:])
    if argv[:1] == ["classes"]:
        from ltbc.nn.study.options import list_classes

        return list_classes(argv[1:])
    parser = argparse.ArgumentParser(prog="ltbc layers", description=__doc__)
    parser.add_argument("--width", type=float, default=1.0, help="scales every channel count (default 1)")
    parser.add_argument("--classes", type=int, default=205, help="number of scene classes (default 205)")
    parser.add_argument("--size", default="224", help="picture size, SIDE or HEIGHTxWIDTH (default 224)")
    parser.add_argument("--global-size", type=int, default=224, help="side of the global branch's picture, 0 for none")
    parser.add_argument("--fusion", default="sigmoid", help="sigmoid (default) or relu")
    parser.add_argument("--color-space", default="lab", help="lab (default), yuv or rgb")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(argv)
    try:
        height, width = parse_size(args.size)
        settings = Settings(
            args.width, tuple(map(str, range(args.classes))), args.global_size, args.fusion,
            color_space=args.color_space,
        )
    except ValueError as error:
        parser.error(str(error))
    rows = cost_table(settings, height, width)
    totals = {key: sum(row[key] for row in rows) for key in ("parameters", "macs", "activation_bytes")}
    if args.json:
        print(json.dumps({"layers": rows, **totals}, indent=1))
    else:
        print_table(rows, totals)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "224" or "480x640". Raises ValueError with a line for the user."""
    sides = text.lower().split("x")
    try:
        height, width = int(sides[0]), int(sides[-1])
    except ValueError:
        raise ValueError(f"--size must be like 224 or 480x640, got {text!r}") from None
    if len(sides) > 2 or min(height, width) < 8 or height % 8 or width % 8:
        raise ValueError(f"--size must be multiples of 8, got {text!r}")
    return height, width


def print_table(rows: list[dict], totals: dict[str, int]) -> None:
    print(COLUMNS.format("layer", "input", "output", "parameters", "multiply-adds", "bytes"))
    for row in rows:
        shapes = ("x".join(map(str, row[key])) for key in ("input", "output"))
        numbers = (f"{row[key]:,}" for key in ("parameters", "macs", "activation_bytes"))
        print(COLUMNS.format(row["name"], *shapes, *numbers))
    print(COLUMNS.format("total", "", "", *(f"{total:,}" for total in totals.values())))


if __name__ == "__main__":
    main()
