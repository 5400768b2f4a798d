"""What one open page holds: its photographs in a folder of their own, their colors on the screen, the files to take."""

import csv
import io
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ltbc.colorize import before_after, files, images, join
from ltbc.colorize.colorizer import Colorizer, shrink, tinted
from ltbc.colorize.hints import Hint, checked
from ltbc.colorize.paths import Job
from ltbc.colorize.picture import ImageError, Picture

SHOWN, THUMBNAIL = 1280, 240  # pixels: longest side of what the page shows
SHARED = 2400  # pixels: longest side of a photograph beside its grey one
QUALITY = 90  # of the pictures shown
ENDINGS = {"PNG": ".png", "TIFF": ".tif", "JPEG": ".jpg"}  # of the files to take, by their format
TABLE = "notes.csv"


class Choice(NamedTuple):
    """The settings on the page. render_size: None for the colorizer's own. quality: of a JPEG."""

    saturation: float = 1
    render_size: int | str | None = None
    blend: float = 1
    kind: str = "PNG"
    quality: int = images.QUALITY


@dataclass
class Photo:
    """A photograph on the page. grey: its codes `[h, w]` at the shown size. size: width and height of the file."""

    source: Path
    thumbnail: Path
    before: Path
    grey: np.ndarray
    cover: np.ndarray | None
    size: tuple[int, int]
    notes: list[str]
    chroma: tuple[tuple, join.Chroma, np.ndarray | None] | None = None  # what it was made with, and the prediction
    shown: int = 0
    hints: list[Hint] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.source.name


class Session:
    """Files of one page, below `folder`; of one photograph at a time something is in memory at full size.

    Methods raise ImageError with one line for the user, without the folder's name. `close` waits for what runs. at:
    which of the photographs is the one on the page.
    """

    def __init__(self, colorizer: Colorizer, folder: Path, most_pixels: int) -> None:
        self.colorizer, self.most_pixels = colorizer, most_pixels
        self.folder = Path(tempfile.mkdtemp(prefix="page-", dir=folder))
        self.photos: list[Photo] = []
        self.at = 0
        self.style: Path | None = None
        self.taken = 0
        self.busy = threading.RLock()

    def close(self) -> None:
        with self.busy:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.photos, self.style = [], None

    def take(self, uploaded: str | Path, copy: bool = False) -> Path:
        """The file, moved into a folder of its own and checked by its header."""
        self.taken += 1
        place = self.folder / str(self.taken)
        place.mkdir()
        source = place / Path(uploaded).name
        (shutil.copyfile if copy else shutil.move)(uploaded, source)
        width, height = images.size(source)
        if width * height > self.most_pixels:
            shutil.rmtree(place)
            raise ImageError(f"{source.name}: {width} x {height} pixels, more than the {self.most_pixels / 1e6:g} "
                             "megapixels that this page takes (--max-megapixels)")
        return source

    def add(self, uploaded: str | Path, copy: bool = False) -> None:
        """One more photograph, which is then the one on the page."""
        with self.busy, told(Path(uploaded)):
            source = self.take(uploaded, copy)
            try:
                picture = self.read(source)
            except ImageError:
                shutil.rmtree(source.parent)
                raise
            height, width = picture.luminance.shape
            grey = shrink(picture.luminance, SHOWN)
            cover = None if picture.alpha is None else shrink(picture.alpha, SHOWN)
            pixels = covered(np.rint(grey * 255).astype(np.uint8)[..., None].repeat(3, 2), cover)
            before, thumbnail = source.parent / "before.webp", source.parent / "thumbnail.webp"
            Image.fromarray(pixels).save(before, quality=QUALITY)
            small = Image.fromarray(pixels)
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            small.save(thumbnail, quality=QUALITY)
            self.photos.append(Photo(source, thumbnail, before, grey, cover, (width, height), picture.notes))
            self.at = len(self.photos) - 1

    def remove(self, index: int) -> None:
        """Takes a photograph from the page; the one shown stays, or the next takes its place."""
        with self.busy:
            photo = self.photos.pop(index)
            shutil.rmtree(photo.source.parent, ignore_errors=True)
            self.at = max(0, min(self.at - (index < self.at), len(self.photos) - 1))

    def hint(self, photo: Photo, x: float, y: float, color: str) -> None:
        """One more color "#rrggbb", at a place in shares of the photograph's width and height."""
        width, height = photo.size
        place = min(int(x * width), width - 1), min(int(y * height), height - 1)
        photo.hints += checked([(*place, color)], height, width)

    def choose_style(self, uploaded: str | Path | None) -> None:
        with self.busy, told(Path(uploaded or "")):
            self.style = None
            if uploaded is not None:
                source = self.take(uploaded)
                self.read(source)
                self.style = source

    def read(self, source: Path) -> Picture:
        with told(source):
            files.check_memory(source, self.colorizer)
            return images.read(source)

    def colorizer_at(self, choice: Choice) -> Colorizer:
        return self.colorizer.at(choice.render_size) if choice.render_size else self.colorizer

    def show(self, photo: Photo, choice: Choice) -> tuple[Path, dict[str, float]]:
        """(the colored picture as the page shows it, probabilities by scene)."""
        with self.busy, told(photo.source):
            pixels, probabilities = self.painted(photo, choice, photo.grey)
            photo.shown += 1  # a new name, or the browser shows the old picture
            after = photo.source.parent / f"after-{photo.shown}.webp"
            (photo.source.parent / f"after-{photo.shown - 2}.webp").unlink(missing_ok=True)
            Image.fromarray(covered(pixels, photo.cover)).save(after, quality=QUALITY)
            if probabilities is None:
                return after, {}
            return after, dict(self.colorizer.scenes(probabilities, len(probabilities)))

    def painted(self, photo: Photo, choice: Choice, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(the photograph in color, 8 bits, at the size of these grey codes of it; the network's probabilities)."""
        with self.busy:
            key = choice.render_size, self.style, choice.blend if self.style else 1
            if photo.chroma is None or photo.chroma[0] != key:
                style = self.read(self.style).luminance if self.style else None
                luminance = self.read(photo.source).luminance
                photo.chroma = key, *self.colorizer_at(choice).predict(luminance, style, choice.blend)
            _, chroma, probabilities = photo.chroma
            chroma = tinted(chroma, grey, photo.size[::-1], choice.saturation, photo.hints)
            return join.join(grey, chroma, np.dtype(np.uint8), 255)[0], probabilities

    def make(self, photo: Photo, choice: Choice) -> tuple[Path, list[str]]:
        """(the photograph in color as a file of the chosen format, what is told of it)."""
        with self.busy, told(photo.source):
            target = photo.source.parent / "colored" / f"{photo.source.stem}-color{ENDINGS[choice.kind]}"
            wishes = self.wishes(photo, choice)
            lines = files.color_file(Job(photo.source, target), self.colorizer_at(choice), wishes)
            return target, [line.removeprefix(f"{photo.source} -> {target}: ").strip() for line in lines]

    def wishes(self, photo: Photo, choice: Choice) -> files.Wishes:
        style, name = (self.read(self.style), self.style.name) if self.style else (None, "")
        return files.Wishes(style, choice.saturation, choice.blend, hints=photo.hints, quality=choice.quality,
                            style_name=name)

    def compare(self, photo: Photo, choice: Choice, as_page: bool) -> Path:
        """Grey and color in one file to show: side by side as PNG, or as a page of HTML with a slider."""
        with self.busy, told(photo.source):
            picture = self.read(photo.source)
            grey = shrink(picture.luminance, SHARED)
            cover = None if picture.alpha is None else shrink(picture.alpha, SHARED)
            codes = np.rint(grey * 255).astype(np.uint8)[..., None].repeat(3, 2)
            pair = covered(codes, cover), covered(self.painted(photo, choice, grey)[0], cover)
            stem = photo.source.parent / "colored" / f"{photo.source.stem}-before-after"
            stem.parent.mkdir(exist_ok=True)
            if as_page:
                return before_after.write_page(stem.with_name(f"{stem.name}.html"), photo.name, *pair)
            picture.metadata.made = files.recipe(self.colorizer_at(choice), self.wishes(photo, choice))
            return before_after.write_side_by_side(stem.with_name(f"{stem.name}.png"), *pair, picture.metadata)

    def pack(self, made: list[Path], lines: Sequence[tuple[Photo, Path | None, str]] = ()) -> Path:
        """One archive of these files; those of the same name are numbered. lines: photograph, file made of it or None,
        what is told; they become a table in the archive."""
        with self.busy:
            target = self.folder / "colored.zip"
            names: dict[Path | None, str] = {None: ""}
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
                for path in made:
                    name, number = path.name, 1
                    while name in names.values():
                        number += 1
                        name = f"{path.stem}-{number}{path.suffix}"
                    names[path] = name
                    archive.write(path, name)
                if lines:
                    archive.writestr(TABLE, table([(photo.name, names[path], line) for photo, path, line in lines]))
            return target


def table(rows: list[tuple[str, str, str]]) -> bytes:
    """A file that spreadsheets open."""
    file = io.StringIO()
    csv.writer(file).writerows([("photograph", "file", "note"), *rows])
    return file.getvalue().encode("utf-8-sig")


@contextmanager
def told(source: Path) -> Iterator[None]:
    """Errors name the file as the user knows it, and running out of memory is one of them."""
    try:
        yield
    except MemoryError as error:
        raise ImageError(f"{source.name}: not enough memory ({images.one_line(error)})") from None
    except ImageError as error:
        raise ImageError(str(error).replace(f"{source.parent}/", "")) from None
    except OSError as error:
        raise ImageError(f"{source.name}: {error.strerror or error}") from None


def covered(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """8-bit pixels on white paper."""
    if alpha is None:
        return pixels
    return np.rint(255 - alpha[..., None] * (255 - pixels.astype(np.float32))).astype(np.uint8)
