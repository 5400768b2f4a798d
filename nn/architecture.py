"""The network as a table of data: which layers, in which part, with how many filters; shapes and costs from it.

Source: the paper, section 3.2 and figure 2; class branch section 3.3.
"""

import json
from dataclasses import dataclass

from ltbc.kernels import class_loss, color

CLASSES, CHROMA = "classes", "chroma"  # filters that do not scale with the width

# part: (operation, filters at width 1[, stride]), in order. ReLU follows every layer unless ACTIVATIONS says otherwise.
PARTS: dict[str, tuple[tuple, ...]] = {
    "low": (
        ("conv3x3", 64, 2), ("conv3x3", 128, 1), ("conv3x3", 128, 2),
        ("conv3x3", 256, 1), ("conv3x3", 256, 2), ("conv3x3", 512, 1),
    ),
    "global": (("conv3x3", 512, 2), ("conv3x3", 512, 1), ("conv3x3", 512, 2), ("conv3x3", 512, 1)),
    "global_fc": (("linear", 1024), ("linear", 512), ("linear", 256)),
    "mid": (("conv3x3", 512, 1), ("conv3x3", 256, 1)),
    "fusion": (("fusion", 256),),
    "color": (
        ("conv3x3", 128, 1), ("upsample2x_conv3x3", 64), ("conv3x3", 64, 1),
        ("upsample2x_conv3x3", 32), ("conv3x3", CHROMA, 1),
    ),
    "class": (("linear", 256), ("linear", CLASSES)),
}
INPUT_OF = {"global": "low", "global_fc": "global", "mid": "low", "color": "fusion", "class": "global_fc.1"}
GLOBAL_PARTS = ("global", "global_fc", "class")  # left out where there is no global branch


@dataclass(frozen=True)
class Settings:
    """Everything that decides the network's shape and meaning; stored with the weights.

    classes: names, in the order of the logits. global_size: side of the picture that the global branch sees, a
    multiple of 8, or 0 for a network without global branch. fusion: sigmoid or relu. class_loss: softmax or sigmoid.
    color_space: lab, yuv or rgb. Errors: ValueError names the setting.
    """

    width: float = 1.0
    classes: tuple[str, ...] = ()
    global_size: int = 224
    fusion: str = "sigmoid"
    class_loss: str = "softmax"
    color_space: str = "lab"

    def __post_init__(self) -> None:
        if not 0 < self.width <= 8:
            raise ValueError(f"width must lie in (0, 8], got {self.width}")
        if self.global_size < 0 or self.global_size % 8:
            raise ValueError(f"global_size must be a multiple of 8, or 0 for no global branch, got {self.global_size}")
        if self.global_size and not self.classes:
            raise ValueError("classes must name at least one class where there is a global branch")
        if self.fusion not in ("sigmoid", "relu"):
            raise ValueError(f"fusion must be sigmoid or relu, got {self.fusion!r}")
        if self.class_loss not in class_loss.KINDS:
            raise ValueError(f"class_loss must be one of {', '.join(class_loss.KINDS)}, got {self.class_loss!r}")
        color.check_space(self.color_space)

    def metadata(self) -> dict[str, str]:
        """The strings that go into a weights file."""
        return {
            "width": repr(float(self.width)), "classes": json.dumps(list(self.classes)),
            "global_size": str(self.global_size), "fusion": self.fusion, "class_loss": self.class_loss,
            "color_space": self.color_space,
        }

    @classmethod
    def from_metadata(cls, strings: dict[str, str]) -> "Settings":
        """The inverse of `metadata`. Raises KeyError, TypeError or ValueError for strings that do not fit."""
        return cls(
            width=float(strings["width"]), classes=tuple(json.loads(strings["classes"])),
            global_size=int(strings["global_size"]), fusion=strings["fusion"], class_loss=strings["class_loss"],
            color_space=strings["color_space"],
        )


@dataclass(frozen=True)
class LayerSpec:
    """One row of the table: `inputs` are channels (conv), features (linear) or global + mid channels (fusion)."""

    name: str
    op: str
    inputs: int
    filters: int
    stride: int = 1
    activation: str = "relu"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        kernel = (3, 3) if "conv3x3" in self.op else ()
        return (*kernel, self.inputs, self.filters)

    @property
    def variant(self) -> tuple:
        """What the operation's functions take behind their arrays."""
        return (self.stride, self.activation) if self.op == "conv3x3" else (self.activation,)

    @property
    def parameters(self) -> int:
        taps = 9 if "conv3x3" in self.op else 1
        return taps * self.inputs * self.filters + self.filters

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output (without N) for an input of shape `(H, W, C)` or `(features,)`."""
        if self.op == "linear" and len(shape) == 1:
            return (self.filters,)
        h, w = shape[:2]
        if self.op == "upsample2x_conv3x3":
            return 2 * h, 2 * w, self.filters
        return -(-h // self.stride), -(-w // self.stride), self.filters

    def macs(self, shape: tuple[int, ...]) -> int:
        """Multiply-adds an image, by the plain method: 9 taps at every output pixel, fusion over global and mid."""
        *pixels, _ = self.output_shape(shape)
        count = self.parameters - self.filters
        for p in pixels:
            count *= p
        return count


def layers(settings: Settings) -> dict[str, list[LayerSpec]]:
    """The table for these settings, part by part. Without global branch, `fusion` is a linear layer over mid."""
    fixed = {CLASSES: len(settings.classes), CHROMA: color.CHANNELS[settings.color_space]}
    table: dict[str, list[LayerSpec]] = {}
    for part, rows in PARTS.items():
        if not settings.global_size and part in GLOBAL_PARTS:
            continue
        inputs = part_inputs(part, table, settings)
        for i, (op, filters, *stride) in enumerate(rows):
            filters = fixed[filters] if filters in fixed else max(1, round(filters * settings.width))
            name = part if part == "fusion" else f"{part}.{i}"
            op = "linear" if op == "fusion" and not settings.global_size else op
            activation = activation_of(name, settings)
            spec = LayerSpec(name, op, inputs, filters, stride[0] if stride else 1, activation)
            table.setdefault(part, []).append(spec)
            inputs = filters
    return table


def activation_of(name: str, settings: Settings) -> str:
    """ReLU everywhere, but for fusion (a switch), the chroma output (sigmoid) and the logits (none)."""
    return {"fusion": settings.fusion, "color.4": "sigmoid", "class.1": "none"}.get(name, "relu")


def part_inputs(part: str, table: dict[str, list[LayerSpec]], settings: Settings) -> int:
    """Input channels (or features) of the first layer of a part."""
    if part == "low":
        return 1
    if part == "fusion":
        return sum(table[p][-1].filters for p in ("global_fc", "mid") if p in table)
    if part == "global_fc":
        return global_side(settings) ** 2 * table["global"][-1].filters
    source, _, index = INPUT_OF[part].partition(".")
    return table[source][int(index or -1)].filters


def global_side(settings: Settings) -> int:
    """Side of the global branch's last feature map: global_size / 8, halved twice, rounding up."""
    return -(-settings.global_size // 32)


def parameter_shapes(settings: Settings) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters in the order of the flat buffer: `low.0.weight`, `low.0.bias`, ..."""
    shapes: dict[str, tuple[int, ...]] = {}
    for specs in layers(settings).values():
        for spec in specs:
            shapes[f"{spec.name}.weight"] = spec.weight_shape
            shapes[f"{spec.name}.bias"] = (spec.filters,)
    return shapes


def cost_table(settings: Settings, height: int, width: int) -> list[dict]:
    """One row a layer for an image of that size: name, input, output, parameters, macs, activation_bytes (float32).

    Where the image is not of the global branch's size, the low-level layers run a second time on the resized copy:
    rows `low.0 (global)` and so on, which share their parameters and count none.
    """
    table, rows = layers(settings), []

    def run(part: str, shape: tuple[int, ...], suffix: str = "") -> tuple[int, ...]:
        for spec in table[part]:
            out = spec.output_shape(shape)
            size = 4
            for n in out:
                size *= n
            rows.append({
                "name": spec.name + suffix, "input": list(shape), "output": list(out),
                "parameters": 0 if suffix else spec.parameters, "macs": spec.macs(shape), "activation_bytes": size,
            })
            shape = out
        return shape

    low = run("low", (height, width, 1))
    if settings.global_size:
        s = settings.global_size
        global_low = low if (height, width) == (s, s) else run("low", (s, s, 1), " (global)")
        h, w, c = run("global", global_low)
        run("global_fc", (h * w * c,))
    run("color", run("fusion", run("mid", low)))
    if settings.global_size:
        run("class", (table["global_fc"][1].filters,))
    return rows
