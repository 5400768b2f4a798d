"""One network for inputs of changing shapes: what earlier ones left behind changes nothing."""

import numpy as np
import pytest

from ltbc.nn import Adadelta, Network

SHAPES = [  # pictures, height, width, with a global input of its own
    (2, 32, 32, False), (2, 40, 24, False), (1, 24, 40, False), (3, 40, 24, True), (3, 40, 24, False),
    (2, 32, 32, True), (5, 32, 32, False), (2, 24, 24, False), (2, 32, 32, False),
]


def make(backend, dtype, **settings):
    settings = {"width": 0.06, "classes": 5, "global_size": 32} | settings
    net = Network(**settings, backend=backend, dtype=dtype, seed=1)
    net.parameters.flat += np.random.default_rng(0).normal(size=net.parameters.flat.shape).astype("f4") * 0.02
    net.refresh()
    return net


def batch_of(n, height, width, foreign, dtype):
    rng = np.random.default_rng([n, height, width, foreign])
    batch = {"luminance": rng.uniform(-1, 1, (n, height, width, 1)),
             "chroma": rng.uniform(0, 1, (n, height // 2, width // 2, 2))}
    if foreign:
        batch["global_input"] = rng.uniform(-1, 1, (n, 32, 32, 1))
    dtype = np.float64 if dtype == "float64" else np.float32
    return {name: x.astype(dtype) for name, x in batch.items()} | {"labels": rng.integers(0, 5, n)}


def everything_of(net, batch):
    """Losses, gradients, predictions, global features and colors of given features, all as copies."""
    losses = net.loss_and_gradients(**batch)
    found = {f"loss {name}": np.array(x) for name, x in losses.items()} | {"gradients": net.gradients.flat.copy()}
    found["chroma"], found["logits"] = net.forward(batch["luminance"], batch.get("global_input"))
    picture = batch.get("global_input", batch["luminance"][:, :32, :32])
    if picture.shape[1:3] == (32, 32):
        found["vector"], found["seen"] = net.global_features(picture)
        found["local"] = net.colorize_local(batch["luminance"], found["vector"])
    return found


@pytest.mark.parametrize("backend, dtype", [
    ("reference", "float64"), ("reference", "bfloat16"), pytest.param("cpu", "float32", marks=pytest.mark.slow),
])
@pytest.mark.parametrize("micro_batch", [None, 2])
def test_sizes_in_turns_give_the_bits_of_a_network_of_their_own(backend, dtype, micro_batch):
    used = make(backend, dtype, micro_batch=micro_batch)
    for shape in SHAPES:
        batch = batch_of(*shape, dtype)
        got = everything_of(used, batch)
        want = everything_of(make(backend, dtype, micro_batch=micro_batch), batch)
        for name, x in want.items():
            assert got[name].tobytes() == x.tobytes(), (shape, name)


@pytest.mark.parametrize("settings", [{"global_size": 0}, {"fusion": "relu"}])
def test_training_on_two_sizes_in_turns(settings):
    """Ten steps, with predictions of other sizes between them: as if each step had a network of its own."""
    net, other = (make("reference", "float64", **settings) for _ in range(2))
    ours, theirs = Adadelta(net), Adadelta(other)
    for step in range(10):
        batch = batch_of(*[(2, 32, 32, False), (3, 24, 40, False)][step % 2], "float64")
        loss = net.loss_and_gradients(**batch)["total"]
        ours.step()
        net.forward(batch_of(1, 16, 48, False, "float64")["luminance"])
        fresh = make("reference", "float64", **settings)
        fresh.parameters.flat[...] = other.parameters.flat
        fresh.refresh()
        assert fresh.loss_and_gradients(**batch)["total"] == loss, step
        other.gradients.flat[...] = fresh.gradients.flat
        theirs.step()
        assert np.array_equal(net.parameters.flat, other.parameters.flat), step


def test_results_are_the_callers_own():
    """None of what a call gave is changed by later calls of the same or of other shapes."""
    net = make("reference", "float64")
    shapes = [SHAPES[0], SHAPES[0], SHAPES[1], SHAPES[0]]
    kept = [(shape, everything_of(net, batch_of(*shape, "float64"))) for shape in shapes]
    first = kept[0][1]
    for shape, found in kept:
        if shape == SHAPES[0]:
            assert all(np.array_equal(found[name], x) for name, x in first.items())
    vector, seen = net.global_features(batch_of(*SHAPES[0], "float64")["luminance"])
    copies = vector.copy(), seen.copy()
    net.global_features(batch_of(5, 32, 32, False, "float64")["luminance"][:2])
    assert np.array_equal(vector, copies[0]) and np.array_equal(seen, copies[1])


def test_a_large_picture_gives_its_buffers_back(monkeypatch):
    monkeypatch.setattr("ltbc.nn.network.CACHED_PIXELS", 1000)
    net, vector = make("reference", "float32"), np.zeros((1, 15), np.float32)
    for call in (lambda x: net.forward(x), lambda x: net.colorize_local(x, vector)):
        call(np.zeros((1, 16, 16, 1), np.float32))
        assert net.inference.arrays, "small ones are kept"
        call(np.zeros((1, 40, 40, 1), np.float32))
        assert not net.inference.arrays
