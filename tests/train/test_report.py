"""What is shown of a run: the page, the samples, TensorBoard's events."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ltbc.train.leavings import METRICS, SAMPLES
from ltbc.train.report import main, page
from tests.tools.drawn import draw_folder
from tests.tools.runs import error_line, lines, new, seven_pictures, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    held_out = draw_folder(root / "held out", classes=("blue",), each=5)
    how = ("--held-out", held_out, "--validate-every", 3, "--average", 0.9)
    assert new(seven_pictures(root / "photos"), root / "run", 9, *how) == 0
    return root / "run"


def test_the_page_is_one_file_with_curves_samples_and_figures(run, tmp_path, capsys):
    pytest.importorskip("skimage")
    with open(run / METRICS, "a") as file:
        file.write('{"step": 10, "lo')
    out = tmp_path / "a.html"
    assert main([str(run), "--out", str(out)]) == 0 and f"look at {out}" in capsys.readouterr().out
    text = out.read_text()
    pictures = re.findall(r"data:image/(?:png|jpeg);base64,([^\"]+)", text)
    assert len(pictures) == 1 + 3 and "http" not in text
    for data in pictures:
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).std() > 5
    best = min(m["held_out"]["chroma_error"] for m in lines_of(run) if "held_out" in m)
    assert f"chroma error {best:.2f} (grey" in text and "average of the weights" in text
    assert "step 3</h3>" in text and "waiting for pictures" in text and "<td>validate_every</td><td>3</td>" in text


def lines_of(run):
    whole = [line for line in (run / METRICS).read_text().splitlines() if line.endswith("}")]
    (run / METRICS).write_text("\n".join(whole) + "\n")
    return lines(run)


def test_a_run_without_measurements_has_a_page(tmp_path, capsys):
    assert new(seven_pictures(tmp_path / "photos"), tmp_path / "run", 2) == 0
    assert "no-such" not in page(tmp_path / "run") and not (tmp_path / "run" / SAMPLES).exists()
    capsys.readouterr()
    assert main([str(tmp_path)]) == 2 and "no steps in metrics.jsonl; is that a run?" in capsys.readouterr().err
    assert main([str(tmp_path / "run"), "--out", str(tmp_path / "nowhere/x.html")]) == 2


def test_events_are_scalars_of_every_step(tmp_path):
    pytest.importorskip("tensorboardX", reason="that event files are written needs pip install tensorboardX")
    photos, run = seven_pictures(tmp_path / "photos"), tmp_path / "run"
    how = ("--events", "tensorboard", "--held-out", draw_folder(tmp_path / "h", each=2))
    assert new(photos, run, 4, *how) == 0 and train("--resume", run, "--steps", 6) == 0
    assert len(list((run / "events").iterdir())) == 2
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = loader.EventAccumulator(str(run / "events"))
    found.Reload()
    told = {m["step"]: m["loss"] for m in lines(run) if "loss" in m}
    assert {e.step: e.value for e in found.Scalars("loss/total")} == pytest.approx(told)
    assert [e.step for e in found.Scalars("held_out/chroma_error")] == [4, 6]


def test_events_without_their_writer_are_refused_early(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    assert new(seven_pictures(tmp_path / "photos"), tmp_path / "run", 4, "--events", "tensorboard") == 2
    assert "pip install 'let-there-be-color[tensorboard]'" in error_line(capsys) and not (tmp_path / "run").exists()
