"""Weights files: safetensors with the network's settings as metadata."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from ltbc.nn.architecture import Settings, parameter_shapes
from ltbc.nn.parameters import Parameters

FORMAT = "let-there-be-color/1"
RELEASED = Path(__file__).parents[1] / "colorize" / "weights.safetensors"  # the file that comes with the program


class WeightsError(ValueError):
    """A weights file that is missing, truncated, foreign or inconsistent; the message is one line for the user."""


def save_weights(path: str | os.PathLike, parameters: Parameters, settings: Settings, dtype: Any = np.float32) -> None:
    """Writes the parameters as float32 (or float16) safetensors, beside the target first and then renamed."""
    write_whole(path, weights_bytes(parameters, settings, dtype))


def weights_bytes(parameters: Parameters, settings: Settings, dtype: Any = np.float32) -> bytes:
    """What stands in a weights file: the same bytes for the same weights."""
    arrays = {}
    for name, view in parameters.views.items():
        view = view if isinstance(view, np.ndarray) else view.get()
        arrays[name] = np.ascontiguousarray(view, dtype)
    return safetensors_bytes(arrays, {"format": FORMAT, **settings.metadata()})


def safetensors_bytes(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """A safetensors file whose header is in order: the library writes metadata in another one each time."""
    data = to_safetensors(arrays, metadata)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that the arrays stay aligned
    return len(header).to_bytes(8, "little") + header + data[end:]


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file whole or not at all: beside the target, flushed to the disk, then renamed over it."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A file to be written, which replaces the target once the block ends; if that raises, nothing is left of it."""
    path = Path(path)
    name = os.fsdecode(os.fsencode(path.name)[:200])  # a file's name has 255 bytes at most
    beside = path.with_name(f".{name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def load_weights(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], Settings]:
    """Reads a weights file: arrays by name, checked against the settings that the file states.

    Raises WeightsError with one line for a file that is missing, truncated, foreign or inconsistent.
    """
    try:
        if not Path(path).is_file():
            raise WeightsError(f"{path}: no such weights file")
        with open(path, "rb"):
            pass
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
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
