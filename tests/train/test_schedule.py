"""The course of the learning rate, clipping, accumulation, the average of the weights, and what is measured of them."""

import math

import numpy as np
import pytest

from ltbc.nn import Network
from ltbc.train import schedule
from ltbc.train.leavings import AVERAGE, BEST, WEIGHTS
from ltbc.train.pictures.folder import scan
from ltbc.train.run import Run
from ltbc.train.score import evaluate
from tests.tools.drawn import draw_folder
from tests.tools.runs import assert_same_bits, error_line, lines, load, new, seven_pictures, steps, train


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return seven_pictures(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("how, expected", [
    ({"decay": 1.0, "schedule": "cosine"}, [(1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]),
    ({"decay": 0.5, "schedule": "cosine"}, [1] * 5 + [(1 + math.cos(math.pi * k / 4)) / 2 for k in (1, 2, 3)]),
    ({"warm_up": 4}, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
    ({"warm_up": 2, "decay": 0.5}, [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
])
def test_the_course_of_the_learning_rate(how, expected):
    settings = {"lr": 3.0, "decay": 0.0, "schedule": "linear", "warm_up": 0} | how
    np.testing.assert_allclose([schedule.rate(settings, k, k / 8) for k in range(8)], [3 * x for x in expected])
    assert schedule.rate(settings | {"warm_up": 0, "decay": 1.0}, 9, 1.5) == pytest.approx(3e-6), "never 0"


@pytest.mark.parametrize("size", [7, schedule.BLOCK + 5])
def test_a_long_gradient_is_shortened_and_a_short_one_stays(size):
    g = np.random.default_rng(0).normal(size=size).astype(np.float32)
    length, was = float(np.linalg.norm(g.astype(np.float64))), g.copy()
    assert schedule.norm(g) == pytest.approx(length)
    schedule.clip(g, 2 * length)
    assert np.array_equal(g, was)
    schedule.clip(g, length / 3)
    np.testing.assert_allclose(g, was / 3, rtol=1e-5)


def test_the_average_is_young_at_first_and_then_slow(monkeypatch):
    monkeypatch.setattr(schedule, "BLOCK", 100)
    rng = np.random.default_rng(0)
    points, average, want = rng.normal(size=(40, schedule.BLOCK + 3)), np.zeros(schedule.BLOCK + 3), 0.0
    for k, p in enumerate(points):
        schedule.follow(average, p, 0.8, k)
        d = min(0.8, (1 + k) / (10 + k))
        want = d * want + (1 - d) * p
    np.testing.assert_allclose(average, want, rtol=1e-9, atol=1e-12)


def test_what_is_clipped_is_the_gradient_before_its_scale(photos, tmp_path, monkeypatch):
    seen = []
    clip = schedule.clip
    monkeypatch.setattr(schedule, "clip", lambda g, limit: clip(g, limit) or seen.append((limit, schedule.norm(g))))
    assert new(photos, tmp_path / "run", 3, "--clip", 1e-4, "--scale", 50) == 0
    assert len(seen) == 3 and all(limit == pytest.approx(0.005) and n <= 0.00501 for limit, n in seen)


def test_parts_of_a_batch_give_its_gradients(photos, tmp_path, capsys):
    assert new(photos, tmp_path / "whole", 4, "--batch", 6) == 0
    assert new(photos, tmp_path / "parts", 4, "--batch", 6, "--accumulate", 3) == 0
    np.testing.assert_allclose(steps(tmp_path / "whole"), steps(tmp_path / "parts"), rtol=1e-4)
    capsys.readouterr()
    assert new(photos, tmp_path / "x", 1, "--accumulate", 4) == 2
    assert "--accumulate 4 is more than the pictures of a batch, 3 a process" in error_line(capsys)


def test_the_average_is_saved_resumed_and_measured_beside_the_weights(photos, tmp_path):
    held_out = draw_folder(tmp_path / "held out", classes=("blue", "new"), each=2)
    how = ("--average", 0.9, "--held-out", held_out, "--validate-every", 2, "--checkpoint-every", 3, "--lr", 3)
    how = (*how, "--schedule", "cosine", "--decay", 0.5, "--warm-up", 2, "--clip", 1)
    whole = tmp_path / "whole"
    assert new(photos, whole, 8, *how) == 0
    at = [m["step"] for m in lines(whole) if "held_out" in m]
    assert at == [2, 4, 6, 8]
    told = [m for m in lines(whole) if "held_out" in m][-1]
    pictures = scan(held_out, 16)
    for name, file in (("held_out", WEIGHTS), ("held_out_average", AVERAGE)):
        score = evaluate(Network.load(whole / file), pictures)
        assert told[name]["chroma_error"] == pytest.approx(score.chroma_error)
        assert told[name]["top5"] == 100 and score.top5 == 100, "among two classes; of those of the one that is known"
    assert not np.array_equal(load(whole).arrays["average"], load(whole).arrays["parameters"])
    (whole / AVERAGE).unlink()
    assert train("--resume", whole) == 0 and (whole / AVERAGE).exists()


def test_a_run_with_schedule_and_average_resumes_with_the_same_bits(photos, tmp_path):
    how = ("--average", 0.9, "--schedule", "cosine", "--decay", 0, "--warm-up", 4, "--clip", 1e-3)
    assert new(photos, tmp_path / "whole", 7, *how) == 0 and new(photos, tmp_path / "halves", 3, *how) == 0
    assert train("--resume", tmp_path / "halves", "--steps", 7) == 0
    assert_same_bits(tmp_path / "whole", tmp_path / "halves")


def test_the_best_weights_are_kept(photos, tmp_path, monkeypatch):
    """Errors that are known: the smallest is that of the average at step 4."""
    errors = iter([9.0, 8.0, 7.0, 3.0, 5.0, 4.0, 9.0, 3.5, 6.0, 6.0])
    held_out = draw_folder(tmp_path / "held out", classes=("new",), each=2)
    measure, kept = evaluate, {}

    def stated(*how):
        score = measure(*how)
        score.chroma_error = next(errors)
        return score

    monkeypatch.setattr("ltbc.train.run.evaluate", stated)
    save = Run.weights
    monkeypatch.setattr(Run, "weights", lambda run, average=False: kept.setdefault(
        (run.progress.step, average), save(run, average)))
    how = ("--average", 0.9, "--held-out", held_out, "--validate-every", 2, "--lr", 3)
    assert new(photos, tmp_path / "run", 5, *how) == 0 and train("--resume", tmp_path / "run", "--steps", 8) == 0
    assert (tmp_path / "run" / BEST).read_bytes() == kept[4, True] != kept[5, False]
