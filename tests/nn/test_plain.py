"""`nn/plain.py`: the plain text of forward and backward gives every number that the network gives."""

import numpy as np
import pytest

from ltbc.kernels import chroma_loss, class_loss
from ltbc.nn import ALPHA, Network
from ltbc.nn.plain import backward, forward
from tests import ROOT
from tests.kernels.test_derivations import differences

CASES = {  # settings, sides of the picture
    "one size": (dict(global_size=64), (64, 64)),
    "another size, so a copy": (dict(global_size=32), (64, 48)),
    "no global branch": (dict(global_size=0), (32, 64)),
    "relu, sigmoid classes, three channels": (dict(global_size=32, fusion="relu", class_loss="sigmoid",
                                                   color_space="rgb"), (32, 32)),
}


def both_ways(net, luminance, target, labels):
    """(chroma, logits, gradients) of the plain text."""
    chroma, logits, traces = forward(net, luminance)
    _, dchroma = chroma_loss.value_and_gradient(chroma, target)
    dlogits = None
    if logits is not None:
        _, dlogits = class_loss.value_and_gradient(logits, labels, ALPHA, net.settings.class_loss)
    return chroma, logits, backward(net, traces, dchroma, dlogits), (traces, dchroma, dlogits)


def case(name):
    settings, sides = CASES[name]
    rng = np.random.default_rng(1)
    classes = 4 if settings["global_size"] else 0
    net = Network(width=1 / 16, classes=classes, **settings, dtype="float64", init="he-whole", seed=2)
    luminance = rng.uniform(-1, 1, (3, *sides, 1))
    chroma = rng.uniform(0, 1, (3, sides[0] // 2, sides[1] // 2, 3 if "color_space" in settings else 2))
    return net, luminance, chroma, np.array([0, 3, 1])


@pytest.mark.parametrize("name", CASES)
def test_every_number_is_the_networks(name):
    net, luminance, target, labels = case(name)
    chroma, logits, found, _ = both_ways(net, luminance, target, labels)
    for ours, theirs in zip((chroma, logits), net.forward(luminance)):
        assert (ours is None and theirs is None) or np.allclose(ours, theirs, rtol=1e-12, atol=0)
    net.loss_and_gradients(luminance, target, labels)
    assert found.parameters.keys() == net.gradients.views.keys()
    for parameter, gradient in net.gradients.views.items():
        ours, size = found.parameters[parameter], abs(gradient).max()
        assert size > 0 and np.allclose(ours, gradient, rtol=1e-9, atol=1e-12 * size), parameter


def test_the_pictures_gradient_is_that_of_differences():
    net, luminance, target, labels = case("one size")

    def loss(x):
        chroma, logits, _ = forward(net, x)
        return chroma_loss.value_and_gradient(chroma, target)[0] + ALPHA * class_loss.value_and_gradient(
            logits, labels)[0]

    found = both_ways(net, luminance, target, labels)[2]
    v = np.random.default_rng(3).normal(size=luminance.shape)
    h = 1e-6
    assert (loss(luminance + h * v) - loss(luminance - h * v)) / (2 * h) == pytest.approx(
        (found.luminance * v).sum(), rel=1e-5)


def test_the_readme_shows_what_its_example_prints(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "nn" / "README.md").read_text()
    assert "```python" in text and differences(text) == []


def test_the_forks_add_up_and_the_two_ways_do():
    net, luminance, target, labels = case("one size")
    _, _, found, (traces, dchroma, dlogits) = both_ways(net, luminance, target, labels)
    ways = [backward(net, traces, dchroma, dlogits, only=way) for way in ("mid-level", "global branch")]
    assert np.allclose(sum(way.luminance for way in ways), found.luminance, rtol=1e-9, atol=1e-15)
    assert not ways[0].forks["global branch"].any() and ways[0].forks["mid-level"].any()
    color_only = backward(net, traces, dchroma, 0 * dlogits)
    assert not color_only.forks["class scores"].any() and color_only.forks["global vector"].any()
    class_only = backward(net, traces, 0 * dchroma, dlogits)
    assert not class_only.forks["mid-level"].any() and class_only.forks["global branch"].any()
