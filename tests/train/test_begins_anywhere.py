"""Runs that begin from weights, with parts that stay, and go on with other photographs."""

import numpy as np
import pytest

from ltbc.nn import Network
from ltbc.nn.weights import RELEASED
from ltbc.train.leavings import WEIGHTS
from tests.tools.drawn import draw, draw_folder
from tests.tools.runs import assert_same_bits, error_line, load, new, seven_pictures, train


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return seven_pictures(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def weights(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("weights") / "run"
    assert new(photos, run, 3, "--fusion", "relu") == 0
    return run / WEIGHTS


def parts(path):
    return Network.load(path).parameters.views


def begun(photos, run, *how):
    return train(photos, "--out", run, "--batch", 3, "--backend", "reference", *how)


def test_begins_from_weights_with_their_settings(photos, weights, tmp_path):
    assert begun(photos, tmp_path / "run", "--init", weights, "--steps", 0) == 0
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == weights.read_bytes()
    settings = load(tmp_path / "run").settings
    assert (settings["width"], settings["fusion"], settings["crop"]) == (0.03, "relu", 16)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert begun(photos, whole, "--init", weights, "--steps", 5) == 0
    assert begun(photos, halves, "--init", weights, "--steps", 2) == 0
    assert train("--resume", halves, "--steps", 5) == 0
    assert_same_bits(whole, halves)


def test_other_classes_get_a_last_layer_of_their_own(weights, tmp_path, capsys):
    photos = draw_folder(tmp_path / "photos", classes=("a", "b", "c"), each=2)
    assert begun(photos, tmp_path / "run", "--init", weights, "--steps", 0) == 0
    assert "of 2 other classes: the last layer of the class branch is drawn anew, for 3" in capsys.readouterr().out
    old, now = parts(weights), parts(tmp_path / "run" / WEIGHTS)
    assert now["class.1.weight"].shape[-1] == 3 and now["class.1.weight"].std() > 0
    assert all(np.array_equal(old[name], now[name]) for name in old if not name.startswith("class.1."))


def test_the_released_weights_have_a_name(photos, tmp_path):
    assert begun(photos, tmp_path / "run", "--init", "released", "--steps", 0) == 0
    old, now = parts(RELEASED), parts(tmp_path / "run" / WEIGHTS)
    assert np.array_equal(old["low.3.weight"], now["low.3.weight"]) and load(tmp_path / "run").settings["crop"] == 96


@pytest.mark.parametrize("how, says", [
    (["--init", "WEIGHTS", "--width", "0.1"], "--width 0.1 does not fit --init"),
    (["--init", "WEIGHTS", "--global-size", "32"], "--global-size 32 does not fit"),
    (["--init", "nowhere"], "no such weights file (or give one of he,"),
    (["--init", "PHOTO"], "--init"), (["--freeze", "low,high"], "must be of low, global"),
    (["--changed"], "--changed belongs to --resume"),
])
def test_what_does_not_fit_is_one_line(photos, weights, tmp_path, capsys, how, says):
    files = {"WEIGHTS": str(weights), "PHOTO": str(photos / "blue/1.png")}
    assert begun(photos, tmp_path / "run", "--steps", 1, *(files.get(word, word) for word in how)) == 2
    assert says in error_line(capsys) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("frozen", ["low", "mid,low", "fusion,class,color", "global_fc,global"])
def test_frozen_parts_stay_as_they_are(photos, weights, tmp_path, frozen):
    assert begun(photos, tmp_path / "run", "--init", weights, "--steps", 3, "--freeze", frozen) == 0
    old, now = parts(weights), parts(tmp_path / "run" / WEIGHTS)
    for name in old:
        assert np.array_equal(old[name], now[name]) == (name.partition(".")[0] in frozen.split(",")), name
    assert train("--resume", tmp_path / "run", "--steps", 5, "--freeze", "") == 0, "and may be let go"
    after = parts(tmp_path / "run" / WEIGHTS)
    assert not any(np.array_equal(now[name], after[name]) for name in now if name.endswith("weight"))


# other photographs


def test_goes_on_with_more_photographs_when_asked_to(tmp_path, capsys):
    photos, run = draw_folder(tmp_path / "photos", each=3), tmp_path / "run"
    assert new(photos, run, 4) == 0
    draw(70).save(photos / "blue/7.png")
    draw(71).save(photos / "blue/8.png")
    (photos / "orange/1.png").unlink()
    draw(72).save(photos / "orange/2.png")
    capsys.readouterr()
    assert train("--resume", run, "--steps", 6) == 2
    said = error_line(capsys)
    assert "2 came, 1 went, 1 changed; bring them back, go on with those that are there (--changed)" in said
    before = load(run)
    assert train("--resume", run, "--steps", 6, "--changed") == 0
    assert "2 came, 1 went, 1 changed; goes on" in capsys.readouterr().out
    assert load(run).fingerprint != before.fingerprint and load(run).progress.position == 18
    assert train("--resume", run, "--steps", 7) == 0, "these are its pictures now"


def test_goes_on_with_another_class(tmp_path, capsys):
    photos, run = draw_folder(tmp_path / "photos", each=3), tmp_path / "run"
    assert new(photos, run, 4) == 0
    draw_folder(photos / "more", classes=("boats",), each=2)
    capsys.readouterr()
    assert train("--resume", run, "--changed") == 0  # at its end: nothing is trained
    assert "2 came, 1 class more (more/boats); goes on; the last layer of the class branch is drawn anew" in (
        capsys.readouterr().out)
    assert train("--resume", run, "--steps", 5, "--changed") == 0
    after = load(run)
    assert after.classes == ("blue", "more/boats", "orange") and after.progress.step == 5
    assert Network.load(run / WEIGHTS).settings.classes == after.classes
