"""Mutated picture files through the whole program: each gives a right picture or one line, in bounded time."""

import signal
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ltbc.colorize import Colorizer, deep, files, images, memory
from ltbc.colorize.paths import Job
from ltbc.colorize.picture import ImageError
from tests.tools.drawn import draw
from tests.tools.picture_files import grey, network, rich_exif

SECONDS = 20  # for one file; usually some milliseconds
COLORIZER = Colorizer(network(), "reference", max_memory=memory.resident() + (1 << 30))
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def seeds():
    """{suffix and kind: bytes of a whole file}"""
    made = {}
    image, exif = draw(0, 48, 32), rich_exif()
    for name, mode, options in (
        ("rgb.jpg", "RGB", {"exif": exif}), ("progressive.jpg", "L", {"progressive": True}), ("ink.jpg", "CMYK", {}),
        ("rgba.png", "RGBA", {"exif": exif}), ("palette.png", "P", {}), ("bit.png", "1", {}), ("grey.webp", "L", {}),
        ("rgba.webp", "RGBA", {"lossless": True}), ("rgb.bmp", "RGB", {}), ("palette.gif", "P", {}),
        ("lzw.tif", "RGB", {"compression": "tiff_lzw"}), ("jpeg.tif", "RGB", {"compression": "jpeg"}),
    ):
        file = BytesIO()
        image.convert(mode).save(file, images.WRITE.get(name[name.index(".") :], "GIF"), **options)
        made[name] = file.getvalue()
    file = BytesIO()
    Image.fromarray(grey(np.uint16, 32, 48)).save(file, "PNG")
    made["deep.png"] = file.getvalue()
    codes = np.asarray(image)
    for name, pixels in (("deep.tif", codes.astype(np.uint16) * 257), ("float.tif", codes / np.float32(255))):
        file = BytesIO()
        tifffile.imwrite(file, pixels, photometric="rgb", compression=8)
        made[name] = file.getvalue()
    return made


SEEDS = seeds()


@st.composite
def mutated(draw_one, whole):
    """The file with bytes changed, numbers set to extremes, pieces cut out, doubled, or taken from another file."""
    data = bytearray(whole)
    for _ in range(draw_one(st.integers(1, 4))):
        at = draw_one(st.integers(0, min(len(data), 300)) | st.integers(0, len(data)))  # headers are at the front
        length = draw_one(st.integers(1, 40))
        kind = draw_one(st.sampled_from(("byte", "number", "cut", "end", "double", "other")))
        if kind == "byte":
            data[at : at + 1] = bytes([draw_one(st.integers(0, 255))])
        elif kind == "number":
            width, order = draw_one(st.sampled_from((2, 4))), draw_one(st.sampled_from(("big", "little")))
            number = draw_one(st.sampled_from(NUMBERS)) & (256**width - 1)
            data[at : at + width] = number.to_bytes(width, order)
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "end":
            del data[at:]
        elif kind == "double":
            data[at:at] = data[at : at + length]
        else:
            other = SEEDS[draw_one(st.sampled_from(sorted(SEEDS)))]
            data[at : at + length] = other[at : at + length]
    return bytes(data)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore:Image size")
@pytest.mark.skipif(sys.platform == "win32", reason="needs signal.alarm")
@pytest.mark.parametrize("name", SEEDS)
@given(data=st.data())
def test_a_mutated_file_gives_a_right_picture_or_one_line(name, data):
    content = data.draw(mutated(SEEDS[name]))
    signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(SECONDS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder, f"in{name[name.index('.') :]}"), content)
    finally:
        signal.alarm(0)


def too_slow(*_):
    raise AssertionError(f"still at it after {SECONDS} s")


def check(source, content):
    source.write_bytes(content)
    target = source.with_name("out.png")
    try:
        lines = files.color_file(Job(source, target), COLORIZER, files.Wishes())
    except ImageError as error:
        assert str(error).startswith(f"{source}: ") and "\n" not in str(error) and not target.exists()
        assert len(str(error)) < 500
        return
    picture, written = images.read(source), images.read(target)
    height, width = picture.luminance.shape
    assert lines[0].startswith(f"{source} -> {target}: {width} x {height}")
    white = 65535 if written.white == 65535 else 255
    assert np.abs(written.luminance - picture.luminance).max() * white < 0.7, "luminance is kept"
    content = target.read_bytes()
    saved = deep.read_png(content).colors if deep.is_deep_png(content) else Image.open(target).convert("RGB")
    colored = COLORIZER.colorize(picture, *images.depth(target, picture)).pixels
    assert np.array_equal(np.asarray(saved), colored), "and the colors are the network's"


@pytest.mark.parametrize("name", SEEDS)
def test_the_whole_files_are_colored(name, tmp_path):
    source = tmp_path / f"in{name[name.index('.') :]}"
    check(source, SEEDS[name])
    assert (tmp_path / "out.png").exists()
