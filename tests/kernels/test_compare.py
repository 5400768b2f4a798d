"""The table of tolerances: simulated arithmetic stays within it, wrong arithmetic does not; messages name the place."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbc.kernels import compare
from ltbc.kernels.compare import ARITHMETIC, assert_close, relative_error, tolerance

DTYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def tf32(x):
    """x with 13 of float32's bits dropped, as matrix units drop them."""
    return (np.float32(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def running_sum(terms, dtype, truncate_every=0):
    """Terms summed along the last axis one after the other; truncated toward 0 after every so many, if told so."""
    total = np.zeros(terms.shape[:-1], dtype)
    for k in range(0, terms.shape[-1], truncate_every or 1):
        if truncate_every:
            exact = total.astype(np.float64) + terms[..., k : k + truncate_every].sum(-1)
            total = exact.astype(np.float32)
            past = np.abs(total) > np.abs(exact)
            total[past] = np.nextafter(total[past], np.float32(0))
        else:
            total = (total + terms[..., k].astype(dtype)).astype(dtype)
    return total


def product_sums(arithmetic, length, signs):
    """(computed, exact) sums of `length` products in that arithmetic; `signs`: terms of one sign or of both."""
    rng = np.random.default_rng(length)
    a, b = rng.random((2, 100, length)) if signs == "one" else rng.standard_normal((2, 100, length))
    exact = (a * b).sum(-1)
    if arithmetic in ("float64", "float32"):
        a, b = a.astype(arithmetic), b.astype(arithmetic)
        return running_sum(a * b, a.dtype), np.sum(a.astype(np.longdouble) * b, -1)
    a, b = (tf32(x) if arithmetic == "tf32" else x.astype(DTYPES[arithmetic]) for x in (a, b))
    return running_sum(np.float64(a) * np.float64(b), np.float32, 8 if arithmetic == "tf32" else 16), exact


@pytest.mark.parametrize("signs", ["one", "both"])
@pytest.mark.parametrize("length", [1, 9, 576, 4608, 50176])
@pytest.mark.parametrize("arithmetic", ARITHMETIC)
def test_simulated_sums_stay_within(arithmetic, length, signs):
    """Terms of both signs use up a fiftieth or more: the table is no blank cheque. Those of one sign average out."""
    computed, exact = product_sums(arithmetic, length, signs)
    error, allowed = relative_error(computed, exact), tolerance(arithmetic, length)
    assert_close(arithmetic, computed, exact, allowed)
    assert error > allowed / 50 or signs == "one" or length == 1


# What each constant allows, by the error of the arithmetic that it stands for, simulated: wider or narrower by a factor
# of two, it leaves these bounds.
FACTOR, STORED, SUM, DRIFT = (3, 6), (4, 6), (5.5, 10), (8, 12.5)


def fine(shape, seed=0):
    """Normal values with more bits than float64 has, where the machine has them."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(np.longdouble) + 2.0**-40 * rng.standard_normal(shape)


def assert_within(bounds, constant, got, want):
    low, high = bounds
    assert low < compare.SAFETY * constant / relative_error((got - want) / want.std() + 1, np.ones(len(want))) < high


def rounded(x, name):
    return (tf32(x) if name == "tf32" else x.astype(DTYPES[name])).astype(np.longdouble)


MORE_BITS = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no format wider than float64 here")
FORMATS = [pytest.param(name, marks=MORE_BITS if name == "float64" else ()) for name in ARITHMETIC]


@pytest.mark.parametrize("name", FORMATS)
def test_what_rounded_factors_may_cost(name):
    a, b = fine((200, 256)), fine((200, 256), seed=1)
    got = (rounded(a, name) * rounded(b, name)).sum(-1)
    assert_within(FACTOR, (2 * ARITHMETIC[name].factor ** 2) ** 0.5, got, (a * b).sum(-1))


@pytest.mark.parametrize("name", [name for name in FORMATS if name.values[0] != "tf32"])
def test_what_a_stored_result_may_lose(name):
    x = fine(20_000)
    assert_within(STORED, compare.ROUNDOFF[name], rounded(x, name), x)


@pytest.mark.parametrize("length", [64, 576, 4608])
@pytest.mark.parametrize("name", FORMATS)
def test_what_a_running_sum_may_lose(name, length):
    terms = fine((200, length)).astype("float64" if name == "float64" else "float32")
    want = terms.astype(np.longdouble).sum(-1)
    assert_within(SUM, length**0.5 * ARITHMETIC[name].sum, running_sum(terms, terms.dtype), want)


@pytest.mark.parametrize("length", [4608, 50176])
@pytest.mark.parametrize("name, at_once", [("tf32", 8), ("float16", 16), ("bfloat16", 16)])
def test_what_truncating_matrix_units_may_lose(name, at_once, length):
    terms = np.random.default_rng(0).standard_normal((100, length))
    got = running_sum(terms, np.float32, at_once)
    assert_within(DRIFT, ARITHMETIC[name].drift * length, got, terms.sum(-1))


@pytest.mark.parametrize("row, arguments, wanted", [
    ((3e-3, 0, 0), {}, 6e-3 * 2**0.5), ((3e-3, 0, 0), {"factors": 0}, 0), ((3e-3, 0, 0), {"factors": 3}, 6e-3 * 3**0.5),
    ((0, 1e-3, 0), {}, 2e-3 * 9**0.5), ((0, 0, 1e-3), {}, 2e-3 * 9), ((0, 0, 0), {"storage": "float16"}, 2.0**-10),
    ((3e-3, 4e-3, 1e-3), {"factors": 1, "storage": "float32"}, 2 * ((9 + 9 * 16) ** 0.5 * 1e-3 + 9e-3)),
])
def test_tolerances_are_equation_2(row, arguments, wanted, monkeypatch):
    monkeypatch.setitem(ARITHMETIC, "float64", compare.Arithmetic(*row))
    assert tolerance("float64", 9, **arguments) == pytest.approx(wanted, rel=1e-6, abs=2.0**-51)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_results_are_stored_wide_unless_it_is_said(name):
    wide = "float64" if name == "float64" else "float32"
    assert tolerance(name, 1) == tolerance(name, 1, wide) < tolerance(name, 1, "bfloat16")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_kept_in_16_bits_are_refused(dtype):
    a, b = np.random.default_rng(0).standard_normal((2, 100, 576)).astype(DTYPES[dtype])
    exact = (a.astype(float) * b.astype(float)).sum(-1)
    with pytest.raises(AssertionError):
        assert_close(dtype, running_sum(a * b, DTYPES[dtype]), exact, tolerance(dtype, 576))


@pytest.mark.parametrize("arithmetic, lower", [("float64", "float32"), ("float32", "tf32"), ("float16", "bfloat16")])
def test_the_next_lower_arithmetic_is_refused(arithmetic, lower):
    computed, exact = product_sums(lower, 576, "both")
    with pytest.raises(AssertionError):
        assert_close(lower, computed, exact, tolerance(arithmetic, 576))


@given(st.sampled_from(sorted(ARITHMETIC)), st.integers(1, 10**6), st.sampled_from(sorted(compare.ROUNDOFF)))
def test_tolerance_grows_with_length_and_storage(arithmetic, length, storage):
    assert tolerance(arithmetic, length) < tolerance(arithmetic, length + 1) < 1
    assert tolerance(arithmetic, length, storage, factors=0) <= tolerance(arithmetic, length, storage)
    assert tolerance(arithmetic, length, storage) >= compare.SAFETY * compare.ROUNDOFF[storage]


@pytest.mark.parametrize("arguments, message", [
    (("int8", 1), "compare: arithmetic must be one of float64, float32, tf32, float16, bfloat16, got 'int8'"),
    (("float32", 0), "compare: length must be at least 1, got 0"),
    (("float32", 1, np.int32), "compare: storage must be one of float64, float32, float16, bfloat16, got int32"),
])
def test_tolerance_rejects(arguments, message):
    with pytest.raises(ValueError) as caught:
        tolerance(*arguments)
    assert str(caught.value) == message


def test_relative_error():
    assert relative_error([3.0, 4.1], [3.0, 4.0]) == pytest.approx(0.02)
    assert relative_error(np.float32([1.5]), np.array([1.0], ml_dtypes.bfloat16)) == 0.5
    assert relative_error([0.0], [0.0]) == 0 and relative_error([1e-30], [0.0]) == np.inf
    assert relative_error([np.nan], [1.0]) == relative_error([np.inf], [np.inf]) == np.inf
    assert relative_error([0.1], [0.0], magnitude=[2.0]) == 0.05
    assert relative_error(np.ones((0, 3)), np.ones((0, 3))) == 0
    with pytest.raises(ValueError, match=r"shapes differ, \[1\] and \[1, 1\]"):
        relative_error([1.0], [[1.0]])


def failure(*args):
    with pytest.raises(AssertionError) as caught:
        assert_close(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_messages_name_the_worst_and_the_first_element():
    want = np.ones((2, 3))
    got = want + [[0, 0.5, 0], [0, 0, -1]]
    assert failure("dw", got, want, 1e-3) == (
        "dw: relative error 4.56e-01, tolerance 1.00e-03; worst at [1, 2]: got 0, want 1; "
        "2 of 6 elements off, the first at [0, 1]"
    )
    assert failure("y", got[:1], want, 1) == "y: shape [1, 3], the reference has [2, 3]"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_passes(bad):
    got, want = np.ones((2, 3)), np.ones((2, 3))
    got[1, 0] = bad
    assert failure("y", got, want, 1e9) == f"y: {bad} at [1, 0], 1 of 6 not finite"
    assert failure("y", want, got, 1e9) == "y: the reference itself holds NaN or infinity"
    assert failure("y", got, got, 1e9).startswith("y: the reference itself")


@pytest.mark.parametrize("at, size", [(0, 10.0), (1, 1.0)])
def test_single_elements_may_be_off_by_eight_tolerances(at, size):
    """Of their own size, or of the root mean square, which is 1 here, where that is larger."""
    want = np.r_[10.0, 0.01, np.sqrt(np.full(100_000, 1 - 1e-3))]
    for off, passes in ((7.5, True), (8.5, False), (-7.5, True), (-8.5, False)):
        got = want.copy()
        got[at] += off * size * 1e-3
        if passes:
            assert assert_close("y", got, want, 1e-3) < 1e-3
        else:
            assert f"worst at [{at}]" in failure("y", got, want, 1e-3) and relative_error(got, want) < 1e-3


SIZES = (1e-320, 1e-300, 1e-200, 1e-154, 1.0, 1e154, 1e200, 1e308)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", (0, 0.5, 1, -1))
def test_errors_do_not_overflow_or_vanish(size, other):
    """Twice, half, none of or minus what is wanted, at any size: squares of the larger ones are infinite."""
    ones = np.full((2, 3), size)
    if other == 1:
        assert assert_close("y", ones, ones, 0) == 0
        return
    assert relative_error(other * ones, ones) == pytest.approx(1 - other, rel=1e-3)
    assert failure("y", other * ones, ones, 1e-6).startswith("y: relative error ")
    assert "6 of 6 elements off, the first at [0, 0]" in failure("y", other * ones, ones, 1e-6)
    assert relative_error(ones, 0 * ones) == np.inf and "inf" in failure("y", ones, 0 * ones, 1e-6)
    one = ones.copy()
    one[1, 2] *= other
    assert "worst at [1, 2]" in failure("y", one, ones, 1e-6) and "1 of 6" in failure("y", one, ones, 1e-6)


@pytest.mark.parametrize("large", SIZES[5:])
def test_one_huge_element_does_not_hide_what_is_wrong(large):
    want = np.array([large, 1.0, 1.0])
    assert "worst at [0]: got 1" in failure("y", [1.0, 1.0, 1.0], want, 1e-6)
    assert "worst at [0]: got" in failure("y", want, [1.0, 1.0, 1.0], 1e-6)
    with pytest.raises(AssertionError):
        assert_close("y", [1.0, 1.0, np.nan], want, 1e9)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -1e-9])
def test_tolerances_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="^compare: tolerance must be a number from 0 on, got -?(nan|inf|1e-09)$"):
        assert_close("y", [1.0], [1.0], wrong)


def test_arguments_that_cannot_be_compared_are_refused():
    with pytest.raises(TypeError, match="^compare: arrays must be real, got complex128$"):
        assert_close("y", [1j], [0.0], 1.0)
    for magnitude in (np.nan, np.inf):
        with pytest.raises(ValueError, match="^compare: magnitude must be finite, got NaN or infinity$"):
            assert_close("y", [1.0], [2.0], 1e-3, [magnitude])


def test_errors_of_elements_are_relative_to_their_size_or_the_mean():
    want = np.array([3.0, -0.1, np.sqrt(3 * 4 - 9.01)])  # root mean square 2
    found = compare.element_errors(want + [0.03, 0.03, 0.0], want)
    np.testing.assert_allclose(found, [0.01, 0.015, 0.0], rtol=1e-12)
    np.testing.assert_allclose(compare.element_errors(want + 0.03, want, magnitude=[6.0] * 3), 0.005, rtol=1e-12)
    assert np.isnan(compare.element_errors([np.nan, 1.0], [1.0, 1.0])).tolist() == [True, False]
    assert compare.element_errors([0.0, 1.0], [0.0, 0.0]).tolist() == [0.0, np.inf]
    assert compare.element_errors(np.ones((0, 2)), np.ones((0, 2))).shape == (0, 2)


def test_one_wrong_element_among_a_million_is_seen():
    """Which the norm, at 1e-3, would not see: not with 16-bit storage's tolerance."""
    want = np.random.default_rng(0).standard_normal(1_000_000)
    got = want.copy()
    got[123_456] += 1
    assert relative_error(got, want) < tolerance("bfloat16", 9) < 0.1
    assert "worst at [123456]" in failure("y", got, want, tolerance("bfloat16", 9))


@given(st.integers(0, 99))
def test_magnitude_forgives_cancellation_and_no_more(seed):
    """One sum whose terms cancel: its error is that of the terms."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 1, 64))
    a[0, -1] = (1e-6 - a[0, :-1] @ b[0, :-1]) / b[0, -1]
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    exact, computed = (a32.astype(float) * b32).sum(-1), running_sum(a32 * b32, np.float32)
    usual, allowed = np.sqrt(((a32.astype(float) * b32) ** 2).sum(-1)), tolerance("float32", 64)
    assert_close("y", computed, exact, allowed, usual)
    failure("y", computed + 10 * allowed * usual, exact, allowed, usual)
