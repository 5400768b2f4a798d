"""The search for tiles: on made-up times, and end to end on Triton's interpreter."""

import json

import pytest

import tests.tools.interpreter  # noqa: F401 (before any kernel is defined)
from bench import BenchError, options, tune
from bench.measure.cases import cases
from ltbc.kernels.gpu import launch
from ltbc.nn import Settings

START = {"BLOCK_P": 64, "BLOCK_O": 64, "BLOCK_C": 32, "num_warps": 4, "num_stages": 3}


def test_climb_finds_the_fastest_tile():
    best = {"BLOCK_P": 128, "BLOCK_O": 128, "BLOCK_C": 64, "num_warps": 8, "num_stages": 4}

    def seconds(tile):
        return 1 + sum(max(tile[k], best[k]) / min(tile[k], best[k]) for k in best)

    assert tune.climb(START, seconds) == (best, 6)


def test_tiles_whose_sums_spill_are_not_tried():
    assert all(tune.accumulators(t) <= tune.ACCUMULATORS for t in tune.neighbors({**START, "BLOCK_P": 256}))


def test_new_rows_come_before_what_they_specialize(tmp_path):
    old = [{"bytes": 2, "BLOCK_P": 1}, {"BLOCK_P": 2}]
    new = [{"arch": 90, "bytes": 2, "channels": c, "pixels": 100, "BLOCK_P": p, "measured": "x"}
           for c, p in ((64, 3), (128, 4))]
    rows = tune.merged(tune.merged(old, new), [{**new[0], "BLOCK_P": 5}])
    sizes = {"arch": 90, "bytes": 2, "pixels": 200}
    assert launch.pick(rows, **sizes, channels=64)["BLOCK_P"] == 5
    assert launch.pick(rows, **sizes, channels=256)["BLOCK_P"] == 4
    assert launch.pick(rows, **{**sizes, "arch": 80}, channels=64)["BLOCK_P"] == 1
    assert launch.pick(rows, **{**sizes, "bytes": 1}, channels=64)["BLOCK_P"] == 2
    tune.write(tmp_path / "t.json", {"forward": rows})
    assert json.loads((tmp_path / "t.json").read_text()) == {"forward": rows}


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(options, "refusal", lambda backend: "no GPU can be used here")
    with pytest.raises(BenchError, match="cannot run here: no GPU"):
        tune.main(["--op", "conv3x3"])


class Still:
    """A clock that runs nothing and finds every tile alike."""

    def prepare(self, function):
        return function

    def settle(self, function, expected):
        pass

    def flush(self):
        pass

    def time(self, function):
        return 1e-3


def test_a_case_is_searched_checked_and_leaves_the_table_as_it_was(capsys):
    settings = Settings(width=0.03, classes=("a",), global_size=8)
    case = next(c for c in cases(settings, 8, 1) if c.layer == "color.0" and c.work == "forward")
    table = launch.tiles("conv3x3")
    before = json.dumps(table)
    old = launch.use(launch.Interpreter())
    try:
        ((kernel, row),) = tune.tuned(case, "float32", Still())
    finally:
        launch.use(old)
    assert kernel in table and json.dumps(table) == before
    assert row["arch"] == 90 and row["bytes"] == 4 and "BLOCK_P" in row and "color.0 batch 1" in row["measured"]
    assert "conv3x3 color.0 forward: forward" in capsys.readouterr().out
