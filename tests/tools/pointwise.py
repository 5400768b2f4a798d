"""`helpers` for the operations that are no layers: chroma_loss, class_loss, adadelta, color.

`cases(op)` draws a case, `results(case, backend)` runs it, `check_backend(case, backend, ...)` holds a backend
against the reference in float64.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradcheck import check_loss
from gradcheck.strategies import arrays, lay_out, sizes
from ltbc.kernels import adadelta, chroma_loss, class_loss, color
from ltbc.kernels.arrays import is_float
from ltbc.kernels.compare import assert_close, to_float64, tolerance
from tests.tools.helpers import Case

ROUNDINGS = 16  # of an Adadelta step: each square doubles the relative errors of its factor; and of color in lab, two
# powers one after the other, whose exp2 a GPU has to 2^-22 only
BUFFERS = {"chroma_loss": ("dy",), "class_loss": ("dz",), "color": ("luminance", "chroma")}  # which `out` holds
SCALES = st.sampled_from((1.0, 1 / 300, 1024.0))


@st.composite
def chroma_loss_cases(draw, layout=None, **largest) -> Case:
    s = draw(sizes(**dict(N=3, H=7, W=7, C=3) | largest))
    y, target = (draw(arrays(tuple(s.values()), layout=layout)) for _ in range(2))
    return Case("chroma_loss", s, {"y": y, "target": target}, {"scale": draw(SCALES)})


@st.composite
def class_loss_cases(draw, layout=None, scales=(1.0, 10.0, 1000.0), **largest) -> Case:
    """Logits from tame to extreme."""
    s = draw(sizes(**dict(N=5, K=9) | largest))
    z = draw(arrays((s["N"], s["K"]), scale=draw(st.sampled_from(scales)), layout=layout))
    labels = np.array(draw(st.lists(st.integers(0, s["K"] - 1), min_size=s["N"], max_size=s["N"])))
    return Case("class_loss", s, {"z": z, "labels": labels}, {
        "scale": draw(SCALES), "kind": draw(st.sampled_from(class_loss.KINDS))
    })


@st.composite
def adadelta_cases(draw, layout=None, low=None, **largest) -> Case:
    """Buffers as after some steps; `low`: dtype of the low-precision copy, or None for no copy."""
    s = draw(sizes(**dict(K=300) | largest))
    p, g, eg, ed = (draw(arrays((s["K"],), scale=scale, layout=layout)) for scale in (1, 0.1, 0.1, 0.01))
    settings = {k: draw(st.sampled_from(v)) for k, v in
                {"lr": (1.0, 0.1), "rho": (0.9, 0.95, 0.0), "eps": (1e-6, 1e-3)}.items()}
    return Case("adadelta", s, {"p": p, "g": g, "eg": eg**2, "ed": ed**2}, settings | {"low": low})


@st.composite
def color_cases(draw, layout=None, dtypes=(np.uint8, np.uint16, np.float32), **largest) -> Case:
    """Pixels of a given dtype, mostly with crops and flips."""
    s = draw(sizes(**dict(N=3, H=9, W=9) | largest))
    n, height, width = s["N"], s["H"] + 1, s["W"] + 1
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rgb = rng.random((n, height, width, 3))
    rgb = (rgb * np.iinfo(dtype).max).astype(dtype) if dtype.kind == "u" else rgb.astype(dtype)
    size = tuple(2 * draw(st.integers(1, side // 2)) for side in (height, width))
    places = {
        "top": rng.integers(0, height - size[0] + 1, n), "left": rng.integers(0, width - size[1] + 1, n),
        "flip": rng.random(n) < 0.5,
    }
    rgb = lay_out(rgb, draw(st.just("contiguous") if layout is None else layout))
    arguments = {"rgb": rgb, **{k: a for k, a in places.items() if draw(st.booleans())}}
    return Case("color", s, arguments, {"space": draw(st.sampled_from(sorted(color.CHANNELS))), "size": size})


def cases(op: str, **options) -> st.SearchStrategy[Case]:
    return {
        "chroma_loss": chroma_loss_cases, "class_loss": class_loss_cases, "adadelta": adadelta_cases,
        "color": color_cases,
    }[op](**options)


def results(case: Case, backend: str = "reference", dtype: Any = np.float64, **options: Any) -> dict[str, Any]:
    """What the operation returns or changes, by name. dtype: of color's results."""
    a, options = case.arguments, {**case.settings, "backend": backend, **options}
    if case.op == "chroma_loss":
        return dict(zip(("loss", "dy"), chroma_loss.value_and_gradient(**a, **options)))
    if case.op == "class_loss":
        return dict(zip(("loss", "dz"), class_loss.value_and_gradient(**a, **options)))
    if case.op == "adadelta":
        changed = {k: x.copy() for k, x in a.items()}
        if options["low"] is not None:
            changed["low"] = options["low"] = changed["p"].astype(options["low"])
        adadelta.step(**{k: changed[k] for k in a}, **options)
        return changed
    luminance, chroma = color.encode(**a, **options, dtype=dtype)
    rgb = color.decode(luminance[:, ::2, ::2].copy(), chroma, case.settings["space"], backend=backend)
    return {"luminance": luminance, "chroma": chroma, "rgb": rgb}


def check_backend(
    case: Case, backend: str, arithmetic: str, storage: Any, scale: float = 1.0, place=lambda name, a: a
) -> None:
    """A backend against the reference in float64, from the same values in the dtype `storage`."""
    fixed = case.op == "color"  # its pixels have their own dtype; `storage` is that of the results
    rounded = case.converted(lambda k, a: a.astype(storage) if is_float(a.dtype) and not fixed else a)
    want = results(rounded.converted(lambda k, a: to_float64(a) if is_float(a.dtype) else a))
    got = results(rounded.converted(place), backend, storage)
    assert_results(got, want, case, arithmetic, scale)


def assert_results(got, want, case: Case, arithmetic: str = "float64", scale: float = 1.0) -> None:
    """Every result wanted within the tolerance of its sums or of its roundings."""
    for name, value in want.items():
        allowed = scale * tolerance(arithmetic, length(case, name), got[name].dtype)
        assert_close(f"{case.op} {name} {case.settings}", got[name], value, allowed, magnitude(case, name, value))


def check_slopes(case: Case) -> None:
    """Directional derivatives of a loss, whose gradient alone is multiplied by the scale."""
    settings = {k: v for k, v in case.settings.items() if k != "scale"}
    loss = lambda *a: case.module.value_and_gradient(*a, **settings)  # noqa: E731
    check_loss(loss, case.arguments, wrt=list(case.arguments)[:1], operation=case.op)


def check_out(case: Case) -> None:
    """`out=` buffers are filled, returned and decide the dtype; results are the same as without them."""
    want, names = results(case), BUFFERS[case.op]
    buffers = tuple(np.full(want[name].shape, np.nan, np.float16) for name in names)
    found = results(case, out=buffers if len(buffers) > 1 else buffers[0])
    for name, buffer in zip(names, buffers):
        assert found[name] is buffer
        np.testing.assert_array_equal(buffer, want[name].astype(np.float16), err_msg=name)


def length(case: Case, name: str) -> int:
    """Terms summed into an element of that result, or as many roundings one after the other."""
    s = case.sizes
    if case.op == "adadelta" or case.settings.get("space") == "lab":
        return ROUNDINGS
    return {"loss": int(np.prod(list(s.values()))), "dz": s.get("K", 1), "dy": 1}.get(name, 3)  # 3: colors


def magnitude(case: Case, name: str, want: np.ndarray) -> np.ndarray:
    """The size of what a result is the difference of: errors are as large as that would have it."""
    if case.op == "class_loss":
        usual = 1 + np.abs(case.arguments["z"]).max() if name == "loss" else case.settings["scale"] / case.sizes["N"]
    elif case.op == "adadelta":
        return np.abs(case.arguments.get(name, case.arguments["p"])) + np.abs(want)
    else:
        usual = {"luminance": 1.0, "chroma": 0.5, "rgb": 1.0}.get(name, 0.0)
    return np.full(want.shape, usual)
