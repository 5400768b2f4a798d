"""The model of a kernel's time on paper: what it says of made-up kernels that are bound by one thing alone."""

import pytest

from bench.measure import predict

TRIPS, PROGRAMS = 100, 132 * 4
PRODUCTS = 2 * 64 * 256 * 16 * 4 * 2  # 4 instructions of each of two warp groups
KERNEL = predict.Kernel(
    programs=PROGRAMS, warps=8, resident=1, loop=100, outside=0, products=PRODUCTS, tile=0, waits=False,
    flop=PRODUCTS * TRIPS * PROGRAMS, bytes=0,
)
PASSING = 4 * predict.LATENCY / predict.CLOCK  # of four waves


def test_a_kernel_bound_by_tensor_cores_runs_at_their_peak():
    assert predict.seconds(KERNEL, 3e12) - PASSING == pytest.approx(KERNEL.flop / 989e12)


@pytest.mark.parametrize("change, seconds", [
    ({"loop": 2000}, 4 * TRIPS * 2000 * 8 / 4 / predict.CLOCK), ({"loop": 2000, "resident": 2}, None),
    ({"tile": 1 << 20}, 4 * TRIPS * (1 << 20) / predict.L2 / predict.CLOCK),
    ({"waits": True}, KERNEL.flop / 989e12 + 4 * TRIPS * 100 * 8 / 4 / predict.CLOCK),
    ({"outside": 1000}, KERNEL.flop / 989e12 + 4 * 1000 * 8 / 4 / predict.CLOCK),
])
def test_each_of_what_binds(change, seconds):
    found = predict.seconds(KERNEL._replace(**change), 3e12)
    if seconds is None:  # two at once: as long for each trip of both, half as many waves, each filled once
        alone = predict.seconds(KERNEL._replace(loop=2000), 3e12)
        assert found == pytest.approx(alone - PASSING / 2)
    else:
        assert found == pytest.approx(seconds + PASSING)


def test_a_wave_that_is_not_full_takes_as_long_and_memory_is_the_least():
    one_more = KERNEL._replace(programs=PROGRAMS + 1, flop=PRODUCTS * TRIPS * (PROGRAMS + 1))
    assert predict.seconds(one_more, 3e12) == pytest.approx(predict.seconds(KERNEL, 3e12) * 5 / 4)
    copied = KERNEL._replace(products=0, flop=0, loop=0, bytes=3 * 10**12)
    assert predict.seconds(copied, 3e12) == 1.0


@pytest.mark.parametrize("text, counted, operations", [
    ("HGMMA.64x256x16.F32.BF16 R24", {"HGMMA": 4, "HMMA": 0}, 2 * 64 * 256 * 16 * 4 * 2),
    ("HMMA.16816.F32.BF16 R24", {"HGMMA": 0, "HMMA": 3}, 2 * 16 * 8 * 16 * 3 * 8), ("FFMA", {"HGMMA": 0, "HMMA": 0}, 0),
])
def test_operations_of_instructions(text, counted, operations):
    assert predict.products(text, counted, 8) == operations


def test_the_line_says_that_it_is_a_model():
    row = {"op": "conv3x3", "flop": 989 * 10**9, "predicted_s": 2e-3, "kernel": "forward_kernel"}
    assert predict.line([row, row | {"kernel": "x", "predicted_s": 1e-3}]) == (
        "model, not measured: all kernels 3.00 ms; forward_kernel 2.00 ms, 50% to 50%")
