"""`ltbc explain output ROW COLUMN`: which parts of the picture the color of one pixel of the result follows from.

Of a* and b* at that pixel, the derivative by the luminance of every pixel of the picture, backward through the whole
network by `ltbc.nn.plain`: once along the mid-level features, once along the global vector. Added up by squares of the
picture, the largest are told.
"""

import argparse

import numpy as np

from ltbc.kernels import color
from ltbc.nn.network import Network
from ltbc.nn.plain import backward, forward
from ltbc.nn.study.options import UNTRAINED

SQUARES = 8  # a side
NAMES = {"lab": ("a*", "b*"), "yuv": ("U", "V"), "rgb": ("red", "green", "blue")}


def sensitivity(net: Network, pixels: np.ndarray, row: int, column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(colors `[C]`, their derivatives `[C, H, W]` by the luminance along the local way, along the global one)."""
    luminance, _ = color.encode(pixels[None], net.settings.color_space)
    luminance = luminance.astype(net.parameters.flat.dtype)
    chroma, logits, traces = forward(net, luminance)
    ways: list[list[np.ndarray]] = [[], []]
    dlogits = None if logits is None else np.zeros_like(logits)
    for channel in range(chroma.shape[3]):
        dchroma = np.zeros_like(chroma)
        dchroma[0, row, column, channel] = 1
        for found, way in zip(ways, ("mid-level", "global branch")):
            found.append(backward(net, traces, dchroma, dlogits, only=way).luminance)
    local, everywhere = (np.concatenate([d[..., 0] for d in way]) for way in ways)
    return chroma[0, row, column], local, everywhere


def print_output_pixel(net: Network, pixels: np.ndarray, args: argparse.Namespace) -> int:
    """What `sensitivity` finds, by squares of the picture; 0."""
    half = pixels.shape[0] // 2
    if len(args.place) != 2 or not all(0 <= at < half for at in args.place):
        raise ValueError(f"output: name ROW and COLUMN in 0..{half - 1}, got {' '.join(map(str, args.place))}")
    values, local, everywhere = sensitivity(net, pixels, *args.place)
    if args.untrained:
        print(f"{UNTRAINED}\n")
    names = NAMES[net.settings.color_space]
    at = ", ".join(f"{name} = {value:.4f}" for name, value in zip(names, values))
    print(f"output [row {args.place[0]}, column {args.place[1]}] of {half}x{half}, {args.photo}: {at} (of 0 to 1)\n")
    for name, near, far in zip(names, local, everywhere):
        both = [np.abs(way).sum() for way in (near, far)]
        print(f"    d {name} / d luminance, summed sizes: {both[0]:.4g} along the mid-level features, {both[1]:.4g} "
              "along the global vector")
        print_squares(near + far, args.terms)
    return 0


def print_squares(derivative: np.ndarray, count: int) -> None:
    """The squares of the picture with the largest derivatives, and all of them as a small map."""
    side = derivative.shape[0]
    edges = np.linspace(0, side, SQUARES + 1).astype(int)
    sizes = np.add.reduceat(np.add.reduceat(np.abs(derivative), edges[:-1], 0), edges[:-1], 1)
    total = sizes.sum() or 1
    for k in np.argsort(-sizes, None, kind="stable")[:count]:
        i, j = divmod(int(k), SQUARES)
        part = derivative[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        print(f"        rows {edges[i]:3} to {edges[i + 1] - 1:3}, columns {edges[j]:3} to {edges[j + 1] - 1:3}: "
              f"{sizes[i, j] / total:6.1%} of it, sum {part.sum():+.3g}")
    shades = " .:-=+*#%@"
    for line in sizes / (sizes.max() or 1):
        print("        " + "".join(2 * shades[int(round(9 * v))] for v in line))
    print()
