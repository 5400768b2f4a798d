"""Parameters in one flat buffer with named views, and how they begin."""

from types import ModuleType
from typing import Any

import numpy as np

from ltbc.kernels.arrays import Array
from ltbc.nn.architecture import Settings, parameter_shapes

INITIALIZATIONS = ("he", "he-whole", "glorot", "uniform")
ALIGNMENT = 32  # elements: 64 bytes at 16 bits each


class Parameters:
    """All parameters (or their gradients) of a network in one flat buffer.

    flat: `[K]`. views: name -> view of its shape, in the order of the buffer, e.g. `views["low.0.weight"]`. Views begin
    at multiples of ALIGNMENT elements, as vector loads and tensor descriptors want it; between them lie zeros.
    """

    def __init__(self, settings: Settings, dtype: Any = np.float32, xp: ModuleType = np) -> None:
        shapes = parameter_shapes(settings)
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        starts = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)]).tolist()
        self.flat = xp.zeros(starts[-1], dtype)
        self.views: dict[str, Array] = {
            name: self.flat[start : start + size].reshape(shape)
            for (name, shape), start, size in zip(shapes.items(), starts, sizes)
        }
        self.starts = dict(zip(shapes, starts))

    def spans(self) -> dict[str, tuple[int, int]]:
        """(first, last + 1) element of each layer's parameters in `flat`, zeros behind them included."""
        layers = [name.removesuffix(".weight") for name in self.starts if name.endswith(".weight")]
        starts = [self.starts[f"{layer}.weight"] for layer in layers]
        return dict(zip(layers, zip(starts, (*starts[1:], self.flat.size))))


def initialize(parameters: Parameters, settings: Settings, seed: int, kind: str = "he") -> None:
    """Draws the weights. kind, one of INITIALIZATIONS, compared in `train/EXPERIMENTS.md`:

    he: normal, variance 2 / inputs before a ReLU, 1 / inputs else (He and others, 2015); no bias. The last layers
    (chroma, logits) start at a tenth of that: the first prediction is nearly grey, every class nearly as likely as the
    others. he-whole: without that tenth. glorot: normal, variance 2 / (inputs + outputs) (Glorot and Bengio, 2010).
    uniform: weights and biases within 1 / sqrt(inputs), as PyTorch's layers are made.
    """
    if kind not in INITIALIZATIONS:
        raise ValueError(f"init must be one of {', '.join(INITIALIZATIONS)}, got {kind!r}")
    rng = np.random.default_rng(seed)
    xp = np if isinstance(parameters.flat, np.ndarray) else __import__("cupy")
    inputs = 1
    for name, view in parameters.views.items():  # each layer's weight, then its bias
        layer, _, part = name.rpartition(".")
        if part == "weight":
            inputs = int(np.prod(view.shape[:-1]))
        if kind == "uniform":
            view[...] = xp.asarray(rng.uniform(-1, 1, view.shape).astype(np.float32) / np.float32(np.sqrt(inputs)))
        elif part == "weight":
            last = layer in ("color.4", "class.1")
            gain = 1 if last or (layer == "fusion" and settings.fusion == "sigmoid") else 2
            std = np.sqrt(2 / (inputs + view.shape[-1]) if kind == "glorot" else gain / inputs)
            std *= 0.1 if last and kind == "he" else 1
            view[...] = xp.asarray(rng.standard_normal(view.shape, np.float32) * np.float32(std))
