"""How much of the gradient comes from which loss: backward passes of `ltbc.nn.plain` with one loss at a time."""

from typing import NamedTuple

import numpy as np

from ltbc.kernels import chroma_loss, class_loss, color
from ltbc.nn.network import ALPHA, Network
from ltbc.nn.plain import Gradients, backward, forward

PARTS = ("low", "mid", "fusion", "color", "global", "global_fc.0", "global_fc.1", "global_fc.2", "class")


class Contributions(NamedTuple):
    """The gradients of chroma_loss alone, and of class_loss / 300 alone; both losses, before that division."""

    chroma: Gradients
    classes: Gradients
    losses: tuple[float, float]


def contributions(net: Network, pixels: np.ndarray, label: int, only: str = "") -> Contributions:
    """Of a photograph `[H, W, 3]`, sRGB codes, sides multiples of 8. only: see `ltbc.nn.plain.backward`."""
    luminance, target = color.encode(pixels[None], net.settings.color_space, dtype=net.parameters.flat.dtype)
    chroma, logits, traces = forward(net, luminance)
    loss, dchroma = chroma_loss.value_and_gradient(chroma, target)
    of_classes, dlogits = class_loss.value_and_gradient(logits, np.array([label]), ALPHA, net.settings.class_loss)
    alone = (backward(net, traces, dchroma, 0 * dlogits, only), backward(net, traces, 0 * dchroma, dlogits, only))
    return Contributions(*alone, (float(loss), float(of_classes)))


def size(x: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt((np.asarray(x, np.float64) ** 2).mean()))


def size_of_part(gradients: Gradients, part: str) -> float:
    """Root mean square of the gradients of all weights of a part of the network."""
    weights = [g.ravel() for name, g in gradients.parameters.items()
               if name.startswith(part) and name.endswith("weight")]
    return size(np.concatenate(weights))
