"""What the page does: the sessions of those who have it open, and what each event changes on it."""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from ltbc.colorize.colorizer import Colorizer
from ltbc.colorize.images import one_line
from ltbc.colorize.page import parts
from ltbc.colorize.page.uploads import Uploads
from ltbc.colorize.picture import ImageError
from ltbc.colorize.session import Choice, Photo, Session

ASLEEP = "this page was asleep for too long, and its photographs were deleted; drop them again"


class Events:
    """folder: below it lies all that open pages hold. examples: photographs to try."""

    def __init__(self, colorizer: Colorizer, folder: Path, most_pixels: int, examples: list[Path]) -> None:
        self.colorizer, self.folder, self.most_pixels, self.examples = colorizer, folder, most_pixels, examples
        self.sessions: dict[str, Session] = {}
        self.uploads = Uploads(folder)
        self.number = count(1)

    def session(self, request: gr.Request) -> Session:
        key = request.session_hash or ""
        if key not in self.sessions:
            self.sessions[key] = Session(self.colorizer, self.folder, self.most_pixels)
        return self.sessions[key]

    def leave(self, request: gr.Request) -> None:
        """The page was closed: what it held is deleted."""
        key = request.session_hash or ""
        session = self.sessions.pop(key, None)
        if session:
            session.close()
        self.uploads.forget(key)

    # events

    def add(self, request: gr.Request, event: gr.EventData, *choice: Any) -> list:
        session = self.session(request)
        problems = [line for file in event.files for line in self.take(request, file, session.add)]
        return self.shown(session, choice, problems)

    def take(self, request: gr.Request, file: dict, action: Callable[[Path], None]) -> list[str]:
        """Does it with an uploaded file, and tells what went wrong."""
        if "problem" in file:
            return [f"{file['name']}: {file['problem']}"]

        def act() -> None:
            with self.uploads.claimed(file["path"], request.session_hash or "") as path:
                action(path)

        return attempt(file["name"], act)

    def try_example(self, request: gr.Request, event: gr.EventData, *choice: Any) -> list:
        session, path = self.session(request), self.examples[event.index]
        known = [i for i, photo in enumerate(session.photos) if photo.name == path.name]
        problems = [] if known else attempt(path.name, lambda: session.add(path, copy=True))
        session.at = known[0] if known else session.at
        return self.shown(session, choice, problems)

    def turn_to(self, request: gr.Request, event: gr.EventData, *choice: Any) -> list:
        session = self.session(request)
        session.at = min(event.index, len(session.photos) - 1)
        return self.shown(session, choice, [])

    def remove(self, request: gr.Request, event: gr.EventData, *choice: Any) -> list:
        session = self.session(request)
        index = (event._data or {}).get("index", session.at)
        if index < len(session.photos):
            session.remove(index)
        return self.shown(session, choice, [])

    def hint(self, request: gr.Request, event: gr.EventData, *choice: Any) -> list:
        session = self.session(request)
        if session.photos:
            photo, act = session.photos[session.at], event.act
            if act == "add":
                return self.shown(session, choice, attempt(photo.name, partial(
                    session.hint, photo, event.x, event.y, event.color)))
            elif act == "none":
                photo.hints.clear()
            elif photo.hints:
                photo.hints.pop(-1 if act == "undo" else event.index)
        return self.shown(session, choice, [])

    def with_style(self, request: gr.Request, event: gr.EventData, *choice: Any) -> list:
        session = self.session(request)
        return self.shown(session, choice, self.take(request, event.files[0], session.choose_style))

    def without_style(self, request: gr.Request, *choice: Any) -> list:
        session = self.session(request)
        session.choose_style(None)
        return self.shown(session, choice, [])

    def show(self, request: gr.Request, *choice: Any) -> list:
        return self.shown(self.session(request), choice, [])

    def shown(self, session: Session, choice: tuple, problems: list[str]) -> list:
        """Everything on the right: the photograph in color where there is one, and what went wrong."""
        photos, value = session.photos, None
        scenes: dict[str, float] = {}
        if photos:
            photo = photos[session.at]
            try:
                after, scenes = session.show(photo, Choice(*choice))
                value = parts.shown(photo, after, described(photo))
            except ImageError as error:
                problems = [*problems, str(error)]
        strip = [(photo.name, photo.thumbnail, photo.notes) for photo in photos if len(photos) > 1]
        kept = value if value or not photos else gr.skip()
        return [
            parts.problems(problems), gr.HTML(visible=not photos), kept, parts.stripped(strip, session.at, True),
            gr.Button(visible=bool(photos)), gr.Button(visible=len(photos) > 1), *[gr.Button(visible=bool(photos))] * 2,
            parts.table([]), parts.scenes(scenes),
            gr.Button(f"Without {session.style.name}" if session.style else "", visible=session.style is not None),
        ]

    def make_one(self, request: gr.Request, *choice: Any) -> list:
        session = self.session(request)
        lines: list[str] = []

        def make(photo: Photo) -> Path:
            path, told = session.make(photo, Choice(*choice))
            lines.extend(told)
            return path

        return self.made_of_one(session, make, lines)

    def make_pair(self, request: gr.Request, *choice: Any) -> list:
        session = self.session(request)
        return self.made_of_one(session, lambda photo: session.compare(photo, Choice(*choice), as_page=False), [])

    def make_page(self, request: gr.Request, *choice: Any) -> list:
        session = self.session(request)
        return self.made_of_one(session, lambda photo: session.compare(photo, Choice(*choice), as_page=True), [])

    def made_of_one(self, session: Session, make: Callable[[Photo], Path], lines: list[str]) -> list:
        """The file to download, what went wrong, and what is told about it."""
        if not session.photos:
            return [None, parts.problems([ASLEEP]), gr.skip()]
        photo = session.photos[session.at]
        made: list[Path] = []
        problems = attempt(photo.name, lambda: made.append(make(photo)))
        if problems:
            return [None, parts.problems(problems), gr.skip()]
        told = parts.table([(photo.name, line) for line in lines])
        return [parts.fetched(made[0], next(self.number)), parts.problems([]), told]

    def make_all(self, request: gr.Request, *choice: Any) -> list:
        session = self.session(request)
        lines: list[tuple[Photo, Path | None, str]] = []
        made: list[Path] = []

        def make(photo: Photo) -> None:
            path, told = session.make(photo, Choice(*choice))
            made.append(path)
            lines.extend((photo, path, line) for line in told)

        problems = [] if session.photos else [ASLEEP]
        for photo in session.photos:
            failed = attempt(photo.name, partial(make, photo))
            lines += [(photo, None, line) for line in failed]
            problems += failed
        told = parts.table([(photo.name, line) for photo, _, line in lines])
        if not made:
            return [None, parts.problems(problems), told]
        archive = parts.fetched(session.pack(made, lines), next(self.number))
        return [archive, parts.problems(problems), told]


def described(photo: Photo) -> list[str]:
    return ["{}; {} x {}".format(photo.name, *photo.size), *photo.notes]


def attempt(name: str, action: Callable[[], Any]) -> list[str]:
    """What went wrong, for the user: a message about the file of this name, whatever it was."""
    try:
        action()
    except ImageError as error:
        return [str(error)]
    except Exception as error:  # hostile files find ways that nobody thought of
        return [f"{name}: {one_line(error)}"]
    return []
