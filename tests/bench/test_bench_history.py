"""Results over commits, and a machine's page."""

import subprocess

import pytest

from bench import BenchError, history, page, report, results
from tests.bench.test_bench_pages import KERNELS, NETWORK, SCALING, THEIRS, row


def test_every_committed_version_is_a_point(monkeypatch, tmp_path):
    place = tmp_path / "bench/results/zen"
    place.mkdir(parents=True)
    monkeypatch.setattr(history, "ROOT", tmp_path)

    def git(*command):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e", *command], check=True,
                       capture_output=True)

    git("init")
    for i, seconds in enumerate((3.0, 2.0)):
        monkeypatch.setattr(results, "conditions", lambda i=i: {"date": f"2026-01-0{i + 1}", "commit": f"c{i}"})
        rows = [row(p50=seconds), row(p50=1.0, work="step: forward"), row(config="torch")]
        results.write(place / "network.csv", rows)
        git("add", ".")
        git("commit", "-m", "measured")
    (place / "network-old.csv").write_text("another,form\n1,2\n")
    found = history.runs(place)
    assert [(run.date, run.commit, [r["p50"] for r in run.rows]) for run in found] == [
        ("2026-01-01", "c0", [3.0]), ("2026-01-02", "c1", [2.0])]
    assert history.runs(tmp_path / "bench/results/none") == []
    monkeypatch.setattr(history, "RESULTS", tmp_path / "bench/results")
    assert history.main(["zen", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/zen.png").stat().st_size > 10_000
    with pytest.raises(BenchError, match="none: no results"):
        history.main(["none"])


def test_a_machines_page_has_everything_in_it():
    run = history.Run("2026-01-01", "c0", tuple(r for r in NETWORK if r["config"] == "ours" and r["ratio"]))
    text = page.page(NETWORK + KERNELS + THEIRS + SCALING, [run], "Measured on <it>.")
    for title in ("Forward pass", "Training step", "Roofline", "Layers", "Scaling", "History"):
        assert f"<h2>{title}" in text
    assert "Measured on &lt;it&gt;." in text and "width=device-width" in text
    assert text.count("<picture>") == 3 and "src='http" not in text
    assert "bfloat16, batch 8 <span class='ratio'>2.50?</span>" in text
    assert "<span class='ratio slow'>0.50</span>" in text


def test_the_page_of_the_machine_measured_last_is_written(tmp_path, capsys):
    folder = tmp_path / "here"
    folder.mkdir()
    results.write(folder / "network.csv", NETWORK)
    assert report.main([str(folder), "--html", str(tmp_path / "page.html")]) == 0
    assert "<h2>Forward pass" in (tmp_path / "page.html").read_text() and "page.html: here" in capsys.readouterr().out
