"""Known measurements in, known rows, verdicts and lines of text out."""

from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench import CheckError, diff, kernels, network, options, results
from bench.measure.cases import Case, cases
from bench.measure.ceilings import Ceilings
from bench.measure.check import Allowed, allowed, compare
from bench.measure.timing import Race, Times
from bench.measure.trials import IN_TURNS, Tried
from bench.torch.configs import Config
from ltbc.kernels.compare import tolerance
from ltbc.kernels.cpu.machine import LEVEL
from ltbc.nn import Settings
from ltbc.nn.architecture import layers

SETTINGS = Settings(width=0.125, classes=tuple("abcde"), global_size=32)
LIMITS = Ceilings(4e12, 100e9, "mm", "copy")
ARGS = Namespace(size=32, width=0.125, quick=False, backend="cpu", dtype="float32", tile=[])
# operation, layer, work: FLOPs, elements of 2 bytes, elements of 4 bytes, at batch 3, width 1/8, 32 x 32
COSTS = {
    ("conv3x3", "low.0", "forward"): (2 * 3 * 16 * 16 * 9 * 1 * 8, 3 * (1024 + 256 * 8) + 72, 8),
    ("conv3x3", "low.0", "backward"): (2 * 3 * 16 * 16 * 9 * 1 * 8, 3 * (1024 + 2 * 256 * 8) + 72, 72 + 8),
    ("conv3x3", "low.1", "forward"): (2 * 3 * 256 * 9 * 8 * 16, 3 * (256 * 8 + 256 * 16) + 1152, 16),
    ("conv3x3", "low.1", "backward"): (4 * 3 * 256 * 9 * 8 * 16, 3 * (2 * 256 * 8 + 2 * 256 * 16) + 1152, 1152 + 16),
    ("linear", "global_fc.0", "forward"): (2 * 3 * 64 * 128, 3 * (64 + 128) + 64 * 128, 128),
    ("linear", "global_fc.0", "backward"): (4 * 3 * 64 * 128, 3 * (2 * 64 + 2 * 128) + 64 * 128, 64 * 128 + 128),
    ("fusion", "fusion", "forward"): (2 * 3 * (16 + 1) * 32 * 32, 3 * (16 * 32 + 32 + 16 * 32) + 2048, 32),
    ("upsample2x_conv3x3", "color.1", "forward"): (2 * 3 * 64 * 4 * 16 * 8, 3 * (16 * 16 + 64 * 8) + 9 * 16 * 8, 8),
    ("upsample2x", "color.1", "forward"): (0, 3 * (16 * 16 + 64 * 16), 0),
    ("class_loss", "loss", "value_and_gradient"): (0, 0, 2 * 3 * 5 + 1 + 2 * 3),  # labels of 8 bytes
    ("chroma_loss", "loss", "value_and_gradient"): (0, 0, 3 * 3 * 256 * 2 + 1),
}


@pytest.mark.parametrize("name", COSTS, ids=" ".join)
def test_costs_are_those_counted_by_hand(name):
    (case,) = [c for c in cases(SETTINGS, 32, 3) if (c.op, c.layer, c.work) == name]
    flops, short, wide = COSTS[name]
    assert case.flops == flops
    assert case.bytes(np.float16) == 2 * short + 4 * wide and case.bytes(np.float32) == 4 * (short + wide)


def test_adadelta_moves_every_parameter_seven_times_and_a_half():
    parameters = sum(spec.parameters for part in layers(SETTINGS).values() for spec in part)
    (case,) = [c for c in cases(SETTINGS, 32, 3) if c.op == "adadelta"]
    assert case.bytes(np.float32) == 28 * parameters and case.bytes(np.float16) == 30 * parameters and not case.flops


@pytest.mark.parametrize("layer, work, backend, dtype, name, wanted", [
    ("low.1", "forward", "cpu", "float32", "y", tolerance("float32", 72)),  # 8 channels are not Winograd's
    ("low.1", "backward", "cpu", "float32", "db", tolerance("float32", 768)),
    ("low.1", "forward", "cpu", "bfloat16", "y", tolerance("bfloat16", 72, "float16", 0)),
    ("low.1", "forward", "gpu", "float16", "y", tolerance("float16", 72, "float16", 0)),
    ("color.1", "forward", "gpu", "float16", "y", tolerance("float16", 144, "float16", 1)),
    ("color.1", "backward", "gpu", "float16", "dx", tolerance("float16", 9 * 8 * 4, "float16", 1)),
    ("color.1", "backward", "gpu", "float16", "dw", tolerance("float16", 192, "float32", 0)),
    ("fusion", "backward", "gpu", "float16", "dw", tolerance("float16", 48, "float32", 2)),
    ("pixels", "encode", "cpu", "float32", "luminance", 16 * tolerance("float32", 3)),
])
def test_what_is_allowed(layer, work, backend, dtype, name, wanted):
    (case,) = [c for c in cases(SETTINGS, 32, 3) if (c.layer, c.work) == (layer, work) and c.op != "upsample2x"]
    stored = "float16" if dtype == "bfloat16" else None
    assert allowed(case, name, backend, dtype, stored).value == pytest.approx(wanted)


@pytest.mark.skipif(LEVEL.tiles, reason="takes direct products")
@pytest.mark.parametrize("layer, work, dtype, name, wanted", [
    ("low.1", "forward", "float32", "y", 12 * tolerance("float32", 288)),
    ("low.1", "backward", "float32", "dw", 12 * tolerance("float32", 3 * 32 * 32)),
    ("low.1", "backward", "float32", "db", tolerance("float32", 3 * 32 * 32)),
    ("low.1", "forward", "bfloat16", "y", 2 * tolerance("bfloat16", 288, "bfloat16")),
    ("low.2", "forward", "float32", "y", 2 * tolerance("float32", 576)),  # of stride 2
    ("low.0", "forward", "float32", "y", tolerance("float32", 9)),  # of one channel
])
def test_what_winograds_transforms_are_allowed(layer, work, dtype, name, wanted):
    (case,) = [c for c in cases(replace(SETTINGS, width=0.5), 64, 3) if (c.layer, c.work) == (layer, work)]
    assert allowed(case, name, "cpu", dtype).value == pytest.approx(wanted)
    assert allowed(case, name, "cpu", dtype, ours=False).value <= allowed(case, name, "gpu", dtype).value


@pytest.mark.parametrize("off, said", [(0.9, ""), (7.5, ""), (8.5, "1 of 10001 elements off"), (np.nan, "1 of 10001")])
def test_single_elements_that_a_check_lets_through(off, said):
    want = np.ones(10_001)
    got = want.copy()
    got[7] += off * 1e-3
    if not said:
        compare("y", got, want, Allowed(1e-3, "here"))
        return
    with pytest.raises(CheckError, match=rf"tolerance 1.00e-03 \(here\); {said}[^\n]*the first:\n  \[7\]: got"):
        compare("y", got, want, Allowed(1e-3, "here"))


def race(others=0.0, **seconds):
    return Race({name.replace("_", " "): Times(np.array(t, float)) for name, t in seconds.items()}, others)


CASE = Case("linear", "l", "forward", 2, {"x": (2, 3), "w": (3, 4), "b": (4,)}, {"y": (2, 4)}, {"y": 3},
            flops=8_000_000, options={"activation": "relu"})
KNOWN = race(ours=[2e-6, 3e-6, 4e-6, 5e-6, 6e-6], torch_float32=[8e-6, 9e-6, 16e-6, 15e-6, 12e-6],
             torch_bfloat16=[1.0] * 5)


def test_a_kernels_row():
    row = kernels.row(CASE, "ours", KNOWN, "cpu", "float32", LIMITS, ARGS)
    wanted = {
        "command": "kernels", "backend": "cpu", "dtype": "float32", "op": "linear", "layer": "l", "work": "forward",
        "batch": 2, "size": 32, "width": 0.125, "config": "ours", "quantity": "seconds", "p50": 4e-6, "p20": 2.8e-6,
        "p80": 5.2e-6, "rounds": 5, "tflops": 2.0, "gbytes_s": 0.030, "matrix_share": 0.5, "done_share": 0.5,
        "memory_share": 3e-4, "ratio": 3.0, "ratio_p20": 2.8, "ratio_p80": 4.0 - 0.8, "ceiling_tflops": 4.0,
        "ceiling_gbytes_s": 100.0, "mark": "noisy", "note": "against torch float32",
    }
    ratios = np.array([4, 3, 4, 3, 2.0])
    wanted |= dict(zip(("ratio_p20", "ratio_p80"), np.quantile(ratios, (0.2, 0.8))))
    assert row == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in wanted.items()}
    theirs = kernels.row(CASE, "torch float32", KNOWN, "cpu", "float32", LIMITS, ARGS)
    assert theirs["ratio"] == 1 and theirs["p50"] == 12e-6 and theirs["done_share"] is None
    assert theirs["tflops"] == pytest.approx(2 / 3)


def test_a_kernels_line(capsys):
    busy = KNOWN._replace(others=0.25)
    kernels.print_row(CASE, "ours", kernels.row(CASE, "ours", busy, "cpu", "float32", LIMITS, ARGS), busy)
    alone = race(yours=[2e-3] * 5)
    case = Case(**{**vars(CASE), "flops": 0})
    kernels.print_row(case, "yours", kernels.row(case, "yours", alone, "gpu", "float32", LIMITS, ARGS), alone)
    first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    assert " ".join(first) == ("linear l forward 4.00 us 2.80 us to 5.20 us 2.000 50% 50% 0.0 0% 12.0 us float32 "
                               "3.00 2.80 to 4.00 busy 25%")
    assert second == "yours l forward 2.00 ms 2.00 ms to 2.00 ms - - - 0.0 0% - - - -".split()


CONFIGS = [Config(*names) for names in (
    ("bf16 model", "channels_last"), ("float32", "contiguous"), ("float32", "channels_last"))]


def test_what_network_reports():
    fast, second, third = (c.name for c in CONFIGS)
    other = CONFIGS[0]._replace(how="compiled")
    final = Race({"ours": Times(np.array([1.0, 2, 3, 4, 5])), second: Times(np.array([3.0, 3, 3, 4, 5]) * 4),
                  fast: Times(np.array([2.0, 4, 6, 8, 10]))}, 0.0)
    table, lines = results.Table(None), []
    notes = dict.fromkeys(CONFIGS, IN_TURNS) | {other: "not tried: no time left (--minutes)"}
    tried = Tried(dict(zip(CONFIGS, (6.0, 12.0, 9.0))), {}, notes, [other])
    found, winner = network.report("forward", 8, ARGS, final, {}, tried, lambda *t: lines.append(*t), table)
    assert [" ".join(line.split()) for line in lines] == [
        "forward 8 ours, in turns with 3.00 s noisy", f"{fast} 6.00 s 2.00 2.00 to 2.00 the fastest of those tried",
        f"{second} 12.0 s 4.00 4.00 to 7.20 noisy",
    ]
    assert winner == CONFIGS[0]
    assert found | {"machine": 0} == {
        "machine": 0, "work": "forward", "batch": 8, "ours_s": 3.0, "torch_s": {fast: 6.0, second: 12.0, third: 9.0},
        "ratio_best": 2.0, "spread": [2.0, 2.0], "best": fast, "of": "of those tried"}
    figures = [(r["config"], *map(r.get, ("p50", "p20", "p80", "ratio", "mark"))) for r in table.rows]
    assert figures == [
        ("ours", 3.0, pytest.approx(1.8), pytest.approx(4.2), 2.0, ""), (fast, 6.0, 3.6, 8.4, None, ""),
        (second, 12.0, 12.0, pytest.approx(16.8), None, "noisy"),
        (third, 9.0, None, None, None, None), (other.name, None, None, None, None, None),
    ]
    assert [r["note"] for r in table.rows] == ["of those tried", IN_TURNS, IN_TURNS, IN_TURNS, notes[other]]
    found, _ = network.report("forward", 8, ARGS, final, {}, tried._replace(left_out=[]), print, results.Table(None))
    assert found["of"] == "of all"


def test_a_race_without_rivals_is_said(capsys):
    final = Race({"ours": Times(np.array([1.0, 1.0]))}, 0.0)
    found, winner = network.report("forward", 8, ARGS, final, {}, Tried({}, {}, {}, [CONFIGS[0]]), print,
                                   results.Table(None))
    assert winner is None and found["ratio_best"] is None and found["spread"] is None
    assert "no configuration of PyTorch was done in the time" in capsys.readouterr().out


def test_where_a_steps_time_goes(monkeypatch):
    monkeypatch.setattr(network, "data_seconds", lambda *_: 0.5)
    runs = [{"forward": 9.0, "backward": 9.0}, {"forward": 1.0, "backward": 2.0}]
    functions = {"ours": SimpleNamespace(parts=runs), "torch": SimpleNamespace(parts=[{"forward": 4.0}])}
    lines = []
    rows = network.parts("step", 8, ARGS, functions, {"work": "step"}, "torch", lambda *t: lines.append(*t))
    assert [(r["work"], r["config"], r["p50"]) for r in rows] == [
        ("step: forward", "ours", 1.0), ("step: backward", "ours", 2.0), ("step: data", "ours", 0.5),
        ("step: forward", "torch", 4.0)]
    assert [" ".join(line.split()) for line in lines] == [
        "parts of ours: forward 1.00 s, backward 2.00 s, data 500 ms", "parts of torch: forward 4.00 s"]
    assert network.parts("forward", 8, ARGS, functions, {}, "torch", None) == []


def test_rows_of_peak_memory(monkeypatch):
    asked = []

    def peak(timeout, side, **task):
        asked.append((side, task["work"], task["batch"]))
        if side != "ours":
            raise network.BenchError("memory of step: killed")
        return {"bytes": 3 << 29}

    monkeypatch.setattr(network, "peak", peak)
    table, lines = results.Table(None), []
    network.memory("step", 8, CONFIGS[0], ARGS, 1e12, lambda *t: lines.append(*t), table)
    assert asked == [("ours", "step", 8), (list(CONFIGS[0]), "step", 8)]
    ours, theirs = table.rows
    assert ours["p50"] == 3 << 29 and ours["quantity"] == "bytes" and ours["config"] == "ours"
    assert theirs["note"] == "not measured: memory of step: killed" and "p50" not in theirs
    assert lines[0].endswith(f" ours 1.50 GiB, {CONFIGS[0].name} not measured: memory of step: killed")
    network.memory("step", 8, CONFIGS[0], ARGS, 0.0, lambda *t: lines.append(*t), table)
    assert table.rows[-1]["note"] == "not measured: no time left (--minutes)" and len(asked) == 2
    network.memory("step", 8, None, ARGS, 1e12, lambda *t: lines.append(*t), table)
    assert len(asked) == 3 and table.rows[-1]["config"] == "ours"


def test_errors_of_diff():
    want = np.array([3.0, -4.0, 0.0, 0.0])  # root mean square 2.5
    norm, largest, mean = diff.errors(want + [0.03, 0.0, 0.0, 0.05], want)
    assert norm == pytest.approx((0.03**2 + 0.05**2) ** 0.5 / 5)
    assert largest == pytest.approx(0.02) and mean == pytest.approx((0.01 + 0.02) / 4)


@pytest.mark.parametrize("text, kind, multiple, value", [
    ("3", int, 1, 3), ("0.5", float, 1, 0.5), ("16", int, 8, 16), ("12", int, 8, None), ("0", int, 1, None),
    ("-1", float, 1, None), ("nan", float, 1, None), ("inf", float, 1, None), ("x", int, 1, None),
    ("1.5", int, 1, None),
])
def test_positive_numbers(text, kind, multiple, value):
    parse = options.positive(kind, multiple)
    if value is not None:
        assert parse(text) == value
        return
    with pytest.raises(options.argparse.ArgumentTypeError, match=f"must be positive.*, got '{text}'$"):
        parse(text)
