"""The benchmarks: cases and costs, checks that fail where they should, times, files, tables, plots. All of it tiny."""

import json
import time
from itertools import count, groupby

import numpy as np
import pytest
import torch

from bench import BenchError, CheckError, kernels, report, results
from bench.__main__ import main
from bench.measure import timing, trials
from bench.measure.calls import arguments
from bench.measure.cases import Case, cases
from bench.measure.check import check, reference
from bench.measure.memory import peak
from bench.scaling import growth
from bench.torch import ops as torch_ops
from bench.torch.ops import torch_calls
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.kernels.linear import reference as linear
from ltbc.nn import Settings
from ltbc.nn.architecture import cost_table
from tests import ROOT

TINY = Settings(width=0.03, classes=("a", "b", "c"), global_size=16)
SMALL = ["--width", "0.03", "--size", "16", "--backend", "reference", "--dtype", "float32"]
README = (ROOT / "README.md").read_text()
EXAMPLE = README.partition("`my_kernel.py` is for instance")[2].split("```")[1].removeprefix("python\n")


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Ceilings of small matrices, one thread of PyTorch's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(torch_ops, "thread_count", lambda: 1)
    real = kernels.ceilings
    monkeypatch.setattr(kernels, "ceilings", lambda dtype, backend: real(dtype, backend, 64, 1 << 16, 0.0))
    yield
    torch.set_num_threads(threads)


def test_flops_are_those_of_the_table_of_layers():
    settings = Settings(classes=tuple(map(str, range(205))))
    found = {c.layer: c.flops for c in cases(settings, 224, 2) if c.work == "forward" and c.flops}
    macs = {row["name"]: row["macs"] for row in cost_table(settings, 224, 224)}
    assert found.keys() == macs.keys()
    for layer, flops in found.items():
        saved = {"color.1": 4 / 9, "color.3": 4 / 9}.get(layer, 1)
        if layer != "fusion":  # its global half is done once an image
            assert flops == round(2 * 2 * macs[layer] * saved), layer
    assert found["fusion"] == 2 * 2 * (28 * 28 * 256 * 256 + 256 * 256)


@pytest.mark.skipif(LEVEL.name != "avx512_bf16", reason="another method")
def test_operations_done_are_those_of_winograds_tiles():
    """F(2x2): 16 products a tile of 4 outputs instead of 36, also where the last tiles reach over the edge."""
    shapes = {(56, 56): 16 / 36, (55, 55): 16 / 36 * 56**2 / 55**2}
    for (h, w), share in shapes.items():
        x, y, weights = (2, h, w, 32), (2, h, w, 64), (3, 3, 32, 64)
        one = Case("conv3x3", "l", "forward", 2, {"x": x, "w": weights, "b": (64,)}, {"y": y}, {"y": 288},
                   flops=2 * 2 * h * w * 9 * 32 * 64, options={"stride": 1, "activation": "relu"})
        assert kernels.done(one, "bfloat16") / one.flops == pytest.approx(share)


def test_bytes_count_every_array_once():
    case = next(c for c in cases(TINY, 16, 2) if c.layer == "low.1" and c.work == "backward")
    x, w, y = 2 * 8 * 8 * 2, 9 * 2 * 4, 2 * 8 * 8 * 4
    assert case.bytes(np.float16) == 2 * (x + w + 2 * y + x) + 4 * (w + 4)


@pytest.mark.parametrize("case", cases(TINY, 16, 2), ids=lambda c: c.name)
def test_every_case_runs_and_agrees_with_the_reference_and_with_torch(case):
    check(case, "reference", "float32")
    arrays = arguments(case, "float32")
    want = reference(case, arrays)
    for make in torch_calls(case, arrays).values():
        found = make()()
        if case.work == "forward":
            found = found.numpy().transpose(0, 2, 3, 1) if found.ndim == 4 else found.numpy()
            np.testing.assert_allclose(found, want["y"], rtol=1e-4, atol=1e-5)
        elif case.op == "upsample2x":
            np.testing.assert_allclose(found[0].numpy().transpose(0, 2, 3, 1), want["dx"], rtol=1e-4, atol=1e-5)
        elif "dw" in want:
            assert found[-2].numel() == want["dw"].size and len(found) == len(want)


def test_a_users_kernel_is_checked_and_measured(tmp_path, capsys):
    file = tmp_path / "my_kernel.py"
    file.write_text(EXAMPLE)
    command = ["kernels", "--with", str(file), "--layer", "global_fc", "--seconds", "0.01", *SMALL]
    assert main([*command, "--csv", str(tmp_path / "k.csv")]) == 0
    rows = results.read(tmp_path / "k.csv")
    assert {"ours", "yours"} < {row["config"] for row in rows} <= {"ours", "yours", "torch float32", "torch bfloat16"}
    assert all(row["note"].startswith("against torch ") for row in rows if row["config"] in ("ours", "yours"))
    assert {row["layer"] for row in rows} == {"global_fc.0", "global_fc.1", "global_fc.2"}
    assert all(0 < row["p20"] <= row["p50"] <= row["p80"] and row["ratio"] for row in rows)
    assert capsys.readouterr().out.count("yours") == 6


def test_a_wrong_kernel_is_named_with_its_first_differing_indices_and_not_timed(tmp_path, capsys):
    file = tmp_path / "wrong.py"
    file.write_text(EXAMPLE.replace("return dz @ w.T", "w = w.copy(); w[1] = 0; return dz @ w.T"))
    assert main(["kernels", "--with", str(file), "--layer", "class.0", "--seconds", "0.01", *SMALL]) == 1
    out = capsys.readouterr().out
    assert "linear class.0 backward: dx is wrong" in out and "[0, 1]: got 0, want" in out and "[0, 0]" not in out
    assert "backward " not in out.replace("class.0 backward: dx", "")


def test_the_other_kernels_go_on_and_the_status_is_one(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(EXAMPLE.replace("    y = x", "    import os\n    len(b) == 3 or os.abort()\n    y = x", 1))
    command = ["kernels", "--with", str(path), "--layer", "class", "--seconds", "0.01", *SMALL]
    assert main(command) == 1
    out, err = capsys.readouterr()
    said = [line for line in out.splitlines() if "SIGABRT" in line]
    assert said and all(line.startswith(f"{path}:") and " forward: killed by " in line for line in said)
    assert out.count("\n  yours ") == 4 - len(said), out
    assert err.splitlines()[-1].startswith(f"bench kernels: not timed, because they failed or are wrong: {len(said)}, ")


def test_ours_is_checked_for_its_form_and_its_inputs_too(monkeypatch):
    case = next(c for c in cases(TINY, 16, 2) if c.layer == "class.0" and c.work == "forward")
    forward = linear.forward
    monkeypatch.setattr(linear, "forward", lambda *a, **k: np.where(np.arange(2)[:, None], np.nan, forward(*a, **k)))
    with pytest.raises(CheckError, match="class.0 forward: y is wrong"):
        check(case, "reference", "float32")
    monkeypatch.setattr(linear, "forward", lambda *a, **k: forward(*a, **k).astype(np.float64))
    with pytest.raises(CheckError, match="class.0 forward: y is float64, wanted float32"):
        check(case, "reference", "float32")
    monkeypatch.setattr(linear, "forward", lambda *a, **k: (forward(*a, **k), np.negative(a[0], out=a[0]))[0])
    with pytest.raises(CheckError, match="class.0 forward: overwrites its input x"):
        check(case, "reference", "float32")
    seen: list[np.ndarray] = []
    monkeypatch.setattr(linear, "forward", lambda *a, **k: (seen.append(a[0]), forward(*a, **k))[1] * (len(seen) < 6))
    check(case, "reference", "float32")
    with pytest.raises(CheckError, match="class.0 forward: y is wrong"):  # each run and its reference are two calls
        check(case, "reference", "float32", runs=3)


@pytest.mark.parametrize("argv, said", [
    (["kernels", "--op", "pooling"], "--op must be one of"),
    (["kernels", "--with", "/no/such.py"], "no such Python file"),
    (["kernels", "--layer", "low.9", *SMALL], "no case has"),
    (["diff", "--backend", "reference", "--dtype", "bfloat16"], "has no bfloat16"),
    (["compare", "README.md", "README.md"], "not results of this program"),
    (["compare", "/no/a.csv", "/no/b.csv"], "cannot be read"),
    (["report", "/no"], "no CSV"),
])
def test_errors_are_one_line(argv, said, capsys):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1 and err.startswith(f"bench {argv[0]}: ")


def test_unknown_commands_get_the_list_of_commands(capsys):
    assert main(["fly"]) == 2 and main(["--help"]) == 0
    assert "compare" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_network_json_has_the_schema(dtype, tmp_path, monkeypatch):
    trial, rising = trials.trial, count(1.0, 0.01)  # which optimizers are tried follows from the times of other runs
    monkeypatch.setattr(trials, "trial", lambda *args: (next(rising), trial(*args[:-2], 0.0, float("inf"))[1]))
    target, table = tmp_path / "n.json", tmp_path / "n.csv"
    command = ["network", "--quick", "--minutes", "30", "--batch", "2", "--json", str(target), "--csv", str(table)]
    assert main([*command, *SMALL, "--backend", "cpu", "--dtype", dtype]) == 0
    found = json.loads(target.read_text())
    assert [(one["work"], one["batch"]) for one in found] == [("forward", 2), ("step", 2)]
    for one in found:
        assert list(one) == ["machine", "work", "batch", "ours_s", "torch_s", "ratio_best", "spread", "best", "of"]
        assert one["machine"]["quick"] and len(one["torch_s"]) == (8 if one["work"] == "forward" else 7)
        assert one["best"] in one["torch_s"] and one["of"] == "of those tried"  # none was compiled
        assert one["ours_s"] > 0 and one["spread"][0] <= one["ratio_best"] <= one["spread"][1]
    parts = {row["work"] for row in results.read(table)}
    assert {"step: data", "step: forward", "step: backward", "step: optimizer"} <= parts


def test_the_network_is_checked_before_it_is_timed(monkeypatch, capsys):
    from ltbc.kernels.fusion import reference as fusion

    forward = fusion.forward
    monkeypatch.setattr(fusion, "forward", lambda *a, **k: forward(*a, **k) * np.float32(1.01))
    assert main(["network", "--quick", *SMALL]) == 1
    err = capsys.readouterr().err
    assert "is not PyTorch's" in err and "elements off, the first:\n  [0, 0, 0, " in err


def test_diff_finds_the_layer_that_diverges(monkeypatch, capsys):
    assert main(["diff", *SMALL]) == 0
    assert "no layer diverges" in capsys.readouterr().out
    from ltbc.kernels.linear import reference as linear

    backward = linear.backward

    def wrong(dy, x, w, y, activation, **options):
        found = backward(dy, x, w, y, activation, **options)
        if dy.dtype == np.float32 and activation == "none":  # class.1 alone
            found[1][0, 0] *= np.float32(1.001)
        return found

    monkeypatch.setattr(linear, "backward", wrong)
    assert main(["diff", *SMALL]) == 1
    out = capsys.readouterr().out
    assert "the first to diverge is class.1, backward: dw" in out and "linear class.1 backward: dw is wrong" in out


def test_memory_is_measured_in_a_process_of_its_own():
    task = {"side": "ours", "work": "forward", "global_size": 16, "width": 0.1, "backend": "reference",
            "dtype": "float32", "batch": 1}
    small, large = (peak(size=[side, side], **task)["bytes"] for side in (16, 640))
    assert large - small > 640 * 640 // 4 * 13 * 4  # one activation of the widest early layer at least


def test_growth_is_fitted():
    n = np.array([1.0, 2, 4, 8])
    assert growth(n, 3 * n**1.5) == pytest.approx((1.5, 0), abs=1e-9)
    k, error = growth(n, 3 * n**1.5 * np.array([1, 1.1, 0.9, 1]))
    assert 0 < error < 0.2 and abs(k - 1.5) < 3 * error


def test_figures_are_marked_when_noisy_or_busy():
    assert timing.Spread(1.0, 0.95, 1.05).mark() == ""
    assert timing.Spread(1.0, 0.9, 1.1).mark() == "noisy"
    assert timing.Spread(1.0, 1.0, 1.0).mark(others=0.3) == "busy 30%"


def test_a_race_takes_turns():
    order: list[str] = []
    found = timing.race({name: lambda name=name: order.append(name) for name in "ab"}, 0.0, (3, 3), warm=False)
    turns = [name for name, _ in groupby(order)]  # runs that are not timed come first in every turn
    assert "".join(turns) == "abab" and all(len(t.seconds) == 3 for t in found.times.values())


@pytest.mark.parametrize("used, passed, own, share", [
    (8.0, 10.0, 2.0, 0.6), (2.0, 10.0, 2.01, 0.0), (10.0, 9.99, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0),
])
def test_the_share_that_others_used(monkeypatch, used, passed, own, share):
    """Of the seconds that passed on the cores; ticks that the kernel counts late do not lead out of 0 to 1."""
    readings = iter([(5.0, 7.0, 3.0), (5.0 + used, 7.0 + passed, 3.0 + own)])
    monkeypatch.setattr(timing.Others, "now", lambda others: next(readings))
    with timing.Others() as others:
        pass
    assert others.share == pytest.approx(share)


def test_timed_runs_begin_when_nobody_else_is_awake():
    """PyTorch's threads spin for a while after its last run: each turn first runs until they must have stopped."""
    begun, runs = time.perf_counter(), []
    timing.Wall(flushed=False).settle(lambda: runs.append(0), expected=timing.SHORT / 2)
    assert runs and time.perf_counter() - begun >= timing.SETTLE
    timing.Wall(flushed=False).settle(lambda: runs.clear(), expected=2 * timing.SHORT)
    assert runs and time.perf_counter() - begun >= 2 * timing.SETTLE


def test_report_writes_tables_and_plots_and_the_readmes_part(tmp_path, capsys):
    rows = tmp_path / "kernels.csv"
    assert main(["kernels", "--layer", "mid", "--seconds", "0.01", "--csv", str(rows), *SMALL]) == 0
    readme = tmp_path / "R.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    assert main(["report", str(tmp_path), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert "old" not in text and text.startswith("before\n<!-- bench -->") and text.endswith("<!-- /bench -->\nafter\n")
    assert "of 4 kernels are faster than PyTorch's" in text
    assert (tmp_path / "README.md").read_text().count("| conv3x3 | mid.") == 4
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("layers.png", "roofline.png"))
    with pytest.raises(BenchError, match="has no <!-- bench -->"):
        report.put(rows, "")
