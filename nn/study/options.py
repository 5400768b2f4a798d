"""What `explain` and `study` share: which network, which photograph, which scene."""

import argparse
import shlex
import warnings
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

from ltbc.nn.network import Network
from ltbc.nn.weights import RELEASED, WeightsError, load_weights

SIDE = 224  # of the picture for a network without global branch
UNTRAINED = "AN UNTRAINED NETWORK: its weights were just drawn at random, its numbers say nothing of pictures"
Kind = TypeVar("Kind", bound=Network)


def add_network(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--weights", metavar="FILE", help="a trained network (default: the one that colorize uses)")
    which.add_argument("--untrained", action="store_true", help="the same network before training, to compare")


def add_label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", metavar="CLASS", help="the photo's scene, towards which the class loss pulls: a "
                        "name or number of `ltbc classes` (default: the one that the network finds most likely)")


def load(kind: type[Kind], args: argparse.Namespace, **options: Any) -> Kind:
    """The network of --weights or --untrained, else the released one. Raises WeightsError."""
    if args.weights is None and not RELEASED.is_file():
        raise WeightsError("no weights beside the program: name a file with --weights")
    if args.untrained:
        return kind(**vars(load_weights(RELEASED)[1]), **options)
    net = kind.load(args.weights or RELEASED, **options)
    assert isinstance(net, kind)
    return net


def words(args: argparse.Namespace) -> str:
    """The options that name this photograph, network and scene, as a shell takes them."""
    named = {"photo": args.photo, "weights": args.weights, "label": args.label}
    named = {name: f"./{value}" if str(value).startswith("-") else value for name, value in named.items()}  # no option
    found = [f"--{name} {shlex.quote(value)}" for name, value in named.items() if value is not None]
    return " ".join(found + ["--untrained"] * args.untrained)


def label_of(text: str | None, classes: tuple[str, ...]) -> int | None:
    """The number of a class named by its name or number; None if none is named. Raises ValueError."""
    if text is None or text in classes:
        return None if text is None else classes.index(text)
    last = max(0, len(classes) - 1)
    if text.removeprefix("-").isdecimal():
        if not 0 <= int(text) <= last:
            raise ValueError(f"--label must lie in 0..{last}, got {text}")
        return int(text)
    alike = [name for name in classes if text.lower() in name.lower()]
    hint = f"perhaps {', '.join(alike[:3])}" if alike else "`ltbc classes` lists them"
    raise ValueError(f"--label: no class is called {text!r}; {hint}")


def read_photo(path: str, side: int) -> np.ndarray:
    """The middle square of a photograph, `[side, side, 3]` sRGB codes."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (side, side), Image.Resampling.BILINEAR))
    except Image.DecompressionBombError:
        reason = f"more than {2e-6 * (Image.MAX_IMAGE_PIXELS or 0):.0f} megapixels; make it smaller first"
    except Image.UnidentifiedImageError:
        reason = "not a picture that can be read (an empty file, or of a kind that Pillow does not know)"
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        reason = getattr(error, "strerror", None) or f"damaged or cut off ({error})"
    raise ValueError(f"{path}: {' '.join(reason.split())}")


def list_classes(argv: list[str]) -> None:
    """`ltbc classes`: number and name of every scene class of a network."""
    parser = argparse.ArgumentParser(prog="ltbc classes", description=list_classes.__doc__)
    add_network(parser)
    try:
        net = load(Network, parser.parse_args(argv))
    except WeightsError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    for number, name in enumerate(net.settings.classes):
        print(f"{number:4} {name}")
