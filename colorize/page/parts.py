"""What the page is made of beside Gradio's own sliders and buttons: pieces of HTML, each with a script of its own.

A piece gets its value from Python and tells by events what a person did; names of files reach it as text only.
"""

import html
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from ltbc.colorize.session import Photo

HERE = Path(__file__).parent
SWATCHES = {  # what people look for first in old photographs
    "skin": "#c68863", "brown hair": "#5d3a22", "sky": "#6f9fd0", "grass": "#5e8a3a", "brick": "#a4523a",
    "wood": "#8a6238", "navy": "#2c3e6b", "wine": "#7b2335", "ochre": "#c99a3a", "grey": "#808080",
}
TOP = 5  # scenes


def drop(label: str, kinds: list[str], most: int, name: str, several: bool = True) -> Any:
    """A place for files; its event `taken` has files: name, and path or problem. most: bytes a file."""
    words = f"{html.escape(label)}<span> or click to choose</span>"
    template = (f'<label class="zone"><input type="file" {"multiple" if several else ""} accept="{",".join(kinds)}" '
                f'aria-label="{html.escape(label)}"><span class="how" role="status">{words}</span></label>')
    return piece("drop.js", template, name, most=most, most_told=f"{most / (1 << 20):.3g} MiB")


def strip(label: str, name: str, value: dict | None = None) -> Any:
    """Small photographs; events `turn` and `drop_one` have index."""
    return piece("strip.js", f'<ul class="strip" aria-label="{html.escape(label)}" hidden></ul>', name, value=value)


def result() -> Any:
    """The photograph; events `hint`, with act, x, y, color and index, and `drop_this`."""
    swatches = "".join(
        f'<button type="button" class="swatch" data-color="{code}" title="{name}" aria-label="Color: {name}" '
        f'style="background: {code}"></button>' for name, code in SWATCHES.items()
    )
    template = (HERE / "result.html").read_text().replace("<!-- swatches -->", swatches)
    return piece("result.js", template, "slider", before="compare.js", value=None)


def fetch() -> Any:
    """Hands a file to the browser, see `fetched`; and asks who leaves."""
    return piece("fetch.js", "<span></span>", "file", before="leave.js", value=None)


def piece(script: str, template: str, name: str, before: str = "", **props: Any) -> Any:
    code = "".join((HERE / part).read_text() for part in (before, script) if part)
    return gr.HTML(html_template=template, js_on_load=code, elem_id=name, apply_default_css=False, **props)


# values


def shown(photo: Photo, after: Path, told: list[str]) -> dict:
    """The value of `result`. told: what is said of it, its name and size first."""
    width, height = photo.size
    places = [{"x": (hint.x + 0.5) / width, "y": (hint.y + 0.5) / height, "color": str(hint).rpartition(",")[2]}
              for hint in photo.hints]
    return {"name": photo.name, "told": told, "before": address(photo.before), "after": address(after),
            "width": width, "height": height, "hints": places}


def stripped(items: list[tuple[str, Path, list[str]]], at: int = -1, removable: bool = False) -> dict:
    """The value of `strip`. items: name, small picture and notes of each."""
    found = [{"name": name, "url": address(path), "told": "; ".join(notes)} for name, path, notes in items]
    return {"items": found, "at": at, "removable": removable}


def fetched(path: Path, number: int) -> dict:
    """The value of `fetch`. number: another one each time."""
    return {"url": address(path), "name": path.name, "number": number}


def address(path: Path) -> str:
    return f"/gradio_api/file={quote(str(path))}"


def problems(lines: list[str]) -> gr.HTML:
    told = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return gr.HTML(f"<div id='problems' role='alert'>{told}</div>", visible=bool(lines))


def scenes(found: dict[str, float]) -> gr.HTML:
    """The most probable ones, with bars."""
    lines = "".join(
        f"<li><span>{html.escape(name.replace('_', ' '))}</span><i style='width: {100 * share:.1f}%'></i>"
        f"<b>{share:.0%}</b></li>" for name, share in list(found.items())[:TOP]
    )
    return gr.HTML(f"<h2>What the network sees</h2><ol>{lines}</ol>", visible=bool(found))


def table(lines: list[tuple[str, str]]) -> gr.HTML:
    """What was told of each of several photographs."""
    rows = "".join(f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(line)}</td></tr>"
                   for name, line in lines)
    head = "<caption>What was made</caption><thead><tr><th scope='col'>Photograph</th><th scope='col'>Note</th></tr>"
    return gr.HTML(f"<table>{head}</thead><tbody>{rows}</tbody></table>", visible=bool(lines))
