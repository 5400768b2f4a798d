"""The network in the plain: forward and backward as text, without buffers, micro-batches and compiled kernels.

`nn/network.py` computes the same numbers with them. Read this first; nn/README.md draws it.
A `Trace` is what a chain of layers saw and gave on the way forward, all that its way back needs.
"""

from importlib import import_module
from typing import NamedTuple

import numpy as np

from ltbc.kernels.arrays import Array
from ltbc.nn.architecture import LayerSpec, layers
from ltbc.nn.network import Network
from ltbc.nn.resize import resize

Trace = list[tuple[LayerSpec, tuple[Array, ...], Array]]  # (layer, its inputs, its output), first layer first


class Gradients(NamedTuple):
    """What `backward` found: of every parameter by name; what meets at the forks, by where it comes from; of the
    picture `[N, H, W, 1]`."""

    parameters: dict[str, Array]
    forks: dict[str, Array]
    luminance: Array


def forward(net: Network, luminance: Array, copy: Array | None = None) -> tuple[Array, Array | None, dict[str, Trace]]:
    """(chroma `[N, H/2, W/2, C]`, logits `[N, classes]` or None, traces by chain); arguments as `Network.forward`."""
    table = layers(net.settings)
    traces: dict[str, Trace] = {}

    def run(name: str, specs: list[LayerSpec], *x: Array) -> Array:
        traces[name] = []
        for spec in specs:
            w, b = (net.parameters.views[f"{spec.name}.{kind}"] for kind in ("weight", "bias"))
            y = import_module(f"ltbc.kernels.{spec.op}").forward(*x, w, b, *spec.variant)
            traces[name].append((spec, x, y))
            x = (y,)
        return x[0]

    low = run("low", table["low"], luminance)
    mid = run("mid", table["mid"], low)
    if not net.settings.global_size:
        fused = run("fusion", table["fusion"], mid.reshape(-1, mid.shape[3]))
        return run("color", table["color"], fused.reshape(*mid.shape[:3], -1)), None, traces
    side = net.settings.global_size
    if copy is not None or luminance.shape[1:3] != (side, side):  # the same low-level layers see the copy, too
        low = run("low of the copy", table["low"], resize(luminance, side, side) if copy is None else copy)
    features = run("global", table["global"], low)
    hidden = run("first fc", table["global_fc"][:2], features.reshape(len(features), -1))
    vector = run("last fc", table["global_fc"][2:], hidden)
    logits = run("class", table["class"], hidden)
    fused = run("fusion", table["fusion"], mid, vector)
    return run("color", table["color"], fused), logits, traces


def backward(
    net: Network, traces: dict[str, Trace], dchroma: Array, dlogits: Array | None, only: str = ""
) -> Gradients:
    """The same way back, from the gradients of both losses: `forward` read from bottom to top.

    What went one way forward goes one way back; where a number went two ways, its gradient is the sum of two. only:
    "mid-level" or "global branch", to see what comes to the low-level layers along one of the two alone.
    """
    parameters = {name: np.zeros_like(view) for name, view in net.parameters.views.items()}

    def back(name: str, dy: Array) -> tuple[Array, ...]:
        return through(net, traces[name], dy, parameters)

    (dfused,) = back("color", dchroma)
    dmid, *dvector = back("fusion", dfused)
    (dlow,) = back("mid", dmid.reshape(traces["mid"][-1][2].shape))
    if dlogits is None:
        return Gradients(parameters, {}, back("low", dlow * (only != "global branch"))[0])
    (from_vector,), (from_scores,) = back("last fc", dvector[0]), back("class", dlogits)
    (dfeatures,) = back("first fc", from_vector + from_scores)  # fork: global vector and class scores
    (dcopy,) = back("global", dfeatures)
    dlow, dcopy = dlow * (only != "global branch"), dcopy * (only != "mid-level")
    forks = {"global vector": from_vector, "class scores": from_scores, "mid-level": dlow, "global branch": dcopy}
    if "low of the copy" in traces:  # no fork but one layer in two places, whose gradients add up
        back("low of the copy", dcopy)
        return Gradients(parameters, forks, back("low", dlow)[0])
    return Gradients(parameters, forks, back("low", dlow + dcopy)[0])  # fork: mid-level and global branch


def through(net: Network, trace: Trace, dy: Array, parameters: dict[str, Array]) -> tuple[Array, ...]:
    """Back through a chain: the gradients of what it read; those of its parameters are added to `parameters`."""
    dx: tuple[Array, ...] = (dy,)
    for spec, x, y in reversed(trace):
        w = net.parameters.views[f"{spec.name}.weight"]
        operation = import_module(f"ltbc.kernels.{spec.op}")
        *dx, dw, db = operation.backward(dx[0].reshape(y.shape), *x, w, y, *spec.variant)
        parameters[f"{spec.name}.weight"] += dw  # adds: layers that saw two pictures get two gradients
        parameters[f"{spec.name}.bias"] += db
    return tuple(dx)
