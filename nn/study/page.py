"""`ltbc study PHOTO --out study.html`: a picture's way through the network, one page that needs nothing else.

The network sees the middle square of the photograph, as in `ltbc explain`.
"""

import argparse
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from ltbc.kernels import color
from ltbc.kernels.arrays import Array
from ltbc.kernels.compare import to_float64
from ltbc.kernels.dispatch import BACKENDS
from ltbc.nn.architecture import LayerSpec, cost_table, layers
from ltbc.nn.backends import array_module_of, default_backend, describe
from ltbc.nn.study.answers import probabilities
from ltbc.nn.study.contributions import contributions, size
from ltbc.nn.study.options import SIDE, add_label, add_network, label_of, load, read_photo, words
from ltbc.nn.study.page_values import page_values
from ltbc.nn.study.recording import Record, RecordingNetwork, sources
from ltbc.nn.weights import WeightsError, write_whole

FILES = ("page.html", "page.css", "pixel.js", "page.js", "walk.js")
HTML, CSS, *PROGRAMS = (Path(__file__).with_name(name) for name in FILES)
MAPS = 12  # feature maps shown of a layer, those of most variance
RUNS = 4  # the first compiles and allocates, other programs disturb some
COLORED = {True: "the network's colors", False: "an untrained network's colors"}
TILE = 56  # pixels of the side of each, at least
GREY, BELOW, ABOVE = np.array([[235, 235, 235], [20, 90, 170], [205, 95, 10]]) / 255  # of gradients: 0, -, +
# from dark to bright, legible on either background
SCALE = np.array([[20, 24, 60], [59, 66, 140], [46, 125, 150], [60, 175, 120], [160, 215, 70], [250, 235, 100]])


class TimedNetwork(RecordingNetwork):
    """Keeps how long each layer took, the shortest time of all runs."""

    def recording(self, layer: Any, call: Any) -> Any:
        return super().recording(layer, self.timed(layer.spec.name, "forward", call))

    def recording_backward(self, layer: Any, call: Any) -> Any:
        return super().recording_backward(layer, self.timed(layer.spec.name, "backward", call))

    def timed(self, name: str, what: str, call: Any) -> Any:
        def measured(*args: Any, **named: Any) -> Any:
            self.wait()
            start = perf_counter()
            result = call(*args, **named)
            self.wait()
            passed, kept = 1e3 * (perf_counter() - start), vars(self).setdefault("milliseconds", {})
            kept[name, what] = min(passed, kept.get((name, what), passed))
            return result

        return measured

    def wait(self) -> None:
        if self.xp is not np:
            self.xp.cuda.Device().synchronize()


def image_url(pixels: np.ndarray, kind: str = "PNG") -> str:
    """A data URL of pixels `[H, W, 3]` in [0, 1]."""
    file = io.BytesIO()
    Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8)).save(file, kind, quality=88)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def painted(map_: np.ndarray) -> np.ndarray:
    """Values `[H, W]`, from their smallest to their largest, as colors `[H, W, 3]`."""
    low, high = map_.min(), map_.max()
    at = (map_ - low) / (high - low or 1) * (len(SCALE) - 1)
    return np.stack([np.interp(at, range(len(SCALE)), SCALE[:, c]) for c in range(3)], -1) / 255


def signed(map_: np.ndarray) -> np.ndarray:
    """Values `[H, W]` as colors `[H, W, 3]`: grey where they are 0, to blue below and to orange above."""
    at = map_ / (np.abs(map_).max() or 1)
    return GREY + np.abs(at)[:, :, None] * (np.where(at[:, :, None] < 0, BELOW, ABOVE) - GREY)


def sheet(y: np.ndarray, channels: np.ndarray, paint: Callable[[np.ndarray], np.ndarray] = painted) -> str:
    """Feature maps side by side, a column a channel; small ones enlarged by whole pixels."""
    tiles = [paint(y[:, :, c]) for c in channels]
    times = max(1, -(-TILE // y.shape[0]))
    small = max(1, y.shape[0] // 112)  # of the large ones every second pixel
    pixels = np.concatenate([t[::small, ::small].repeat(times, 0).repeat(times, 1) for t in tiles], 1)
    return image_url(pixels, "PNG" if times > 1 else "JPEG")


def layer_facts(spec: LayerSpec, part: str, record: Record, cost: dict, milliseconds: dict) -> dict:
    y, dy = record.y, record.dy
    assert dy is not None
    is_map = y.shape[:2] != (1, 1)
    spread = y.reshape(-1, y.shape[2]).std(0)
    best = np.argsort(-spread)[: min(MAPS, len(spread))]
    strip = y.reshape(1, -1)[:, :1024]
    return {
        "name": spec.name, "part": part, "op": spec.op, "stride": spec.stride, "activation": spec.activation,
        "input": cost["input"], "shape": list(y.shape) if is_map else [y.size], "parameters": cost["parameters"],
        "macs": cost["macs"], "forward": milliseconds[spec.name, "forward"],
        "backward": milliseconds[spec.name, "backward"], "gradient": float(np.sqrt((dy**2).mean())),
        "dead": float((y.reshape(-1, y.shape[2]).max(0) <= 0).mean()) if spec.activation == "relu" else None,
        "maps": sheet(y, best) if is_map else image_url(painted(strip.repeat(24, 0))),
        "gradients": sheet(dy, best, signed) if is_map else None,
        "channels": [[int(c), float(spread[c])] for c in best] if is_map else None,
    }


def shares(record: Record) -> dict:
    """How the fusion layer's values come about: what the global vector and the mid-level features add, per pixel."""
    cg = record.inputs[1].shape[2]
    vector, mid = record.inputs[1] @ record.w[:cg], record.inputs[0] @ record.w[cg:]
    from_global, from_mid = np.abs(vector).mean(), np.abs(mid).mean(2)
    share = from_global / (from_global + from_mid)
    large = lambda x: image_url(painted(x).repeat(6, 0).repeat(6, 1))  # noqa: E731
    return {
        "mid": large(from_mid), "share": large(share), "range": [float(share.min()), float(share.max())],
        "mean": float(share.mean()), "global": float(from_global),
        "mid_range": [float(from_mid.min()), float(from_mid.max())],
    }


def forks(net: TimedNetwork, pixels: np.ndarray) -> dict:
    """What meets at the two forks, root mean squares by loss, as nn/README.md has it: {way: (color, scene)}."""
    found = contributions(net, pixels, net.label or 0)
    return {name: (size(found.chroma.forks[name]), size(found.classes.forks[name])) for name in found.chroma.forks}


def in_color(luminance: Array, chroma: Array, space: str) -> str:
    """The picture that luminance and half-size chroma make."""
    light, colors = (np.asarray(to_float64(x), np.float32) for x in (luminance, chroma))
    return image_url(color.decode(light, colors.repeat(2, 1).repeat(2, 2), space)[0], "JPEG")


def facts(net: TimedNetwork, pixels: np.ndarray, label: int | None, style: np.ndarray | None, trained: bool) -> dict:
    """Everything that the page shows."""
    for _ in range(RUNS):
        records = dict(net.record(pixels, label, gradient=True))
    table, space, xp = layers(net.settings), net.settings.color_space, net.xp
    side = pixels.shape[0]
    costs = {row["name"]: row for row in cost_table(net.settings, side, side)}
    light, target = (xp.asarray(x) for x in color.encode(pixels[None], space))
    outputs = {"grey": image_url(to_float64(light)[0].repeat(3, 2) / 2 + 0.5, "JPEG"),
               COLORED[trained]: in_color(light, records["color.4"].y[None], space),
               "true colors, at half size": in_color(light, target, space)}
    result: dict[str, Any] = {
        "side": side, "backend": describe(net.backend), "dtype": str(net.dtype), "outputs": outputs, "trained": trained,
        "colored": COLORED[trained], "label": None if net.label is None else net.settings.classes[net.label],
    }
    milliseconds = vars(net)["milliseconds"]
    result["layers"] = [
        layer_facts(spec, part, records[spec.name], costs[spec.name], milliseconds)
        for part, specs in table.items() for spec in specs
    ]
    if net.settings.global_size:
        vector = to_float64(records["global_fc.2"].y).reshape(1, -1)
        outputs["without the global vector"] = in_color(light, net.colorize_local(light, xp.asarray(vector * 0)), space)
        if style is not None:
            other, _ = net.global_features(xp.asarray(color.encode(style[None], space)[0]))
            outputs["with the other picture's"] = in_color(light, net.colorize_local(light, other), space)
        z = records["class.1"].y.ravel()
        p = probabilities(z, net.settings.class_loss)
        result["classes"] = [[net.settings.classes[k], float(p[k])] for k in np.argsort(-p)[:5]]
        result["fusion"] = shares(records["fusion"])
        if xp is np:
            result["forks"] = forks(net, pixels)
    shown = {row["name"]: [c for c, _ in row["channels"]] if row["channels"] else None for row in result["layers"]}
    taken = len(page(result))
    result["values"], result["left_out"] = page_values(records, sources(table), shown, to_float64(light)[0], taken)
    return result


def page(found: dict) -> str:
    """One file: the program and the style go into the markup, what was found into the program."""
    data = json.dumps(found).replace("<", "\\u003c")
    program = "".join(path.read_text() for path in PROGRAMS).replace("/*DATA*/null", data)
    return HTML.read_text().replace("/*STYLE*/\n", CSS.read_text()).replace("/*PROGRAM*/\n", program)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="ltbc study", description=__doc__)
    parser.add_argument("photo", help="a picture file")
    parser.add_argument("--out", required=True, help="the page to write, one HTML file")
    parser.add_argument("--style", help="another picture, whose global features are tried too")
    add_network(parser)
    parser.add_argument("--backend", choices=BACKENDS, help="default: the best of this machine")
    add_label(parser)
    args = parser.parse_args(argv)
    try:
        backend = args.backend or default_backend()
        options: dict[str, Any] = {"backend": backend, "xp": array_module_of(backend)}
        net = load(TimedNetwork, args, **options)
        if args.style and not net.settings.global_size:
            raise ValueError("--style: this network has no global branch")
        label, side = label_of(args.label, net.settings.classes), net.settings.global_size or SIDE
        style = read_photo(args.style, side) if args.style else None
        found = facts(net, read_photo(args.photo, side), label, style, trained=not args.untrained)
        weights = "untrained" if args.untrained else Path(args.weights).name if args.weights else "the released ones"
        names = {"photo": Path(args.photo).name, "weights": weights, "words": words(args), "guessed": label is None}
        write_whole(args.out, page(found | names).encode())
    except ImportError as error:
        parser.exit(2, f"{parser.prog}: --backend {args.backend} cannot run here ({error}); try another one\n")
    except (ValueError, WeightsError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {args.out}: could not be written ({error.strerror or error})\n")
    print(f"{args.out}: {Path(args.out).stat().st_size / 1e6:.1f} MB, opens in any browser")
