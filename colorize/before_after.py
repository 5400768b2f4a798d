"""A photograph before and after, in one file to pass on: side by side, or a page of HTML with a slider between them."""

import base64
import html
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from ltbc.colorize import images
from ltbc.colorize.metadata import STATEMENT, Metadata
from ltbc.colorize.picture import Picture
from ltbc.nn.weights import write_whole

HERE = Path(__file__).parent
GAP = 1 / 60  # of the width, white between the two
QUALITY = 90  # of the pictures within the page


def write_side_by_side(path: Path, before: np.ndarray, after: np.ndarray, metadata: Metadata) -> Path:
    """Writes both, `[H, W, 3]` of uint8, as one picture with the photograph's metadata; returns the path."""
    height, width = before.shape[:2]
    gap = np.full((height, max(1, round(width * GAP)), 3), 255, np.uint8)
    pixels = np.concatenate([before, gap, after], 1)
    images.write(path, pixels, Picture(pixels[..., 0] / np.float32(255), None, pixels.dtype, 255, metadata))
    return path


def write_page(path: Path, name: str, before: np.ndarray, after: np.ndarray) -> Path:
    """Writes one file of HTML that needs no other and asks for none: the slider of the page. Returns the path."""
    height, width = before.shape[:2]
    page = Template((HERE / "before_after.html").read_text()).substitute(
        name=html.escape(name), width=width, height=height, statement=html.escape(STATEMENT),
        style=(HERE / "page" / "compare.css").read_text(), script=(HERE / "page" / "compare.js").read_text(),
        before=inlined(before), after=inlined(after),
    )
    write_whole(path, page.encode())
    return path


def inlined(pixels: np.ndarray) -> str:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
