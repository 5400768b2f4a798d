"""The judge of the last exercise: the wiring of the whole backward pass, part by part."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from ltbc.kernels import chroma_loss, class_loss
from ltbc.nn import ALPHA, Network
from ltbc.nn.plain import backward, forward

PARTS = ("color", "fusion", "mid", "class", "global_fc.2", "global_fc.1", "global_fc.0", "global.", "low")
SIZES = {"one size": 32, "with a resized copy": 48}


def judge_network(module: ModuleType, path: Path) -> Iterator[tuple[str, str]]:
    """(part, "right" or what is missing) at a picture of the global branch's size, then at another."""
    from lessons.judge import function, raised

    for title, side in SIZES.items():
        rng = np.random.default_rng(0)
        net = Network(width=1 / 16, classes=4, global_size=32, dtype="float64", init="he-whole", seed=3)
        luminance, target = rng.uniform(-1, 1, (2, side, side, 1)), rng.uniform(0, 1, (2, side // 2, side // 2, 2))
        chroma, logits, traces = forward(net, luminance)
        _, dchroma = chroma_loss.value_and_gradient(chroma, target)
        _, dlogits = class_loss.value_and_gradient(logits, np.array([3, 1]), 30 * ALPHA)  # so that both count
        others = ways(net, traces, dchroma, dlogits)
        try:
            found = function(module, "backward")(net, traces, dchroma.copy(), dlogits.copy())
        except Exception as error:
            yield title, raised(error, path)
            return
        if not isinstance(found, dict):
            yield title, f"backward must return the gradients by name, got {type(found).__name__}"
            return
        wrong = False
        for part in PARTS:
            verdict = of_part(part, found, others)
            yield part.rstrip("."), verdict if verdict == "right" else f"{verdict} ({title})"
            wrong |= verdict != "right"
        if wrong:
            return


def ways(net: Network, traces: dict, dchroma: np.ndarray, dlogits: np.ndarray) -> dict[str, dict]:
    """The right gradients under "", and what they would be if something were left out."""
    def of(c: float, s: float, only: str = "") -> dict:
        return backward(net, traces, c * dchroma, s * dlogits, only).parameters

    return {
        "": of(1, 1), "what comes back from the class scores is missing": of(1, 0),
        "what comes back from the chroma loss is missing": of(0, 1),
        "what comes back through the global branch is missing": of(1, 1, "mid-level"),
        "what comes back through the mid-level layers is missing": of(1, 1, "global branch"),
        "what comes back from the class scores counts twice": of(1, 2),
    }


def of_part(part: str, found: dict, others: dict[str, dict]) -> str:
    names = [name for name in others[""] if name.startswith(part)]
    if missing := [name for name in names if found.get(name) is None]:
        return f"no gradient of {missing[0]}"
    if shaped := [name for name in names if np.shape(found[name]) != others[""][name].shape]:
        return f"{shaped[0]} has shape {list(np.shape(found[shaped[0]]))}, wanted {list(others[''][shaped[0]].shape)}"
    for why, gradients in others.items():
        if all(np.allclose(found[n], gradients[n], rtol=1e-7, atol=1e-14) for n in names):
            return why or "right"
    ours, right = (np.concatenate([np.ravel(g[n]) for n in names]) for g in (found, others[""]))
    if np.allclose(ours, 0):
        return "no gradient arrives here"
    factor = float(ours @ right) / float(ours @ ours) if (ours @ ours) else 0.0
    if factor and np.allclose(factor * ours, right, rtol=1e-6):
        return f"{1 / factor:.4g} times what it should be"
    off = np.linalg.norm(ours - right) / np.linalg.norm(right)
    return f"off by {off:.2g} of its size, in another direction"
