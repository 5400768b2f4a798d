"""Pictures that tests draw: colorful, smooth, each another one, with color that follows from the brightness."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def draw(seed: int, width: int = 40, height: int = 40) -> Image.Image:
    """Soft waves from dark blue to light orange."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 16
    waves = sum(np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-3, 3, (4, 3)))
    t = np.clip(waves / 4 + 0.5, 0, 1)[..., None]
    dark, light = np.array([20, 40, 160]), np.array([255, 190, 60])
    return Image.fromarray((dark + t * (light - dark)).astype(np.uint8))


def draw_folder(root: Path, classes: tuple[str, ...] = ("blue", "orange"), each: int = 4, **size: int) -> Path:
    """`root/CLASS/I.png`."""
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            draw(100 * k + i, **size).save(root / name / f"{i}.png")
    return root


def lock_folder(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A folder of that name cannot be listed: permissions alone do not keep root out."""
    whole = os.scandir

    def refusing(path: str | os.PathLike) -> object:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", refusing)
