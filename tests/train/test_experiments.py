"""The paper's experiments: their statistics on errors made up for it, and whole experiments on a few pictures."""

import numpy as np
import pytest
from PIL import Image

from ltbc.nn import Network
from ltbc.train.experiments import arms, precision, results, style
from ltbc.train.experiments.__main__ import main
from tests.tools.drawn import draw_folder

TINY = ["--steps", "3", "--seeds", "2", "--width", "0.03", "--crop", "16", "--batch", "2"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for module in ("ltbc.train.options", "ltbc.train.experiments.results"):
        monkeypatch.setattr(f"{module}.default_backend", lambda: "reference")
    draw_folder(tmp_path / "photos/train", each=3)
    draw_folder(tmp_path / "photos/val", each=2)
    return tmp_path / "photos"


def test_a_difference_is_told_from_noise():
    rng = np.random.default_rng(0)
    base = rng.uniform(50, 300, (3, 400))
    better = results.difference(base / 2, base)
    assert better["mean"] == pytest.approx(10 * np.log10(2)) and results.verdict(better) == "better"
    assert better["low"] == pytest.approx(better["high"]) and better["seeds"] == pytest.approx([better["mean"]] * 3)
    assert results.verdict(results.difference(base, base / 2)) == "worse"
    noise = results.difference(base * rng.uniform(0.5, 1.5, base.shape), base)
    assert noise["low"] < 0 < noise["high"] and results.verdict(noise) == "within noise"
    assert results.verdict({"low": 0.1, "high": 0.3, "seeds": [0.4, -0.1, 0.3]}) == "within noise"


@pytest.mark.parametrize("seeds, steps, enough", [(3, 200, True), (2, 1000, False), (5, 8, False), (1, 8, False)])
def test_too_few_seeds_or_steps_name_no_winner(seeds, steps, enough):
    base = np.random.default_rng(0).uniform(50, 300, (seeds, 400))
    for ours, told in ((base / 2, "better"), (2 * base, "worse")):
        verdict = results.verdict(results.difference(ours, base), steps)
        assert verdict == (told if enough else "too few to tell: wanted 3 seeds of 200 steps")


def test_the_interval_is_that_of_the_mean_of_paired_pictures():
    """Of one seed: the interval has the width that the pictures' scatter gives, 2 * 1.96 sigma / sqrt(N)."""
    rng = np.random.default_rng(1)
    theirs = np.full((1, 1000), 100.0)
    ours = 100 + rng.normal(0, 20, (1, 1000))
    d = results.difference(ours, theirs)
    width = 2 * 1.96 * 10 / np.log(10) * 20 / 100 / np.sqrt(1000)
    assert d["high"] - d["low"] == pytest.approx(width, rel=0.1)


def test_partners_are_of_the_same_class_or_of_another():
    labels = np.array([0, 0, 1, 1, 1, 2, 2])
    near, far = style.partners(labels, near=True), style.partners(labels, near=False)
    assert (labels[near] == labels).all() and (near != np.arange(7)).all() and (labels[far] != labels).all()
    with pytest.raises(style.TrainError, match="two held-out pictures a class"):
        style.partners(np.array([0, 1, 1]), near=True)


def test_an_experiment_trains_measures_and_draws_once(photos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    call = ["global", "--photos", str(photos), "--out", str(out), *TINY]
    assert main(call) == 0
    runs = {run.name for run in (out / "runs").iterdir()}
    assert runs == {f"{arm}-seed{seed}" for arm in ("base", "global-size-0") for seed in (0, 1)}
    table = (out / "global.md").read_text()
    assert table in capsys.readouterr().out and "2 seeds of 3 steps" in table
    rows = [line for line in table.splitlines() if line.startswith(("| with global branch |", "| without |"))]
    with_branch, without, _ = rows
    assert without.endswith("| – | – |") and not with_branch.endswith("| – |")  # no classes without the branch
    for name in ("global.png", "global.jpg"):
        assert np.ptp(np.asarray(Image.open(out / name))) > 100

    monkeypatch.setattr(arms, "train", lambda words: pytest.fail("trained again"))
    assert main(call) == 0 and (out / "global.md").read_text() == table
    assert main(["style", *call[1:]]) == 0  # shares the runs of the base
    rows = [line for line in (out / "style.md").read_text().splitlines() if line.startswith(("| 0 |", "| 1 |"))]
    assert rows[0].startswith("| 0 | 0.00 | 0.00 |") and len(rows) == 2

    assert main([*call, "--width", "0.05"]) == 2
    assert "trained with width 0.03, wanted 0.05: give another --out" in capsys.readouterr().err


def test_bfloat16_learns_as_float32_does(photos, tmp_path, capsys):
    """Loss by loss for as long as roundings have not grown, and in the mean of 40 steps."""
    out = tmp_path / "out"
    assert main(["precision", "--photos", str(photos), "--out", str(out), "--steps", "40", "--seeds", "2", "--width",
                 "0.1", "--crop", "32", "--batch", "4", "--decay", "0"]) == 0
    runs = {label: [out / "runs" / f"{arms.name_of(arm)}-seed{seed}" for seed in range(2)]
            for label, arm in arms.PRECISION.arms.items()}
    reference, exact, rounded = (precision.losses(group) for group in runs.values())
    assert reference.shape == (2, 40) and np.ptp(reference.mean(0)) > 0.1 * reference.mean()  # there is a way to go
    np.testing.assert_allclose(exact[:, :5], reference[:, :5], rtol=1e-3)
    np.testing.assert_allclose(rounded[:, :5], reference[:, :5], rtol=0.03)
    assert not np.array_equal(rounded, exact)
    assert rounded.mean() == pytest.approx(reference.mean(), rel=0.03)
    assert (out / "precision.md").read_text() in capsys.readouterr().out
    assert np.ptp(np.asarray(Image.open(out / "precision.png"))) > 100


def test_an_experiment_says_what_is_missing(photos, tmp_path, capsys):
    assert main(["fusion", "--photos", str(photos / "train"), "--out", str(tmp_path / "out")]) == 2
    assert "wanted sub-folders train and val" in capsys.readouterr().err
    assert main(["fusion", "--photos", str(photos), "--out", str(tmp_path / "out"), "--seeds", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_own_features_give_the_network_its_own_colors():
    net = Network(0.03, ("a", "b"), 16, seed=5)
    rgb = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    own, _ = style.chroma.predict(net, rgb)
    assert style.ab_with(net, rgb, style.features(net, rgb)) == pytest.approx(own, abs=1e-4)
