"""The page of `ltbc serve`: what stands on it and what its parts do. Only this folder imports gradio.

The work itself is in `ltbc.colorize.session`. One photograph at a time is in work, whoever's it is, so that the limit
of memory holds for all open pages together.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ltbc.colorize.colorizer import Colorizer
from ltbc.colorize.images import QUALITY, READ
from ltbc.colorize.page import parts
from ltbc.colorize.page.events import Events
from ltbc.colorize.parameters import FULL
from ltbc.colorize.session import ENDINGS, THUMBNAIL

EXAMPLES = Path(__file__).parents[2] / "train" / "photographs" / "held_out"
KINDS = sorted(READ)
INTRODUCTION = """# Let there be color
Drop black-and-white photographs. They stay on this machine, and are deleted when you close the page."""
EMPTY = "<div id='empty'>Your photographs appear here, grey on the left and in color on the right</div>"
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1, "api_visibility": "private"}
MOST = 200 << 20  # bytes
QUICK: dict[str, Any] = {"api_visibility": "private"}


def build(colorizer: Colorizer, folder: Path, megapixels: int, most: int = MOST) -> gr.Blocks:
    """The page. folder: below it lies all that open pages hold. megapixels, most: of a photograph, bytes of a file."""
    with gr.Blocks(title="Let there be color", analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        Page(blocks, colorizer, folder, megapixels, most)
    return blocks


def look() -> dict[str, Any]:
    """How it looks: with the fonts that the machine has."""
    plain, mono = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    theme = gr.themes.Soft(primary_hue="teal", neutral_hue="stone", font=plain, font_mono=mono)
    theme.set(  # dark enough on light, and light enough on dark, to be read by everybody
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700", button_primary_background_fill_hover_dark="*primary_800",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        block_title_background_fill="transparent", block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color", block_title_text_color_dark="*body_text_color",
        block_title_padding="0", body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300",
        color_accent="*primary_700",
    )
    return {"theme": theme, "css_paths": [parts.HERE / "compare.css", parts.HERE / "page.css"]}


class Page:
    """The parts of the page."""

    def __init__(self, blocks: gr.Blocks, colorizer: Colorizer, folder: Path, megapixels: int, most: int) -> None:
        self.examples = sorted(EXAMPLES.glob("*/*.jpg"))
        self.events = Events(colorizer, folder, megapixels * 1_000_000, self.examples)
        self.most, self.scenic, self.own = most, bool(colorizer.settings.global_size), colorizer.render_size or 0
        gr.Markdown(INTRODUCTION, elem_id="head")
        self.drop = parts.drop("Drop photographs here", KINDS, most, "drop")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.lay_out_settings()
            with gr.Column(scale=5, min_width=320, elem_id="result"):
                self.lay_out_result()
        self.connect()
        blocks.unload(self.events.leave)

    def lay_out_settings(self) -> None:
        if self.examples:
            small = thumbnails(self.examples, self.events.folder / "examples")
            gr.Markdown("Or try one of these", elem_classes="part")
            named: list[tuple[str, Path, list[str]]] = [(path.stem.replace("_", " "), image, [])
                                                        for path, image in zip(self.examples, small)]
            self.tried = parts.strip("Photographs to try", "examples", parts.stripped(named))
        self.saturation = gr.Slider(0, 2, 1, step=0.05, label="Saturation", elem_id="saturation", buttons=[])
        own = self.own
        sizes = [(str(n), n) for n in (own // 2, own, 2 * own)] + [("full size", FULL)]
        self.render = gr.Radio(sizes, value=own, label="Render size", elem_id="render",
                               info="pixels the network sees: few for broad colors, many for details")
        with gr.Accordion("Style of another photograph", open=False, visible=self.scenic, elem_id="style-part"):
            gr.Markdown("Its global features replace the picture's own", elem_classes="part")
            self.style = parts.drop("Drop a photograph here", KINDS, self.most, "style", several=False)
            self.plain = gr.Button(visible=False, size="sm", elem_id="plain")
            self.blend = gr.Slider(0, 1, 1, step=0.05, label="Blend", elem_id="blend", buttons=[])
        self.kind = gr.Radio(list(ENDINGS), value="PNG", label="Files to download", elem_id="kind",
                             info="PNG and TIFF keep the luminance, JPEG is smaller")
        self.quality = gr.Slider(50, 100, QUALITY, step=1, label="Quality of the JPEG", visible=False,
                                 elem_id="quality", buttons=[])

    def lay_out_result(self) -> None:
        self.problems = gr.HTML(visible=False, elem_id="told")
        self.empty = gr.HTML(EMPTY)
        self.slider = parts.result()
        self.strip = parts.strip("Your photographs", "photos")
        with gr.Row(elem_id="take"):
            self.one = gr.Button("Download PNG", variant="primary", visible=False, elem_id="one")
            self.all = gr.Button("Download all", visible=False, elem_id="all")
            self.side = gr.Button("Side by side", visible=False, elem_id="side")
            self.page = gr.Button("Slider as HTML", visible=False, elem_id="page")
        self.table = gr.HTML(visible=False, elem_id="notes")
        self.scenes = gr.HTML(visible=False, elem_id="scenes")
        self.file = parts.fetch()

    def connect(self) -> None:
        """What happens when."""
        choice = [self.saturation, self.render, self.blend, self.kind, self.quality]
        shown = [self.problems, self.empty, self.slider, self.strip, self.one, self.all, self.side, self.page,
                 self.table, self.scenes, self.plain]
        self.drop.taken(self.events.add, choice, shown, **ONE_AT_A_TIME)
        if self.examples:
            self.tried.turn(self.events.try_example, choice, shown, **ONE_AT_A_TIME)
        self.strip.turn(self.events.turn_to, choice, shown, **ONE_AT_A_TIME)
        self.strip.drop_one(self.events.remove, choice, shown, **ONE_AT_A_TIME)
        self.slider.drop_this(self.events.remove, choice, shown, **ONE_AT_A_TIME)
        self.slider.hint(self.events.hint, choice, shown, show_progress="minimal", **ONE_AT_A_TIME)
        for event in (self.saturation.release, self.render.change, self.blend.release):
            event(self.events.show, choice, shown, trigger_mode="always_last", show_progress="minimal", **ONE_AT_A_TIME)
        self.style.taken(self.events.with_style, choice, shown, **ONE_AT_A_TIME)
        self.plain.click(self.events.without_style, choice, shown, **ONE_AT_A_TIME)
        self.kind.change(chosen_kind, self.kind, [self.quality, self.one], **QUICK)
        events, made = self.events, [self.file, self.problems, self.table]
        for button, make in ((self.one, events.make_one), (self.all, events.make_all), (self.side, events.make_pair),
                             (self.page, events.make_page)):
            button.click(make, choice, made, **ONE_AT_A_TIME)


def chosen_kind(kind: str) -> list:
    return [gr.Slider(visible=kind == "JPEG"), gr.Button(f"Download {kind}")]


def thumbnails(photographs: list[Path], folder: Path) -> list[Path]:
    folder.mkdir()
    made = []
    for path in photographs:
        with Image.open(path) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            made.append(folder / path.with_suffix(".webp").name)
            image.save(made[-1])
    return made
