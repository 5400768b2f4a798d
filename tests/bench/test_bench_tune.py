"""The search for tiles: on made-up times, and end to end on Triton's interpreter."""

import json

import pytest

import tests.tools.interpreter  # noqa: F401 (before any kernel is defined)
from bench import BenchError, options, tune
from bench.measure.calls import arguments, call, place
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


@pytest.fixture
def interpreted():
    old = launch.use(launch.Interpreter())
    yield
    launch.use(old)


def small(layer, work):
    settings = Settings(width=0.03, classes=("a",), global_size=8)
    return next(c for c in cases(settings, 8, 1) if (c.layer, c.work) == (layer, work))


def test_a_case_is_searched_checked_and_leaves_the_table_as_it_was(capsys, interpreted):
    table = launch.tiles("conv3x3")
    before = json.dumps(table)
    ((kernel, row),) = tune.tuned(small("color.0", "forward"), "float32", Still())
    assert kernel in table and json.dumps(table) == before
    assert row["arch"] == 90 and row["bytes"] == 4 and "BLOCK_P" in row and "color.0 batch 1" in row["measured"]
    assert "conv3x3 color.0 forward: forward" in capsys.readouterr().out


def test_a_kernel_is_timed_by_itself(interpreted):
    case, table = small("color.0", "backward"), launch.tiles("conv3x3")
    found = tune.picks(table, call(case, place(arguments(case, "float32"), "gpu"), "float32", "gpu"))
    names = {kernel: [start[0].fn.__name__ for start in pick.starts] for kernel, pick in found.items()}
    assert names["backward_data"] == ["backward_data_kernel"]
    assert names["backward_weights"][0] == "backward_weights_kernel" and names.keys() <= table.keys()
    assert not any("derivative_kernel" in started for started in names.values())


@pytest.mark.parametrize("error, fits", [
    (type("OutOfResources", (Exception,), {})("shared memory"), False), (type("PTXASError", (Exception,), {})(), False),
    (RuntimeError("PassManager::run failed"), False), (RuntimeError("an illegal memory access"), True),
])
def test_a_tile_that_does_not_fit_is_passed_over_what_is_broken_is_not(error, fits, interpreted, monkeypatch, capsys):
    def broken(*_):
        raise error

    monkeypatch.setattr(tune, "alone", broken)
    monkeypatch.setattr(tune, "climb", lambda start, seconds: (start, seconds(start)))
    found = tune.tuned(small("color.0", "forward"), "float32", Still())
    if fits:
        with pytest.raises(RuntimeError, match="illegal"):
            list(found)
    else:
        assert not list(found) and "no tile fits" in capsys.readouterr().out


def test_a_search_goes_on_where_it_stopped(interpreted, monkeypatch, tmp_path):
    case, path = small("color.0", "forward"), tmp_path / "tiles.json"
    table = {name: list(rows) for name, rows in launch.tiles("conv3x3").items()}
    monkeypatch.setattr(tune, "table_of", lambda op: path)
    tune.write(path, table)
    assert not list(tune.tuned(case, "float32", Still(), end=0))
    ((kernel, row),) = tune.tuned(case, "float32", Still())
    tune.write(path, table | {kernel: tune.merged(table[kernel], [row])})
    assert not list(tune.tuned(case, "float32", Still()))
    assert list(tune.tuned(case, "float32", Still(), done=lambda rows, sizes: False))
    monkeypatch.setattr(tune, "where", lambda: "another GPU")
    assert list(tune.tuned(case, "float32", Still()))
