"""Parameters in one flat buffer with named views; initialization; the optimizer; weights files."""

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from ltbc.kernels import adadelta
from ltbc.kernels.arrays import Array
from ltbc.nn.architecture import Settings, parameter_shapes

if TYPE_CHECKING:
    from ltbc.nn.network import Network

FORMAT = "let-there-be-color/1"
INITIALIZATIONS = ("he", "he-whole", "glorot", "uniform")
ALIGNMENT = 32  # elements: 64 bytes at 16 bits each


class WeightsError(ValueError):
    """A weights file that is missing, truncated, foreign or inconsistent; the message is one line for the user."""


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


class Adadelta:
    """The optimizer's state beside a network's parameters: `eg` and `ed`, flat `[K]`, as in `kernels/adadelta`."""

    def __init__(self, net: "Network", lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6) -> None:
        self.net, self.lr, self.rho, self.eps = net, lr, rho, eps
        xp = net.xp
        self.eg, self.ed = xp.zeros_like(net.parameters.flat), xp.zeros_like(net.parameters.flat)

    def step(self) -> None:
        """Updates the parameters in place from the network's gradients, and what the kernels read of them."""
        net = self.net
        low = None if net.low_precision is None else net.low_precision.flat
        adadelta.step(
            net.parameters.flat, net.gradients.flat, self.eg, self.ed, self.lr, self.rho, self.eps,
            low=low, backend=net.backend,
        )
        net.refresh(copied=True)


def save_weights(path: str | os.PathLike, parameters: Parameters, settings: Settings, dtype: Any = np.float32) -> None:
    """Writes the parameters as float32 (or float16) safetensors, beside the target first and then renamed."""
    arrays = {}
    for name, view in parameters.views.items():
        view = view if isinstance(view, np.ndarray) else view.get()
        arrays[name] = np.ascontiguousarray(view, dtype)
    write_whole(path, to_safetensors(arrays, {"format": FORMAT, **settings.metadata()}))


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file whole or not at all: beside the target, flushed to the disk, then renamed over it."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load_weights(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], Settings]:
    """Reads a weights file: arrays by name, checked against the settings that the file states.

    Raises WeightsError with one line for a file that is missing, truncated, foreign or inconsistent.
    """
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                stated = metadata.get("format", "no format")
                raise WeightsError(f"{path}: not weights of this program (it states {stated}, wanted {FORMAT})")
            settings = Settings.from_metadata(metadata)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: damaged settings in the weights file ({error})") from None
    wanted = parameter_shapes(settings)
    for name, shape in wanted.items():
        got = list(arrays[name].shape) if name in arrays else "nothing"
        if got != list(shape):
            raise WeightsError(f"{path}: {name} must be {list(shape)} at width {settings.width:g}, the file has {got}")
        if not np.isfinite(arrays[name]).all():
            raise WeightsError(f"{path}: {name} holds NaN or infinite numbers: the training that made it diverged, or "
                               "the file is damaged; take another one")
    if extra := sorted(set(arrays) - set(wanted)):
        raise WeightsError(f"{path}: holds {extra[0]}, which a network of its settings does not have")
    return arrays, settings
