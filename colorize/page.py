"""The page of `ltbc serve`: what stands on it and what its parts do. Only this file imports gradio.

The work itself is in `ltbc.colorize.session`. One photograph at a time is in work, whoever's it is, so that the limit
of memory holds for all open pages together.
"""

import html
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ltbc.colorize.colorizer import Colorizer
from ltbc.colorize.images import READ, WRITE
from ltbc.colorize.parameters import FULL
from ltbc.colorize.picture import ImageError
from ltbc.colorize.session import THUMBNAIL, Choice, Session

EXAMPLES = Path(__file__).parent.parent / "train" / "photographs" / "held_out"
KINDS = sorted(READ)
INTRODUCTION = """# Let there be color
Drop black-and-white photographs. They stay on this machine, and are deleted when you close the page."""
EMPTY = "<div id='empty'>Your photographs appear here, grey on the left and in color on the right</div>"
ASLEEP = "this page was asleep for too long, and its photographs were deleted; drop them again"
FETCH = """(file) => { if (file) {
  const link = document.createElement("a");
  link.href = file.url; link.download = file.orig_name; link.click(); } }"""
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1, "api_visibility": "private"}
QUICK: dict[str, Any] = {"api_visibility": "private"}


def build(colorizer: Colorizer, folder: Path, megapixels: int) -> gr.Blocks:
    """The page. folder: below it lies all that open pages hold."""
    with gr.Blocks(title="Let there be color", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        Page(blocks, colorizer, folder, megapixels)
    return blocks


def look() -> dict[str, Any]:
    """How it looks: with the fonts that the machine has."""
    plain, mono = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    theme = gr.themes.Soft(primary_hue="teal", neutral_hue="stone", font=plain, font_mono=mono)
    return {"theme": theme, "css_paths": Path(__file__).parent / "page.css"}


class Page:
    """The parts of the page, and the sessions of those who have it open."""

    def __init__(self, blocks: gr.Blocks, colorizer: Colorizer, folder: Path, megapixels: int) -> None:
        self.colorizer, self.folder, self.most_pixels = colorizer, folder, megapixels * 1_000_000
        self.sessions: dict[str, Session] = {}
        self.scenic = bool(colorizer.settings.global_size)
        self.examples = sorted(EXAMPLES.glob("*/*.jpg"))
        gr.Markdown(INTRODUCTION, elem_id="head")
        self.drop = gr.File(show_label=False, file_count="multiple", file_types=KINDS, height=140, elem_id="drop")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.lay_out_settings()
            with gr.Column(scale=5, min_width=320, elem_id="result"):
                self.lay_out_result()
        self.connect()
        blocks.unload(self.leave)

    def lay_out_settings(self) -> None:
        if self.examples:
            small = thumbnails(self.examples, self.folder / "examples")
            gr.Markdown("Or try one of these", elem_classes="part")
            self.tried = gr.Gallery(small, show_label=False, columns=4, height="auto", object_fit="cover",
                                    allow_preview=False, interactive=False, buttons=[], elem_id="examples")
        self.saturation = gr.Slider(0, 2, 1, step=0.05, label="Saturation", elem_id="saturation", buttons=[])
        own = self.colorizer.render_size or 0
        sizes = [(str(n), n) for n in (own // 2, own, 2 * own)] + [("full size", FULL)]
        self.render = gr.Radio(sizes, value=own, label="Render size", elem_id="render",
                               info="pixels the network sees: few for broad colors, many for details")
        with gr.Accordion("Style of another photograph", open=False, visible=self.scenic, elem_id="style-part"):
            self.style = gr.File(label="Its global features replace the picture's own", file_types=KINDS, height=120,
                                 elem_id="style")
            self.blend = gr.Slider(0, 1, 1, step=0.05, label="Blend", elem_id="blend", buttons=[])

    def lay_out_result(self) -> None:
        self.problems = gr.HTML(visible=False, elem_id="told")
        self.empty = gr.HTML(EMPTY)
        self.slider = gr.ImageSlider(show_label=False, interactive=False, visible=False, max_height=620,
                                     buttons=["fullscreen"], elem_id="slider")
        self.caption = gr.Markdown(visible=False, elem_id="caption")
        self.strip = gr.Gallery(visible=False, show_label=False, columns=6, height="auto", object_fit="cover",
                                allow_preview=False, interactive=False, buttons=[], elem_id="photos")
        with gr.Row():
            self.one = gr.Button("Download", variant="primary", visible=False, elem_id="one")
            self.all = gr.Button("Download all as ZIP", visible=False, elem_id="all")
        self.scenes = gr.Label(num_top_classes=5, label="What the network sees", visible=False, elem_id="scenes")
        self.file = gr.File(visible="hidden", elem_id="file")

    def connect(self) -> None:
        """What happens when."""
        choice = [self.saturation, self.render, self.blend]
        shown = [self.problems, self.empty, self.slider, self.caption, self.strip, self.one, self.all, self.scenes]
        self.drop.upload(self.add, [self.drop, *choice], [self.drop, *shown], **ONE_AT_A_TIME)
        if self.examples:
            self.tried.select(self.try_example, choice, shown, **ONE_AT_A_TIME)
        self.strip.select(self.turn_to, choice, shown, **ONE_AT_A_TIME)
        for event in (self.saturation.release, self.render.change, self.blend.release):
            event(self.show, choice, shown, trigger_mode="always_last", show_progress="minimal", **ONE_AT_A_TIME)
        self.style.upload(self.with_style, [self.style, *choice], shown, **ONE_AT_A_TIME)
        self.style.clear(self.without_style, choice, shown, **ONE_AT_A_TIME)
        for button, make in ((self.one, self.make_one), (self.all, self.make_all)):
            made = button.click(make, choice, [self.file, self.problems, self.caption], **ONE_AT_A_TIME)
            made.then(None, self.file, js=FETCH, **QUICK)

    def session(self, request: gr.Request) -> Session:
        key = request.session_hash or ""
        if key not in self.sessions:
            self.sessions[key] = Session(self.colorizer, self.folder, self.most_pixels)
        return self.sessions[key]

    def leave(self, request: gr.Request) -> None:
        """The page was closed: what it held is deleted."""
        session = self.sessions.pop(request.session_hash or "", None)
        if session:
            session.close()

    # events

    def add(self, request: gr.Request, uploaded: list[str] | None, *choice: Any) -> list:
        session, problems = self.session(request), []
        for path in uploaded or []:
            problems += attempt(session.add, path)
        return [None, *self.shown(session, choice, problems)]

    def try_example(self, request: gr.Request, chosen: gr.SelectData, *choice: Any) -> list:
        session, path = self.session(request), self.examples[chosen.index]
        known = [i for i, photo in enumerate(session.photos) if photo.name == path.name]
        problems = [] if known else attempt(session.add, path, True)
        session.at = known[0] if known else session.at
        return self.shown(session, choice, problems)

    def turn_to(self, request: gr.Request, chosen: gr.SelectData, *choice: Any) -> list:
        session = self.session(request)
        session.at = chosen.index
        return self.shown(session, choice, [])

    def with_style(self, request: gr.Request, uploaded: str, *choice: Any) -> list:
        session = self.session(request)
        return self.shown(session, choice, attempt(session.choose_style, uploaded))

    def without_style(self, request: gr.Request, *choice: Any) -> list:
        session = self.session(request)
        session.choose_style(None)
        return self.shown(session, choice, [])

    def show(self, request: gr.Request, *choice: Any) -> list:
        return self.shown(self.session(request), choice, [])

    def shown(self, session: Session, choice: tuple, problems: list[str]) -> list:
        """Everything on the right: the photograph in color where there is one, and what went wrong."""
        photos, pair = session.photos, None
        scenes: dict[str, float] = {}
        if photos:
            photo = photos[min(session.at, len(photos) - 1)]
            try:
                after, scenes = session.show(photo, wanted(choice))
                pair = str(photo.before), str(after)
            except ImageError as error:
                problems = [*problems, str(error)]
        if not pair:
            return [told(problems), gr.HTML(visible=not photos), *[gr.skip()] * 6]
        return [
            told(problems), gr.HTML(visible=False), gr.ImageSlider(pair, visible=True),
            gr.Markdown(caption(photo.name, "{} x {}".format(*photo.size), *photo.notes), visible=True),
            gr.Gallery([str(p.thumbnail) for p in photos], visible=len(photos) > 1, selected_index=session.at),
            gr.Button(f"Download {ending(photo.source)}", visible=True), gr.Button(visible=len(photos) > 1),
            gr.Label({name.replace("_", " "): p for name, p in scenes.items()} or None, visible=bool(scenes)),
        ]

    def make_one(self, request: gr.Request, *choice: Any) -> list:
        return self.made(self.session(request), choice, alone=True)

    def make_all(self, request: gr.Request, *choice: Any) -> list:
        return self.made(self.session(request), choice, alone=False)

    def made(self, session: Session, choice: tuple, alone: bool) -> list:
        """The file to download (None where none could be made), what went wrong, and what is told about it."""
        photos = session.photos[session.at : session.at + 1] if alone else session.photos
        problems = [] if photos else [ASLEEP]
        paths: list[Path] = []
        lines: list[str] = []
        for photo in photos:
            try:
                path, lines = session.make(photo, wanted(choice))
                paths.append(path)
            except ImageError as error:
                problems.append(str(error))
        if not paths:
            return [None, told(problems), gr.skip()]
        if alone:
            return [str(paths[0]), told(problems), caption(photos[0].name, *lines)]
        return [str(session.pack(paths)), told(problems), caption(f"{len(paths)} of {len(photos)} photographs colored")]


def wanted(choice: tuple) -> Choice:
    saturation, render_size, blend = choice
    return Choice(saturation, render_size, blend)


def attempt(action: Any, *arguments: Any) -> list[str]:
    """What went wrong, for the user."""
    try:
        action(*arguments)
    except ImageError as error:
        return [str(error)]
    return []


def told(problems: list[str]) -> gr.HTML:
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in problems)
    return gr.HTML(f"<div id='problems' role='alert'>{lines}</div>", visible=bool(problems))


def caption(*parts: str) -> str:
    return "<p>" + "; ".join(map(html.escape, parts)) + "</p>"


def ending(source: Path) -> str:
    return WRITE.get(source.suffix.lower(), "PNG")


def thumbnails(photographs: list[Path], folder: Path) -> list[str]:
    folder.mkdir()
    made = []
    for path in photographs:
        with Image.open(path) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            made.append(str(folder / path.with_suffix(".webp").name))
            image.save(made[-1])
    return made
