"""Classes in equal shares, and colors that count more."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from ltbc.nn import Network
from ltbc.train.pictures.balance import balanced
from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.stream import batches
from ltbc.train.run import CHROMA
from tests.tools.drawn import draw_folder
from tests.tools.runs import assert_same_bits, new, train


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Nine pictures of one class, three of the second, one of the third."""
    folder = tmp_path_factory.mktemp("photos")
    for name, each in (("many", 9), ("some", 3), ("one", 1)):
        draw_folder(folder, classes=(name,), each=each)
    return folder


def test_each_round_holds_every_class_and_each_class_all_its_pictures(photos):
    pictures = scan(photos, 24)
    chosen = balanced(pictures, 5, np.arange(81))
    labels = pictures.labels[chosen]
    assert all(sorted(labels[k : k + 3]) == [0, 1, 2] for k in range(0, 81, 3))
    assert len({tuple(labels[k : k + 3]) for k in range(0, 81, 3)}) == 6, "in every order"
    for label, each in ((0, 9), (1, 1), (2, 3)):
        own = [i for i in chosen if pictures.labels[i] == label]
        for k in range(0, 27, each):
            assert len(set(own[k : k + each])) == each, "all, before one comes again"
    assert chosen != balanced(pictures, 6, np.arange(81)) and chosen[30:40] == balanced(pictures, 5, np.arange(30, 40))


def test_processes_share_balanced_batches(photos):
    pictures = scan(photos, 24)
    whole = list(islice(batches(pictures, 6, 24, 1, 12, sampling="classes"), 4))
    parts = [list(islice(batches(pictures, 6, 24, 1, 12, rank=r, ranks=2, sampling="classes"), 4)) for r in range(2)]
    for k, batch in enumerate(whole):
        assert np.array_equal(np.concatenate([part[k].pixels for part in parts]), batch.pixels)
        assert Counter(batch.labels.tolist()) == {0: 2, 1: 2, 2: 2}


def test_a_balanced_and_colorful_run_resumes_with_the_same_bits(photos, tmp_path):
    how = ("--sampling", "classes", "--colorful", 2)
    assert new(photos, tmp_path / "whole", 7, *how) == 0 and new(photos, tmp_path / "halves", 3, *how) == 0
    assert train("--resume", tmp_path / "halves", "--steps", 7) == 0
    assert_same_bits(tmp_path / "whole", tmp_path / "halves")


# colors that count more


def test_weighted_errors_and_their_gradients():
    """The loss is the weighted mean; its gradient is what differences give along a direction, in parts, too."""
    rng = np.random.default_rng(0)
    x, t = rng.uniform(-1, 1, (4, 16, 16, 1)), rng.uniform(0.3, 0.7, (4, 8, 8, 2))
    w, labels = rng.uniform(0.2, 3, (4, 8, 8, 1)), np.array([0, 1, 2, 0])
    for micro_batch in (None, 2):
        net = Network(0.05, 3, 16, dtype="float64", seed=1, micro_batch=micro_batch)
        net.parameters.flat += 0.02 * rng.normal(size=net.parameters.flat.size)
        net.refresh()

        def loss(net=net):
            return net.loss_and_gradients(x, t, labels, alpha=0.1, weights=w)

        predicted, _ = net.forward(x)
        assert float(loss()["chroma"]) == pytest.approx(float((w * (predicted - t) ** 2).mean()))
        gradient, at = net.gradients.flat.copy(), net.parameters.flat.copy()
        direction = rng.normal(size=at.size)
        ends = []
        for h in (1e-6, -1e-6):
            net.parameters.flat[...] = at + h * direction
            net.refresh()
            ends.append(float(loss()["total"]))
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(gradient @ direction), rel=1e-5)


def test_the_weights_are_those_of_the_formula(photos, tmp_path, monkeypatch):
    seen = []
    gradients = Network.loss_and_gradients
    monkeypatch.setattr(Network, "loss_and_gradients", lambda net, x, chroma, *a, **how: seen.append(
        (chroma, how["weights"])) or gradients(net, x, chroma, *a, **how))
    assert new(photos, tmp_path / "run", 2, "--colorful", 3) == 0
    for chroma, weights in seen[-2:]:
        far = np.hypot(*np.moveaxis(220 * chroma - 110, 3, 0))
        np.testing.assert_allclose(weights[..., 0], (1 + 3 * far / CHROMA) / 4, rtol=1e-5)
    assert new(photos, tmp_path / "plain", 1) == 0 and seen[-1][1] is None
