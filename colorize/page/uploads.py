"""Files as Gradio keeps them: the same content under the same name at one path, whoever sent it and however often."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ltbc.colorize.picture import ImageError


class Uploads:
    """Of all open pages, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, dict[Path, int]] = {}  # by page: uploaded file, its time

    @contextmanager
    def claimed(self, uploaded: str, page: str) -> Iterator[Path]:
        """A file of its own with this content, in the name of a page. Raises ImageError for what is no upload."""
        path = Path(uploaded).resolve()
        if path.parent.parent != self.folder:
            raise ImageError(f"{path.name}: was not sent to this page")
        with tempfile.TemporaryDirectory(prefix="taken-", dir=self.folder) as place:
            own = Path(place) / path.name
            try:
                self.held.setdefault(page, {})[path] = path.stat().st_mtime_ns
                try:
                    os.link(path, own)
                except OSError:  # a file system without links
                    shutil.copyfile(path, own)
            except FileNotFoundError:
                raise ImageError(f"{path.name}: is gone; drop it again") from None
            yield own

    def forget(self, page: str) -> None:
        """Deletes what only this page, which was closed, had sent; not what somebody has just sent again."""
        mine = self.held.pop(page, {})
        others = {path for held in self.held.values() for path in held}
        for path, time in mine.items():
            if path not in others and path.exists() and path.stat().st_mtime_ns == time:
                path.unlink()
