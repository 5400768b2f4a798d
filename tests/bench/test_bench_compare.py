"""Result files: rows there and back, in words, and what `bench compare` says of two of them."""

import pytest

from bench import BenchError, compare, results


def row(layer="l", p50=10.0, p20=None, p80=None, **columns):
    return {"command": "kernels", "backend": "cpu", "dtype": "float32", "op": "conv3x3", "layer": layer, "batch": 8,
            "work": "forward", "config": "ours", "quantity": "seconds", "p50": p50, "p20": p20, "p80": p80} | columns


@pytest.mark.parametrize("b, verdict", [
    ((8.99, 8, 9.01), "same"), ((8.5, 8, 8.99), "faster"), ((11.5, 11.01, 12), "slower"), ((11.5, 10.99, 12), "same"),
    ((10, 9, 11), "same"),
])
def test_b_is_faster_where_its_80_percent_lie_below_the_20_of_a(b, verdict):
    a, b = row(p50=10, p20=9, p80=11), row(**dict(zip(("p50", "p20", "p80"), b)))
    assert compare.verdict(a, b, 99.0) == verdict
    assert compare.verdict(b, a, 99.0) == {"faster": "slower", "slower": "faster"}.get(verdict, verdict)


@pytest.mark.parametrize("p50, verdict", [(8.6, "faster"), (8.8, "same"), (11.4, "same"), (11.6, "slower")])
def test_without_percentiles_the_margin_decides(p50, verdict, tmp_path, capsys):
    for percentiles in ({}, {"p20": 1.0}):
        assert compare.verdict(row(), row(p50=p50) | percentiles, 0.15) == verdict
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    for file, t in zip(files, (10.0, p50)):
        results.write(file, [row(p50=t)])
    compare.main(files)
    words = capsys.readouterr().out
    assert f"1 {verdict}".replace("1 same", "1 within the noise") in words
    compare.main([*files, "--margin", "0.5"])
    assert "1 within the noise" in capsys.readouterr().out


@pytest.mark.parametrize("marks", [("busy 11%", ""), ("", "busy 90%"), ("busy 20%", "busy 20%"), ("noisy", None)])
def test_nothing_is_said_of_busy_and_noisy_rows(marks):
    a, b = (row(p50=t, mark=mark) for t, mark in zip((1.0, 100.0), marks))
    assert compare.verdict(a, b, 0.15) == "unsure"
    assert compare.verdict(row(mark=""), row(p50=1.0, mark=None), 0.15) == "faster"


def test_what_compare_prints(tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    before = {"l1": (10, 9, 11), "l2": (1e-3, 9e-4, 11e-4), "l3": (10, 9, 11), "l4": (10, 9, 11), "l5": (1, 1, 1)}
    after = {"l1": (20, 19, 21), "l2": (4e-3, 39e-4, 41e-4), "l3": (5, 4, 6), "l4": (10.5, 9, 11), "l6": (1, 1, 1)}
    for file, times in zip(files, (before, after)):
        rows = [row(layer, *t, mark="noisy" if layer == "l3" else "") for layer, t in times.items()]
        results.write(file, [*rows, row("m", 2.0**31, quantity="bytes")])
    compare.main([*files, "--all"])
    first, second, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"A: {files[0]}: ") and first.split(" commit ")[1] and second.startswith(f"B: {files[1]}: ")
    assert lines == [
        "slower  cpu float32 conv3x3 l2 forward 8 ours: 1.00 ms -> 4.00 ms, 0.25 times",
        "slower  cpu float32 conv3x3 l1 forward 8 ours: 10.0 s -> 20.0 s, 0.50 times",
        "same    cpu float32 conv3x3 l4 forward 8 ours: 10.0 s -> 10.5 s, 0.95 times",
        "same    cpu float32 conv3x3 m forward 8 ours: 2.00 GiB -> 2.00 GiB, 1.00 times",
        "unsure  cpu float32 conv3x3 l3 forward 8 ours: 10.0 s -> 5.00 s, 2.00 times (A was noisy, B was noisy)",
        "0 faster, 2 slower, 2 within the noise, 1 noisy or measured on a busy machine; only in A: 1, in B: 1",
    ]


@pytest.mark.parametrize("p50, mark, status", [(20.0, "", 1), (20.0, "noisy", 0), (10.0, "", 0), (5.0, "", 0)])
def test_the_gate_closes_for_what_got_slower_beyond_noise(p50, mark, status, tmp_path):
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    results.write(files[0], [row(p50=10.0, p20=9.9, p80=10.1)])
    results.write(files[1], [row(p50=p50, p20=p50 - 0.1, p80=p50 + 0.1, mark=mark)])
    assert compare.main([*files, "--gate"]) == status and compare.main(files) == 0
    text = (tmp_path / "b.csv").read_text()
    (tmp_path / "b.csv").write_text(text.replace(results.conditions()["cpu"], "Another CPU"))
    with pytest.raises(BenchError, match="different machines"):
        compare.main([*files, "--gate"])
    assert compare.main(files) == 0


@pytest.mark.parametrize("name, a, b, alike", [
    ("gpu", "NVIDIA H200 (SM 345 of 1980 MHz, memory 32 MHz)", "NVIDIA H200 (SM 1980 of 1980 MHz, memory 32 MHz)", 1),
    ("gpu", "NVIDIA H200 (SM 345 of 1980 MHz, memory 32 MHz)", "NVIDIA H100 (SM 345 of 1980 MHz, memory 32 MHz)", 0),
    ("cpu", "Xeon X @ 2.20GHz (family 6 model 85; avx512)", "Xeon X @ 2.00GHz (family 6 model 85; avx512 avx2)", 1),
    ("cpu", "AMD EPYC (family 25 model 17; avx512f avx2)", "AMD EPYC, Zen 4 (family 25 model 17; avx512)", 1),
    ("cpu", "AMD EPYC, Zen 4 (family 25 model 17; avx512f avx2)", "AMD EPYC, Zen 5 (family 26 model 2; avx2)", 0),
])
def test_a_clock_is_no_other_machine(name, a, b, alike, capsys):
    assert compare.warn({name: a}, {name: b}) == alike
    assert ("differ" in capsys.readouterr().out) != alike


def test_compare_tells_where_the_machines_differ(capsys):
    a = {"cpu": "X", "cores": "2", "gpu": "", "versions": "numpy=2", "date": "1"}
    assert compare.warn(a, a | {"date": "2"})
    assert capsys.readouterr().out == ""
    assert not compare.warn(a, a | {"cores": "4", "versions": "numpy=3", "gpu": "Y"})
    assert capsys.readouterr().out.splitlines() == [
        "note: A and B differ in cores: 2 | 4", "note: A and B differ in gpu: none | Y",
        "note: A and B differ in versions: numpy=2 | numpy=3"]


@pytest.mark.parametrize("t, text", [
    (12.34, "12.3 s"), (1.234, "1.23 s"), (123.4, "123 s"), (1.0, "1.00 s"), (0.999, "999 ms"), (0.0456, "45.6 ms"),
    (1e-3, "1.00 ms"), (789e-6, "789 us"), (1.5e-6, "1.50 us"), (4e-7, "0.40 us"),
])
def test_seconds_in_three_digits(t, text):
    assert results.seconds(t) == text


@pytest.mark.parametrize("n, text", [
    (2**30, "1.00 GiB"), (3 << 29, "1.50 GiB"), (2**30 - 1, "1024 MiB"), (5 << 20, "5 MiB"),
])
def test_sizes_in_binary_units(n, text):
    assert results.size(n) == text


def test_rows_come_back_from_a_file_as_they_were(tmp_path):
    rows = [row(p50=1.234567, p20=0.0, note="a, \"b\"\n", tolerance=1e-7), row("k", "")]
    results.write(tmp_path / "a" / "k.csv", rows)
    first, second = results.read(tmp_path / "a" / "k.csv")
    assert first["p50"] == 1.2346 and first["p20"] == 0.0 and first["note"] == rows[0]["note"] and second["p50"] == ""
    assert first["tolerance"] == 1e-7 and set(first) == set(results.FIELDS) and first["commit"]


def test_a_figure_that_is_none_is_named_with_its_line(tmp_path):
    file = tmp_path / "k.csv"
    results.write(file, [row(), row("k", "fast")])
    with pytest.raises(BenchError, match=r"k.csv:3: p50 must be a number, got 'fast'$"):
        results.read(file)


def test_an_interrupted_table_keeps_its_preliminary_rows_only_until_the_next(tmp_path):
    table = results.Table(tmp_path / "k.csv")
    table.write([row("early")])
    assert [r["layer"] for r in results.read(table.path)] == ["early"]
    table.add([row("l1")])
    table.add([row("l2")])
    assert [r["layer"] for r in results.read(table.path)] == ["l1", "l2"]
