"""`python -m lessons check N`: what is right in exercise N, what is not, and why. Without words: the exercises.

Eight backward passes to write yourself, lessons/exercises/, each from a skeleton; solutions lie in lessons/solutions/.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """0 if everything that was asked for is right, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m lessons", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("list", "check"), default="list")
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="exercises to check, 1 to 8 (default: all)")
    parser.add_argument("--file", type=Path, help="your file of the one exercise, if it lies elsewhere")
    parser.add_argument("--solution", action="store_true", help="checks our solutions instead of yours")
    args = parser.parse_args(arguments)
    mine = sorted((FOLDER / ("solutions" if args.solution else "exercises")).glob("[0-9]*.py"))
    files = {int(path.stem.partition("_")[0]): path for path in mine}
    if args.command == "list":
        for number, path in files.items():
            print(f"{number}  {path.relative_to(FOLDER.parent)}: {path.read_text().partition('. ')[2].splitlines()[0]}")
        print("\npython -m lessons check N says what is right, what is not and why")
        return 0
    numbers = args.numbers or list(files)
    if wrong := [n for n in numbers if n not in files]:
        parser.error(f"there are exercises 1 to {max(files)}, not {wrong[0]}")
    if args.file and (len(numbers) != 1 or not args.file.is_file()):
        parser.error("--file names the file of one exercise" if args.file.is_file() else f"{args.file}: no such file")
    from lessons.judge import judge  # imports NumPy and the network

    right = True
    for number in numbers:
        path = args.file or files[number]
        print(f"exercise {number}, {path}")
        for what, verdict in judge(number, path):
            print(f"  {what:12} {verdict}")
            right &= verdict == "right"
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
