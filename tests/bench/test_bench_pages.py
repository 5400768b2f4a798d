"""Known rows in, known tables and points of plots out; what is read from the system, and from compiled kernels."""


import matplotlib.pyplot as plt
import numpy as np
import pytest

from bench import BenchError, plots, plots_scaling, report

HERE = {"cpu": "AMD EPYC, Zen 5 (family 26)", "cores": "2", "gpu": "", "versions": "numpy=2 torch=3",
        "date": "2026-01-02", "commit": "abc"}


def row(command="network", config="ours", p50=2.0, **columns):
    same = dict.fromkeys(("p20", "p80", "ratio", "ratio_p20", "ratio_p80", "tflops", "mark", "note", "done_share"), "")
    return same | HERE | {"command": command, "backend": "cpu", "dtype": "bfloat16", "op": "conv3x3", "layer": "low.1",
                          "work": "step", "batch": "8", "size": "224", "width": "1", "config": config, "p50": p50,
                          "quantity": "seconds"} | columns


NETWORK = [
    row(ratio=2.5, ratio_p20=2.0, ratio_p80=3.0, p20=1.5, p80=3.0, mark="noisy"),
    row(config="torch slow", p50=6.0, p20=5.0, p80=7.0), row(config="torch fast", p50=5.0, p20=4.0, p80=6.0),
    row(config="torch tried", p50=1.0, note="shortest of some runs"), row(config="torch none", p50="", note="no time"),
    row(quantity="bytes", p50=2**31), row(config="torch fast", quantity="bytes", p50=5 << 20),
    row(work="step: forward", p50=0.5), row(work="forward", batch="1", ratio=1.2, ratio_p20=1.1, ratio_p80=1.3),
    row(work="forward", batch="1", config="torch fast", p50=2.4, p20=2.3, p80=2.5),
]


def test_the_networks_table_names_the_fastest_rival_that_was_timed_in_turns():
    assert report.network_table(NETWORK)[2:] == [
        "| step, bfloat16 | 8 | 2.00 s | 5.00 s | fast | 2.50 (2.00 to 3.00) noisy | 2.00 GiB | 5 MiB |",
        "| forward, bfloat16 | 1 | 2.00 s | 2.40 s | fast | 1.20 (1.10 to 1.30) | - | - |", ""]
    assert report.network_table([row(config="torch fast")]) == []


def test_every_configuration_is_listed():
    lines = report.every_configuration(NETWORK)
    assert lines[2:7] == [
        "| step | 8 | ours | 2.00 s | 1.50 s to 3.00 s | noisy |",
        "| step | 8 | torch slow | 6.00 s | 5.00 s to 7.00 s |  |",
        "| step | 8 | torch fast | 5.00 s | 4.00 s to 6.00 s |  |",
        "| step | 8 | torch tried | 1.00 s |  | shortest of some runs |", "| step | 8 | torch none | - |  | no time |"]
    assert len(lines) == 2 + 8 + 1


KERNELS = [row("kernels", layer=layer, work="forward", ratio=ratio, ratio_p20=0.9, ratio_p80=1.1, mark=mark, p50=1e-3,
               p20=9e-4, p80=11e-4, tflops=0.5, matrix_share=0.25, done_share=0.125, gbytes_s=10.0, memory_share=0.5,
               ceiling_tflops=2.0, ceiling_gbytes_s=100.0)
           for layer, ratio, mark in (("low.1", 1.5, ""), ("low.2", 0.9, "noisy"), ("low.3", 0.5, ""),
                                      ("mid.0", 1.0, ""), ("mid.1", "", ""))]
THEIRS = [{**r, "config": "torch", "tflops": 0.25, "p50": 2e-3, "p20": 1e-3, "p80": 4e-3} for r in KERNELS]


def test_slower_kernels_are_named_the_slowest_first():
    (text, _) = report.slow_rows(KERNELS)
    assert text == ("cpu bfloat16, batch 8: 2 of 4 kernels are faster than PyTorch's at equal dtype and layout; slower "
                    "are low.3 forward `conv3x3` 0.50, low.2 forward `conv3x3` 0.90? (ratio; ? marks noisy ones).")
    (text, _) = report.slow_rows(KERNELS[:1])
    assert text.endswith("1 of 1 kernels are faster than PyTorch's at equal dtype and layout.")
    (text, _) = report.slow_rows([KERNELS[0] | {"note": "against torch float32 contiguous"}])
    assert text.endswith("1 of 1 kernels are faster than PyTorch's fastest.")


def test_the_kernels_table():
    first, *_, last = report.kernel_table(KERNELS)[2:-1]
    assert first == ("| conv3x3 | low.1 | forward | cpu bfloat16 | 1.00 ms | 0.500 | 25% | 12% | 10.0 | 50% "
                     "| 1.50 (0.90 to 1.10) |")
    assert last.endswith("| - |")
    no_products = [KERNELS[0] | {"tflops": 0.0, "done_share": ""}]
    assert "| 1.00 ms | - | - | - | 10.0 |" in report.kernel_table(no_products)[2]


SCALING = [row("scaling", work="width", width=w, p50=t, p20=t - 0.5, p80=t + 1) for w, t in (("1", 2.0), ("2", 8.0))]
SCALING += [row("scaling", work="width", width=w, p50=b, quantity="bytes") for w, b in (("1", 2.0**30), ("2", 2.0**31))]
SCALING += [row("scaling", "growth", 2.0, p20=1.9, p80=2.1, work="width", quantity="exponent of seconds",
                note="width^k")]
FILES = [row("scaling", work="file", size=s, p50=t) for s, t in (("1000", 3.0), ("2000", 9.0))]
FILES += [row("scaling", "growth", p, work="file", quantity=q, note="a + b n")
          for q, p in (("seconds at the start", 1.0), ("seconds a megapixel", 2.0), ("bytes a megapixel", 2.0**30))]


def test_the_scaling_table():
    lines = report.scaling_table(SCALING + [row("scaling", work="width", width="9", p50="", note="out of memory")])
    assert lines[2:] == [
        "| width | 8 | 224 | 1 | ours | 2.00 s | 1.50 s to 3.00 s | 1.00 GiB |  |",
        "| width | 8 | 224 | 2 | ours | 8.00 s | 7.50 s to 9.00 s | 2.00 GiB |  |",
        "| width | 8 | 224 | 9 | ours | - | - | - | out of memory |", "", "Growth:", "",
        "- width: exponent of seconds 2.00 +- 0.10 (width^k)", ""]
    assert "- file: bytes a megapixel 1.00 GiB (a + b n)" in report.scaling_table(FILES[2:])


DIFF = [row("diff", "", p, layer=layer, work=f"{work}: {name}", tolerance=t, mark=mark, dtype=dtype)
        for p, layer, work, name, t, mark, dtype in (
            (1e-3, "low.1", "forward", "y", 1e-2, "", "bfloat16"),
            (4e-3, "low.2", "backward", "dw", 8e-3, "", "bfloat16"),
            (0.5, "mid.0", "backward", "dx", 1e-2, "diverges", "float32"),
            (1e-9, "mid.0", "forward", "y", 1e-8, "", "float32"))]


def test_the_nearest_to_what_is_allowed_is_named():
    assert report.nearest(DIFF) == [
        "- cpu bfloat16: 2 results, none beyond what is allowed; the nearest to it is low.2 backward: dw, 4.0e-03 of "
        "8.0e-03",
        "- cpu float32: 2 results, 1 beyond what is allowed; the nearest to it is mid.0 backward: dx, 5.0e-01 of "
        "1.0e-02"]


def test_the_summary_is_of_the_machine_measured_last(tmp_path):
    old, new = ([r | {"date": date, "commit": date[-2:]} for r in KERNELS] for date in ("2026-02-01", "2026-10-01"))
    text = report.summaries({tmp_path / "a": new, tmp_path / "b": old})
    assert text.startswith("Measured on AMD EPYC, Zen 5 (family 26), 2 cores; numpy 2 torch 3; 2026-10-01, commit 01. "
                           f"All rows: [{tmp_path}/a]")
    assert f"Also measured: [{tmp_path}/b]({tmp_path}/b/README.md), on AMD EPYC" in text and "commit 01.\n" in text
    assert report.on(HERE | {"gpu": "H100 (SM 1)"}).startswith("H100 (SM 1); numpy 2")


def test_a_page_has_a_part_for_every_command(tmp_path):
    text = report.page(NETWORK + KERNELS + SCALING + DIFF, ["layers.png"])
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# AMD EPYC, Zen 5 (family 26)", "## Network", "## Kernels", "## Scaling", "## Errors"]
    assert "![layers](layers.png)" in text and "Ratio: PyTorch's time / ours." in text
    with pytest.raises(BenchError, match="no CSV with results in it$"):
        report.rows_of(tmp_path)


def drawn(monkeypatch, draw, rows, module=plots):
    """The figure, in the place of a file."""
    figures = []

    def save(path, width, height, draw):
        figures.append(plt.figure(figsize=(width, height)))
        draw(figures[-1])

    monkeypatch.setattr(module, "save", save)
    draw(rows, None)
    plt.close("all")
    return figures[0]


def points(ax, marker=None):
    return [tuple(float(v) for v in np.ravel(line.get_xydata())) for line in ax.lines
            if len(line.get_xdata()) == 1 and marker in (None, line.get_marker())]


def test_points_of_the_roofline(monkeypatch):
    (ax,) = drawn(monkeypatch, plots.roofline, KERNELS + THEIRS).axes
    roof = next(line for line in ax.lines if line.get_color() == "black").get_xydata()
    np.testing.assert_allclose(roof, [[25, 2.5], [20, 2.0], [100, 2.0]])  # edge: 2 TFLOP/s at 100 GB/s
    assert points(ax).count((50.0, 0.5)) == 5 and points(ax).count((50.0, 0.25)) == 5  # 500 GFLOP/s at 10 GB/s
    assert [t.get_text() for t in ax.texts][:1] == ["matrix unit 2 TFLOP/s"]
    assert plots.intensity({"tflops": 3.0, "gbytes_s": 6.0}) == 500.0


def test_bars_of_layers(monkeypatch):
    forward, backward = drawn(monkeypatch, plots.layers, KERNELS + THEIRS).axes
    bars = [round(p.get_width(), 9) for p in forward.patches]
    assert bars == [1.0] * 5 + [2.0] * 5 and not any(p.get_width() for p in backward.patches)
    assert [(t.get_text(), t.get_color()) for t in forward.texts] == [
        ("1.50x", "black"), ("0.90x?", "firebrick"), ("0.50x", "firebrick"), ("1.00x", "black")]
    assert [t.get_text() for t in forward.get_yticklabels()] == [r["layer"] for r in KERNELS]


def test_points_of_the_networks_plot_are_theirs_over_ours(monkeypatch):
    forward, step = drawn(monkeypatch, plots.network, NETWORK).axes
    names = [t.get_text() for t in step.get_yticklabels()]
    assert names == ["tried", "fast", "slow"]  # the nearest to ours first
    one, other = (sorted(map(tuple, ax.lines[k].get_xydata().tolist())) for ax, k in ((step, -1), (forward, 1)))
    assert one == [(0.5, 0.0), (2.5, 1.0), (3.0, 2.0)] and other == [(1.2, 0.0)]
    assert step.get_title(loc="left") == "training step (ours at batch 8: 2.00 s)"


def test_points_of_the_errors_plot(monkeypatch):
    short, wide = drawn(monkeypatch, plots.diff, DIFF).axes
    assert [p[0] for p in points(short)] == [1e-2, 1e-3, 8e-3, 4e-3]
    assert [p[0] for p in points(short, "|")] == [1e-2, 8e-3]
    colors = [line.get_color() for line in wide.lines if line.get_xdata().size == 1 and line.get_marker() != "|"]
    assert colors == ["firebrick", plots.OURS]


def test_points_and_curves_of_growth(monkeypatch):
    figure = drawn(monkeypatch, plots_scaling.scaling, SCALING + FILES, plots_scaling)
    files, width = figure.axes[0], figure.axes[1]
    time = next(line for line in width.lines if line.get_marker() == "o")
    assert time.get_xydata().tolist() == [[1.0, 2.0], [2.0, 8.0]]
    curve = width.lines[-1].get_xydata()
    np.testing.assert_allclose(curve[[0, -1]], [[1, 2], [2, 8]])  # the fitted power 2
    whiskers = [line.get_ydata() for line in width.lines if line.get_marker() == "None"][:2]
    assert [list(w) for w in whiskers] == [[1.5, 3.0], [7.5, 9.0]]
    line = files.lines[-1].get_xydata()
    np.testing.assert_allclose(line[[0, -1]], [[1e6, 3], [4e6, 9]])  # 1 s and 2 s a megapixel
    memory = figure.axes[3].lines[0].get_xydata()
    assert memory.tolist() == [[1.0, 1.0], [2.0, 2.0]]  # GiB
