"""Every operation on the device against the reference: drawn values at chosen sizes, all dtypes, activations and paths.

Channel counts are constants of the kernels, so each of them costs a compilation; images vary for free. A *unit* is what
one process checks, one case after the other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ml_dtypes import bfloat16

from ltbc.kernels import class_loss, color
from ltbc.kernels.gpu import launch
from tests.on_gpu.device import guarded
from tests.tools import helpers, pointwise
from tests.tools.helpers import Case

STORAGE = {"bfloat16": bfloat16, "float16": np.float16, "float32": np.float32, "tf32": np.float32}
PATHS = {"boxes": 0, "pointers": 80}  # as the GPU would, or as one without tensor descriptors
LAYER_SIZES: dict[str, list[tuple]] = {  # in the order of the table in `helpers`, then the stride
    "conv3x3": [
        (2, 5, 3, 20, 5, 1), (3, 9, 7, 16, 24, 2), (1, 1, 1, 16, 16, 1), (3, 17, 13, 1, 64, 2), (2, 31, 18, 32, 2, 1),
        (2, 6, 5, 3, 3, 1), (3, 30, 26, 64, 128, 1), (3, 30, 26, 64, 128, 2), (33, 14, 14, 128, 64, 1),
        (9, 7, 7, 256, 512, 1), (8, 56, 56, 128, 64, 1), (2, 57, 55, 64, 128, 2), (24, 28, 28, 256, 512, 1),
    ],
    "upsample2x_conv3x3": [(2, 3, 5, 20, 5), (1, 1, 1, 16, 16), (3, 13, 11, 64, 32), (9, 28, 28, 128, 64),
                           (4, 56, 56, 64, 32)],
    "upsample2x": [(2, 3, 5, 7), (1, 1, 1, 1), (3, 29, 17, 64), (16, 56, 56, 32)],
    "linear": [(3, 70, 20), (35, 18, 20), (1, 1024, 512), (128, 512, 256), (128, 3136, 1024), (5, 300, 205)],
    "fusion": [(3, 5, 4, 20, 18, 21), (1, 1, 1, 16, 16, 16), (18, 7, 9, 64, 32, 128), (9, 28, 28, 256, 256, 256)],
}
POINTWISE_SIZES: dict[str, list[tuple]] = {
    "chroma_loss": [(2, 3, 5, 2), (1, 1, 1, 1), (16, 112, 112, 2)],
    "class_loss": [(5, 9), (1, 1), (128, 205), (7, 5000)],
    "adadelta": [(1,), (1000,), (1234567,)],
    "color": [(2, 8, 9), (3, 40, 51), (5, 256, 250)],  # images, and the size that crops are taken from
}
OPERATIONS = (*LAYER_SIZES, *POINTWISE_SIZES)


class Unit(NamedTuple):
    """What one process checks: an operation in one arithmetic on one path."""

    op: str
    arithmetic: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.op} {self.arithmetic}{' by pointers' * (self.path == 'pointers')}"


def units() -> list[Unit]:
    """The longest first."""
    boxed = [op for op in LAYER_SIZES if "conv3x3" in op]
    found = [Unit(op, a, path) for a in STORAGE for path in PATHS for op in boxed]
    found += [Unit(op, a, "boxes") for op in ("linear", "fusion") for a in STORAGE]
    return found + [Unit(op, a, "boxes") for op in ("upsample2x", *POINTWISE_SIZES) for a in STORAGE if a != "tf32"]


def cases(unit: Unit, largest: int = 1 << 40) -> list[Case]:
    """The unit's cases of at most `largest` elements of input; activations and other settings take turns."""
    table, make = LAYER_SIZES.get(unit.op), layer_case
    if table is None:
        table, make = POINTWISE_SIZES[unit.op], pointwise_case
    return [make(unit, sizes, k) for k, sizes in enumerate(table) if np.prod(sizes[:4]) <= largest]


def layer_case(unit: Unit, values: tuple, k: int) -> Case:
    layer, rng = helpers.LAYERS[unit.op], np.random.default_rng(k)
    sizes = dict(zip(layer.sizes, values))
    if unit.op == "fusion":
        sizes = dict(zip(("N", "H", "W", "Cg", "Cm", "Cout"), values))
    arguments = {name: rng.standard_normal(helpers.shape(p, sizes), np.float32) for name, p in layer.arguments.items()}
    if "w" in arguments:  # so that sums keep the size of their terms and float16 its range
        arguments["w"] *= np.float32(np.prod(arguments["w"].shape[:-1]) ** -0.5)
    settings = {"activation": ("relu", "sigmoid", "none")[k % 3]} if "activation" in layer.settings else {}
    if unit.op == "conv3x3":
        settings = {"stride": values[5], **settings}
    case = Case(unit.op, sizes, {name: a.astype(np.float64) for name, a in arguments.items()}, settings)
    y = output_shape(case)
    case.arguments["dy"] = rng.standard_normal(y, np.float32).astype(np.float64)
    return case


def output_shape(case: Case) -> tuple[int, ...]:
    first, s = next(iter(case.arguments.values())), case.sizes
    if case.op == "conv3x3":
        return case.module.output_shape(first.shape, s["Cout"], case.settings["stride"])
    if case.op == "upsample2x_conv3x3":
        return case.module.output_shape(first.shape, s["Cout"])
    if case.op == "upsample2x":
        return (s["N"], 2 * s["H"], 2 * s["W"], s["C"])
    return (*first.shape[:-1], s["Cout"])


def pointwise_case(unit: Unit, values: tuple, k: int) -> Case:
    rng = np.random.default_rng(k)
    if unit.op == "adadelta":
        p, g, eg, ed = (rng.standard_normal(values) * scale for scale in (1, 0.1, 0.1, 0.01))
        low = None if unit.arithmetic == "float32" else STORAGE[unit.arithmetic]
        return Case(unit.op, {"K": values[0]}, {"p": p, "g": g, "eg": eg**2, "ed": ed**2},
                    {"lr": 1.0, "rho": 0.95, "eps": 1e-6, "low": low})
    if unit.op == "chroma_loss":
        y, target = rng.random(values), rng.random(values)
        return Case(unit.op, dict(zip("NHWC", values)), {"y": y, "target": target}, {"scale": (1.0, 1024.0)[k % 2]})
    if unit.op == "class_loss":
        z, labels = rng.standard_normal(values) * (1, 10)[k % 2], rng.integers(0, values[1], values[0])
        settings = {"scale": 1 / 300, "kind": class_loss.KINDS[k % 2]}
        return Case(unit.op, dict(zip("NK", values)), {"z": z, "labels": labels}, settings)
    n, h, w = values
    size = (h // 2 * 2 - 2, w // 2 * 2 - 2)
    rgb = rng.integers(0, (256, 65536)[k % 2], (n, h, w, 3)).astype((np.uint8, np.uint16)[k % 2])
    places = {"top": rng.integers(0, h - size[0] + 1, n), "left": rng.integers(0, w - size[1] + 1, n),
              "flip": rng.random(n) < 0.5}
    space = sorted(color.CHANNELS)[k % len(color.CHANNELS)]
    return Case("color", dict(zip("NHW", values)), {"rgb": rgb, **places}, {"space": space, "size": size})


def check(unit: Unit, case: Case) -> str:
    """Holds the case against the reference, looks at the guard bands, and runs it twice more for the same bits.
    Returns what was compared; raises AssertionError with the first elements that differ."""
    launch.set_float32_products("tf32" if unit.arithmetic == "tf32" else "exact")
    layer, storage = unit.op in LAYER_SIZES, STORAGE[unit.arithmetic]
    arithmetic = unit.arithmetic
    if unit.op == "adadelta":  # only its low-precision copy is of the unit's dtype
        storage, arithmetic = np.float32, "float32"
    placed: dict[str, Any] = {}
    with guarded(PATHS[unit.path]) as guards:

        def place(name: str, a: np.ndarray) -> Any:
            placed[name] = guards.place(a)
            return placed[name]

        (helpers if layer else pointwise).check_backend(case, "gpu", arithmetic, storage, place=place)
        guards.check()
        run: Callable[[], dict] = lambda: pointwise.results(  # noqa: E731
            case._replace(arguments={k: placed.get(k, a) for k, a in case.arguments.items()}), "gpu", storage
        )
        if layer:
            y, inputs = placed.pop("y"), case._replace(arguments=dict(placed))
            run = lambda: helpers.results(inputs, "gpu", y=y)  # noqa: E731
        first, second = ({k: bytes_of(a) for k, a in run().items() if a is not None} for _ in range(2))
        differing = [name for name in first if first[name] != second[name]]
        assert not differing, f"{unit.op}: two runs differ in the bits of {', '.join(differing)}"
    return ", ".join(first)


def bytes_of(a: Any) -> bytes:
    return np.asarray(a.get() if hasattr(a, "get") else a).tobytes()
