"""The picture of nn/README.md: one gradient on its way through the network, from two losses to all parameters."""

from typing import Any

from matplotlib.axes import Axes

from ltbc.nn.network import Network
from ltbc.nn.study.contributions import Contributions, contributions, size, size_of_part
from ltbc.nn.study.drawing import BLUE, INK, LINE, ORANGE, PALE, TAPS, arrow, canvas, cell, frame, word
from ltbc.nn.study.options import read_photo
from ltbc.nn.weights import RELEASED

PHOTO, SCENE = "train/photographs/held_out/water/eilean-donan.jpg", "river"
COLOR, CLASS = TAPS[0], TAPS[1]  # of what comes from which loss
BOXES = {  # part: (x, y), upper left corner
    "low": (2.4, 1.0), "mid": (6.0, 1.0), "fusion": (9.4, 1.0), "color": (12.8, 1.0),
    "global": (4.2, 5.2), "global_fc.0": (6.8, 5.2), "global_fc.1": (9.4, 5.2), "global_fc.2": (9.4, 3.1),
    "class": (12.8, 5.2),
}
WIDE, HIGH = 1.6, 0.8


def spelled(x: float) -> str:
    """2.5e-04 as people write it."""
    mantissa, exponent = f"{x:.1e}".split("e")
    return f"{mantissa}·10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def sizes(ax: Axes, x: float, y: float, chroma: float, classes: float, before: str = "", **style: Any) -> None:
    """What comes from each loss, below each other; nothing is not written."""
    found = [(value, color) for value, color in ((chroma, COLOR), (classes, CLASS)) if value]
    for k, (value, color) in enumerate(found):
        word(ax, x, y + 0.36 * k, before + spelled(value), 8.5, color=color, **style)


def ways(ax: Axes, start: tuple[float, float], end: tuple[float, float], chroma: float, classes: float) -> None:
    """Forward in grey; beside it, back, what comes from each loss that sends something here."""
    (x0, y0), (x1, y1) = start, end
    across = (0.0, 1.0) if abs(x1 - x0) > abs(y1 - y0) else (1.0, 0.0)
    arrow(ax, start, end, LINE, 1)
    for k, color in enumerate(c for value, c in ((chroma, COLOR), (classes, CLASS)) if value):
        dx, dy = (0.22 * (k + 1) * a for a in across)
        arrow(ax, (x1 + dx, y1 + dy), (x0 + dx, y0 + dy), color, 1.8)


def draw(found: Contributions) -> Any:
    a, b, (loss, scene_loss) = found
    figure, (ax,) = canvas(12, 5.2)
    frame(ax, (0, 17.6), (0.1, 7.4))
    cell(ax, 0.1, 1.0, "luminance", PALE, WIDE, HIGH)
    cell(ax, 15.9, 1.0, f"color loss\n{loss:.4f}", BLUE, WIDE, HIGH)
    cell(ax, 15.9, 5.2, f"scene loss\n{scene_loss:.2f} / 300", ORANGE, WIDE, HIGH)
    for part, (x, y) in BOXES.items():
        cell(ax, x, y, part, PALE, WIDE, HIGH)
        beside = part in ("global_fc.2", "fusion")  # of arrows downwards
        sizes(ax, x + WIDE + 0.15 if part == "global_fc.2" else x + 0.35 if beside else x + WIDE / 2,
              y + (0.4 if part == "global_fc.2" else HIGH + 0.3), size_of_part(a, part), size_of_part(b, part),
              before="dw ", **({"ha": "left" if part == "global_fc.2" else "right"} if beside else {}))
    fork = {name: (size(a.forks[name]), size(b.forks[name])) for name in a.forks}

    def at(part: str, side: str) -> tuple[float, float]:
        x, y = BOXES[part]
        return {"left": (x, y + 0.2), "right": (x + WIDE, y + 0.2),
                "top": (x + 0.6, y), "bottom": (x + 0.6, y + HIGH)}[side]

    arrow(ax, (0.1 + WIDE, 1.4), (2.4, 1.4), LINE, 1)
    cell(ax, 0.1, 3.0, "resized copy", PALE, WIDE, HIGH)
    word(ax, 0.9, 4.2, "where sizes differ: low sees\nboth, its gradients add up", 8.5)
    arrow(ax, (1.4, 3.0), (2.4, 1.65), LINE, 1)
    for part, user in (("low", "mid"), ("mid", "fusion"), ("fusion", "color")):
        ways(ax, at(part, "right"), at(user, "left"), 1, 0)
    word(ax, 5.0, 0.85, spelled(fork["mid-level"][0]), 8.5, color=COLOR)
    ways(ax, at("color", "right"), (15.9, 1.2), 1, 0)
    ways(ax, at("class", "right"), (15.9, 5.4), 0, 1)
    ways(ax, at("global", "right"), at("global_fc.0", "left"), 1, 1)
    ways(ax, at("global_fc.0", "right"), at("global_fc.1", "left"), 1, 1)
    ways(ax, at("global_fc.1", "right"), at("class", "left"), 0, 1)
    word(ax, 11.9, 4.95, spelled(fork["class scores"][1]), 8.5, color=CLASS)
    ways(ax, at("global_fc.1", "top"), at("global_fc.2", "bottom"), 1, 0)
    word(ax, 10.35, 4.55, spelled(fork["global vector"][0]), 8.5, color=COLOR, ha="left")
    ways(ax, at("global_fc.2", "top"), at("fusion", "bottom"), 1, 0)
    ways(ax, (3.7, 1.8), (4.7, 5.2), 1, 1)
    sizes(ax, 4.95, 3.3, *fork["global branch"], ha="left")
    word(ax, 3.2, 0.5, "fork 2: two ways back add up", 9, weight="bold")
    word(ax, 8.9, 4.75, "fork 1: two ways back add up", 9, weight="bold", ha="right")
    word(ax, 8.8, 7.1, "grey: forward    blue: back from the color loss    orange: back from the scene loss    "
         "numbers: root mean squares, at arrows of the gradient there, dw of a part's weights", 9, color=INK)
    return figure


def gradient() -> Any:
    """Of the released network and a photograph of the sample set."""
    net = Network.load(RELEASED)
    path = str(RELEASED.parents[1] / PHOTO)
    return draw(contributions(net, read_photo(path, net.settings.global_size), net.settings.classes.index(SCENE)))
