"""What the benchmarks leave behind: files of runs that were stopped, names of machines, growth, and README.md."""

import re

import numpy as np
import pytest
import torch

from bench import BenchError, report, results, scaling
from bench import all as everything
from bench.__main__ import main
from bench.measure import machine, programs, trials
from bench.torch import ops as torch_ops

SMALL = ["--width", "0.03", "--size", "16", "--backend", "reference", "--dtype", "float32"]


@pytest.mark.parametrize("family, model, name", [
    (23, 1, "Zen"), (23, 49, "Zen 2"), (25, 1, "Zen 3"), (25, 17, "Zen 4"), (25, 97, "Zen 4"), (26, 2, "Zen 5"),
    (26, 68, "Zen 5"), (99, 0, ""),
])
def test_amds_processors_are_named(family, model, name):
    found = {"vendor_id": "AuthenticAMD", "cpu family": str(family), "model": str(model)}
    assert machine.microarchitecture(found) == name
    assert machine.microarchitecture(found | {"vendor_id": "GenuineIntel"}) == ""


def test_a_folder_is_named_after_the_machine(monkeypatch):
    monkeypatch.setattr(machine, "core_count", lambda: 2)
    monkeypatch.setattr(machine, "gpu_name", lambda: "")
    fields = {"model name": "AMD EPYC", "vendor_id": "AuthenticAMD", "cpu family": "26", "model": "2"}
    monkeypatch.setattr(machine, "cpu_fields", lambda: fields)
    assert machine.short_name() == "zen5-2-cores" and machine.cpu_name().startswith("AMD EPYC, Zen 5 (family 26")
    monkeypatch.setattr(machine, "cpu_fields", lambda: {"model name": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.7GHz"})
    assert machine.short_name() == "intel-r-xeon-r-platinum-8481c-cpu-2-cores"
    monkeypatch.setattr(machine, "gpu_name", lambda: "NVIDIA H200 (SM up to 1980 MHz, memory 3201 MHz)")
    assert machine.short_name() == "nvidia-h200"


def test_a_run_that_is_stopped_leaves_what_it_measured(monkeypatch, tmp_path, capsys):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch_ops, "thread_count", lambda: 1)
    real, tried = trials.trial, []

    def stopped(work, config, *rest):
        if work == "step" and len(tried) == 10:
            raise KeyboardInterrupt
        tried.append((work, config.name))
        return 1 + len(tried) / 100, real(work, config, *rest[:-2], 0.0, float("inf"))[1]

    monkeypatch.setattr(trials, "trial", stopped)
    table = tmp_path / "n.csv"
    assert main(["network", "--quick", "--minutes", "30", "--batch", "2", "--csv", str(table), "--json", *SMALL]) == 130
    rows = results.read(table)
    theirs = [(r["work"], r["config"]) for r in rows if r["config"] != "ours"]
    assert sorted(theirs) == sorted(tried) and len(tried) == 10
    assert [r["note"] for r in rows if r["work"] == "step"] == ["first runs, then stopped"] * 2
    assert capsys.readouterr().out.count('"work": "forward"') == 1
    assert [file.name for file in tmp_path.iterdir()] == ["n.csv"]
    torch.set_num_threads(threads)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file/k.csv: cannot be written"):
        results.Table(tmp_path / "file/k.csv").add([{"command": "kernels"}])


def test_programs_are_measured_or_say_why_not():
    done = programs.done(["-c", "x = bytes(300 << 20); import time; time.sleep(0.3)"])
    assert done.seconds > 0.3 and done.bytes > 300 << 20
    with pytest.raises(BenchError, match="no luck"):
        programs.done(["-c", "print('some lines'); raise SystemExit('no luck')"])


def test_start_up_and_growth_are_told_apart():
    n = np.array([0.05, 0.25, 1, 4])
    assert scaling.line(n, 1.5 + 0.7 * n) == pytest.approx((1.5, 0.7))


def measured(seconds):
    return {"seconds": [seconds] * 3, "bytes": 1 << 30, "others": 0.0}


def test_scaling_measures_programs_and_processes(monkeypatch, tmp_path, capsys):
    calls = []
    monkeypatch.setattr(scaling, "peak", lambda **task: measured(task["size"][0] ** 2 * task["batch"] * task["width"]))
    monkeypatch.setattr(programs, "colorize", lambda side, **task: measured(2 + side**2 / 1e6))
    monkeypatch.setattr(programs, "train", lambda *task: calls.append(task) or measured(task[1] / task[0]))
    table = tmp_path / "scaling.csv"
    assert main(["scaling", "--backend", "cpu", "--dtype", "float32", "--processes", "1", "2", "4", "--csv",
                 str(table)]) == 0
    out = capsys.readouterr().out
    for line in ("colorize: time grows like pixels^1.00", "file: time grows like 2.00 s + 1.00 s a megapixel",
                 "batch: time grows like pictures^1.00", "width: time grows like width^1.00",
                 "processes: time grows like processes^-1.00", "processes, a core each: time grows like processes^0.00",
                 "memory like processes^0.00 (+-0.00)"):
        assert line in out
    assert [(n, batch, alone) for n, batch, *_, alone in calls] == [
        (1, 8, False), (2, 8, False), (4, 8, False), (1, 8, True), (2, 16, True), (4, 32, True)]
    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    assert "file, full size | 1 | 2048 | 1 | ours | 6.19 s" in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_everything_in_one_command(tmp_path):
    assert everything.main(["--quick", "--folder", str(tmp_path)]) == 0
    rows = {part: results.read(tmp_path / f"{part}.csv") for part in everything.PARTS}
    works = {row["work"] for row in rows["scaling"] if row["quantity"] == "seconds" and row["p50"]}
    assert works == {"colorize", "file", "file, full size", "batch", "width", "processes", "processes, a core each"}
    assert all((tmp_path / name).is_file() for name in report.pictures(sum(rows.values(), [])))


def test_what_fails_is_said_and_the_rest_goes_on(monkeypatch, tmp_path, capsys):
    ran = []
    monkeypatch.setattr(everything, "run", lambda part, *rest: ran.append(part) or part != "kernels")
    assert everything.main(["--folder", str(tmp_path)]) == 1
    assert ran == [*everything.PARTS, "report"] and "failed, see above: kernels\n" in capsys.readouterr().err


def test_readme_and_the_machines_pages_are_what_report_writes():
    found = {folder: report.rows_of(folder) for folder in sorted(report.RESULTS.iterdir()) if any(folder.glob("*.csv"))}
    assert found
    again = "python -m bench report --readme writes it anew"
    text = (report.ROOT / "README.md").read_text()
    assert report.MARKERS.search(text)[0] == f"<!-- bench -->\n{report.summaries(found)}<!-- /bench -->", again
    for folder, rows in found.items():
        plots = list(report.pictures(rows))
        assert {file.name: file.read_text() for file in folder.glob("*.md")} == report.pages(rows, plots), again
        assert {file.name for file in folder.glob("*.png")} == set(plots), again
    named = re.findall(r"\]\((bench/results/[^)]+)\)", text)
    assert named and all((report.ROOT / name).exists() for name in named)
