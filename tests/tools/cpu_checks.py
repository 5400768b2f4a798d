"""What the tests of cpu kernels share: cases of given sizes, runs between bands of NaN, and how exact a level is."""

from contextlib import contextmanager

import numpy as np
from ml_dtypes import bfloat16

from ltbc.kernels.arrays import sum_dtype
from ltbc.kernels.compare import ROUNDOFF, SAFETY, assert_close, to_float64
from ltbc.kernels.conv3x3 import cpu_few
from ltbc.kernels.conv3x3.cpu_method import method
from ltbc.kernels.cpu import threads
from ltbc.kernels.cpu.buffers import allocate
from ltbc.kernels.cpu.elementwise import BANDS
from ltbc.kernels.cpu.machine import LANES
from ltbc.kernels.cpu.matrix import arithmetic
from tests.tools import helpers
from tests.tools.cpu_memory import Memory

THREADS = (1, 2, 3, 5)


def border(name, a):
    """Activations in buffers of the backend's own, of which nothing is copied."""
    if a.ndim != 4 or name == "w":
        return a
    buffer = allocate(a.shape, a.dtype)
    buffer[...] = a
    return buffer


def drawn(op, sizes, seed=0, **chosen):
    """A case of given sizes."""
    rng = np.random.default_rng(seed)
    layer = helpers.LAYERS[op]
    arguments = {k: rng.standard_normal(helpers.shape(p, sizes)) for k, p in layer.arguments.items()}
    if "w" in arguments:  # sums of about 1, where sigmoid is not flat
        arguments["w"] /= arguments["w"][..., 0].size ** 0.5
    case = helpers.Case(op, sizes, arguments, {k: v[0] for k, v in layer.settings.items()} | chosen)
    return case._replace(arguments={**arguments, "dy": rng.standard_normal(helpers.forward(case).shape)})


@contextmanager
def set_threads(n):
    before = threads.threads()
    threads.set_threads(n)
    try:
        yield
    finally:
        threads.set_threads(before)


def check(case, dtype, threads=THREADS, place=None, wide=False):
    """Forward and backward against the reference in float64, from the same stored values, between bands of NaN; the
    same bits for each of these numbers of threads.

    place: how inputs lie, else as the backend's own buffers. wide: y and dy are float32, whatever dtype is.
    """
    outer = np.float32 if wide else dtype
    kept = {"b": sum_dtype(dtype), "dy": outer}
    rounded = case.converted(lambda k, a: a.astype(kept.get(k, dtype)))
    exact = rounded.converted(lambda k, a: to_float64(a))
    y = helpers.forward(exact).astype(outer)
    want, usual = helpers.results(exact, y=to_float64(y)), helpers.magnitudes(exact, to_float64(y))
    first = None
    for n in threads:
        with set_threads(n), Memory() as memory:
            how = place or memory.place
            placed, names = rounded.converted(how), helpers.LAYERS[case.op].gradients
            got = {"y": helpers.forward(placed, "cpu", out=np.full_like(y, np.nan) if wide else None)}
            got |= zip(names, helpers.backward(placed, how("y", y), "cpu"))
            memory.check()
        if first is None:
            first = got
            for name in helpers.LAYERS[case.op].lengths:
                allowed = tolerance_of(case, dtype, name, got[name].dtype)
                assert_close(f"{case.op} {name} {case.settings}", got[name], want[name], allowed, usual[name])
        for name in got:
            assert got[name].tobytes() == first[name].tobytes(), f"{name}: other bits on {n} threads"


# Factors that are rounded on their way into a product, beside those that are stored: summed weights; the sums over an
# image that `fusion` multiplies; and dz = dy y (1 - y) of sigmoid. A gradient of relu is dy or 0.
ROUNDED = {"upsample2x_conv3x3": {"y": 1, "dx": 1}, "fusion": {"dglobal": 1, "dw": 1}}
WEIGHTS = 3  # of float32's roundings in such a factor: dz is two products and a difference, a sum is of up to 4 weights


def tolerance_of(case, dtype, name, stored):
    """Equation (2) of `kernels/compare.py` as this backend computes.

    Sums are float32 and round to nearest, also those of bfloat16's products, whose factors are exact where they are as
    stored: levels differ in the chain of sums and in Winograd's algorithm only. That one rounds both factors to the
    dtype of products, and multiplies all roundings but the last.
    """
    dtype, of = np.dtype(dtype), algorithm(case, dtype, name)
    rounded = ROUNDED.get(case.op, {}).get(name, 0)
    rounded += name != "y" and case.settings.get("activation") == "sigmoid"
    in_float32 = name == "db" or dtype == np.float32  # db: of dz before it is stored
    factor = WEIGHTS**0.5 * ROUNDOFF["float32"] if in_float32 else ROUNDOFF[dtype.name]
    terms = chain(case, name, of)
    if dtype == bfloat16 and not rounded and not of:
        terms = max(0.25, terms * rounding_terms(terms, 8 if name == "db" else 16))  # one rounding may meet one element
    inside = terms * ROUNDOFF["float32"] ** 2
    if of:
        inside += 2 * ROUNDOFF[arithmetic(dtype).name] ** 2
        inside *= amplification(of, name) ** 2
    if name == "y" and case.settings.get("activation") == "sigmoid":
        inside /= 4**2  # sigmoid's derivative is 1/4 at most
    last = ROUNDOFF[np.dtype(stored).name] if name == "y" or stored == bfloat16 else 0  # else the sum is the result
    return SAFETY * (rounded * factor**2 + inside + last**2) ** 0.5


def rounding_terms(terms, bits):
    """The part of so many terms that float32's 24 bits cannot add exactly: numbers of `bits` bits are, unless they are
    less than 2^(bits - 24) of the sum, which is sqrt(terms) as large as they are. Products of normal numbers are small
    up to four times as often as if they were spread evenly; four bands are added, of longer numbers."""
    return min(1, 16 * terms**0.5 * 2.0 ** (bits - 24))


def chain(case, name, of):
    """Terms of the longest running sum of a result: errors of sums side by side add up as their squares do."""
    terms = int(np.prod(helpers.shape(helpers.LAYERS[case.op].lengths[name], case.sizes)))
    height, width = case.arguments["dy"].shape[1:3] if case.arguments["dy"].ndim == 4 else (1, 1)
    in_bands = case.sizes["N"] * min(BANDS, height) + -(-height // BANDS) * width
    if name == "db":
        return in_bands
    if name == "dglobal":
        return in_bands + case.sizes["Cout"]
    if of:
        return terms / (of.m**2 if name == "dw" else 9)
    if case.op == "upsample2x_conv3x3" and name == "dw":
        return terms / 4  # the phases are added at the end
    few = case.op == "conv3x3" and cpu_few.takes(*case.arguments["w"].shape[2:])
    if few and name == "dw":
        return in_bands
    if few and min(case.arguments["w"].shape[2:]) == case.arguments["w"].shape[3 if name == "y" else 2]:
        return terms / LANES + 4  # in lanes, which are added at the end
    return terms


def algorithm(case, dtype, name):
    """Winograd's, where that result is made by it."""
    if case.op != "conv3x3" or name == "db":
        return None
    (n, h, w, cin), cout, stride = case.arguments["x"].shape, case.arguments["w"].shape[3], case.settings["stride"]
    how = method(np.dtype(dtype), stride, cin, cout, (n, -(-h // stride), -(-w // stride)))
    return how.transforms if getattr(how, name) == "winograd" else None


def amplification(of, name):
    """By how much an algorithm of Winograd multiplies errors of its products.

    An output is sum_p a_p (b_p . x)(g_p . w). Rounding errors of each product add up to |a_p| |b_p| |g_p| over p, which
    the exact sum's own size divides: sqrt(3) for three taps; squared, as rows and columns both are transformed. Outputs
    of a tile count alike; of dw the worst one counts, as there may be one tile only.
    """
    a, b, g = of.a, np.linalg.norm(of.bt, axis=1), np.linalg.norm(of.g, axis=1)
    if name == "dw":
        each = np.linalg.norm(of.g * (b * np.linalg.norm(a, axis=1))[:, None], axis=0) / np.sqrt(of.m)
        return each.max() ** 2
    return np.mean((np.linalg.norm(a * (b * g)[:, None], axis=0) / np.sqrt(3)) ** 2)
