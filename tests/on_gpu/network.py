"""The network on the device against the reference: gradients, ten steps, CUDA graphs, the same bits. Each function is a
check: it raises AssertionError, or returns what it found."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ltbc.kernels.compare import ROUNDOFF, relative_error
from ltbc.kernels.gpu import launch
from ltbc.nn import Adadelta, Network
from ltbc.nn.graph import Replay

CLOSE = 1e-4  # float32 through 23 layers and as many activations, some near their kink
MOST_LAUNCHES = 110
Sizes = tuple[float, int, int]  # width, side of the pictures, how many


def make(sizes: Sizes, backend: str, dtype: str, wider: int = 0) -> tuple[Network, dict[str, Any]]:
    """A network off its symmetric start, and a batch of pictures (side x side + wider), the same everywhere."""
    width, side, images = sizes
    xp = launch.target().arrays if backend == "gpu" else np
    net = Network(width, classes=5, global_size=side, backend=backend, dtype=dtype, xp=xp)
    rng = np.random.default_rng(0)
    start = net.parameters.flat.get() if hasattr(net.parameters.flat, "get") else net.parameters.flat
    start = (start + 0.02 * rng.standard_normal(start.shape)).astype(np.float32)
    net.parameters.flat[...] = xp.asarray(start)
    net.refresh()
    h, w = side, side + wider
    batch = {"luminance": rng.uniform(-1, 1, (images, h, w, 1)).astype(np.float32),
             "chroma": rng.uniform(0, 1, (images, h // 2, w // 2, 2)).astype(np.float32)}
    batch = {name: xp.asarray(x.astype(net.parameters.flat.dtype)) for name, x in batch.items()}
    return net, batch | {"labels": xp.asarray(np.arange(images) % 5)}


def step_of(net: Network) -> Callable[..., Any]:
    optimizer = Adadelta(net)

    def step(**batch: Any) -> Any:
        losses = net.loss_and_gradients(**batch)
        optimizer.step()
        return losses

    return step


def total(losses: dict[str, Any]) -> float:
    return float(losses["total"])


def gradients_equal_the_reference(sizes: Sizes) -> str:
    return compare_gradients(sizes, 0)


def gradients_of_other_sizes(sizes: Sizes) -> str:
    """The low-level layers run twice, for the picture and for its resized copy."""
    return compare_gradients(sizes, 16)


def compare_gradients(sizes: Sizes, wider: int) -> str:
    (net, batch), (exact, same) = make(sizes, "gpu", "float32", wider), make(sizes, "reference", "float64", wider)
    net.loss_and_gradients(**batch)
    exact.loss_and_gradients(**same)
    errors = {name: relative_error(net.gradients.views[name], want) for name, want in exact.gradients.views.items()}
    wrong = [f"{name} is off by {error:.1e}" for name, error in errors.items() if not error < CLOSE]
    assert not wrong, f"gradients of {len(wrong)} of {len(errors)} arrays: {'; '.join(wrong)}"
    return f"largest error {max(errors.values()):.1e}"


def ten_steps(sizes: Sizes, dtype: str, allowed: float) -> str:
    (net, batch), (exact, same) = make(sizes, "gpu", dtype), make(sizes, "reference", "float64")
    ours, theirs = step_of(net), step_of(exact)
    losses = np.array([(total(ours(**batch)), total(theirs(**same))) for _ in range(10)])
    errors = np.abs(losses[:, 0] / losses[:, 1] - 1)
    assert (errors < allowed).all(), f"losses of ten steps, ours and the reference's: {losses.tolist()}"
    return f"loss {losses[0, 0]:.4f} to {losses[-1, 0]:.4f}, off by at most {errors.max():.1e}"


def ten_steps_float32(sizes: Sizes) -> str:
    return ten_steps(sizes, "float32", 10 * CLOSE)


def ten_steps_bfloat16(sizes: Sizes) -> str:
    return ten_steps(sizes, "bfloat16", 4 * ROUNDOFF["bfloat16"])


def forward_in_16_bits(sizes: Sizes) -> str:
    want, found = None, []
    exact, same = make(sizes, "reference", "float64")
    want = exact.forward(same["luminance"])
    for dtype in ("bfloat16", "float16"):
        net, batch = make(sizes, "gpu", dtype)
        got = net.forward(batch["luminance"])
        errors = [relative_error(a, b) for a, b in zip(got, want)]
        assert errors[0] < 4 * ROUNDOFF[dtype] and errors[1] < 20 * ROUNDOFF[dtype], f"{dtype}: chroma, logits {errors}"
        found.append(f"{dtype} chroma {errors[0]:.1e}, logits {errors[1]:.1e}")
    return "; ".join(found)


def same_bits_launched_and_replayed(sizes: Sizes) -> str:
    """Five steps by launches, the same once more, and as a CUDA graph."""
    found = []
    for replayed in (False, False, True):
        net, batch = make(sizes, "gpu", "bfloat16")
        step = Replay(net, step_of(net)) if replayed else step_of(net)
        losses = [total(step(**batch)) for _ in range(5)]
        flat = net.parameters.flat
        found.append((losses, (flat.get() if hasattr(flat, "get") else flat).tobytes()))
    assert found[0] == found[1], f"two runs differ; losses {found[0][0]} and {found[1][0]}"
    assert found[0] == found[2], f"the graph's run differs from the launched; losses {found[0][0]} and {found[2][0]}"
    return f"loss {found[0][0][-1]:.6f} three times"


def forward_replayed(sizes: Sizes) -> str:
    """The graph of a forward pass follows its input."""
    net, batch = make(sizes, "gpu", "bfloat16")
    forward = Replay(net, lambda luminance: net.forward(luminance))
    for k in range(4):
        picture = batch["luminance"] * (1 - k / 4)
        want = [a.tobytes() for a in net.forward(picture)]
        assert [a.tobytes() for a in forward(luminance=picture)] == want, f"call {k} differs from a launched one"
    return "four pictures"


def launches_of_a_step(sizes: Sizes) -> str:
    net, batch = make(sizes, "gpu", "bfloat16")
    step, target, names = step_of(net), launch.target(), []
    step(**batch)
    run = type(target).run
    target.run = lambda kernel, *rest: names.append(kernel) or run(target, kernel, *rest)
    try:
        step(**batch)
    finally:
        del target.run
    assert 60 < len(names) <= MOST_LAUNCHES, f"{len(names)} launches"
    return f"{len(names)} launches of our kernels"


SMALL, FULL, TINY = (0.25, 64, 3), (1.0, 224, 4), (0.03, 16, 2)
CHECKS: list[tuple[Callable[[Sizes], str], Sizes]] = [
    (gradients_equal_the_reference, SMALL), (ten_steps_float32, SMALL), (ten_steps_bfloat16, SMALL),
    (forward_in_16_bits, SMALL), (gradients_of_other_sizes, SMALL), (same_bits_launched_and_replayed, SMALL),
    (forward_replayed, FULL), (same_bits_launched_and_replayed, FULL), (launches_of_a_step, FULL),
]
