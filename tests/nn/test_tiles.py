"""A picture in tiles: the same chroma as at once, on each backend; how far the local layers see; how tiles are cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbc.nn import Network, Settings, tiles

BOUND = 2e-5  # of chroma in [0, 1], which is 0.004 of a* and b*


def network(backend="reference", dtype="float32", **settings):
    """A small one whose chroma varies."""
    net = Network(1 / 16, **{"classes": 3, "global_size": 32} | settings, backend=backend, dtype=dtype)
    rng = np.random.default_rng(0)
    for name, view in net.parameters.views.items():
        view[...] += rng.normal(size=view.shape) * 0.05
        view[...] *= 3 if name.startswith("color.") else 1
    net.refresh()
    return net


def in_tiles(net, luminance, side, vector):
    sizes = []

    def forward(part):
        sizes.append(part.shape[1:3])
        return net.colorize_local(part, vector)

    read = lambda rows, columns: luminance[rows, columns]  # noqa: E731
    chroma = tiles.colorize(net.settings, forward, read, *luminance.shape, side)
    assert len(sizes) > 1 and max(max(sizes)) <= side
    return chroma


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("global_size", [32, 0])
def test_tiles_give_the_chroma_of_the_whole_picture(dtype, global_size):
    net = network(dtype=dtype, global_size=global_size)
    luminance = np.random.default_rng(1).uniform(-1, 1, (328, 272)).astype(dtype)
    copy = luminance[None, :32, :32, None].copy()
    want, logits = net.forward(luminance[None, ..., None], copy if global_size else None)
    vector, seen = net.global_features(copy) if global_size else (None, None)
    got = in_tiles(net, luminance, 192, vector)
    assert np.ptp(want) > 0.3, "there is color"
    assert np.abs(got - want[0]).max() < (1e-7 if dtype == "float64" else BOUND)  # tiles are collected in float32
    assert logits is None or np.array_equal(seen, logits)


@pytest.mark.parametrize("dtype, worst, mean", [("float32", BOUND, 5e-9), ("bfloat16", 0.1, 1e-4)])
def test_tiles_on_the_cpu_backend(dtype, worst, mean):
    """A kernel may be chosen by its size, and Winograd's rounds otherwise than the direct one: one element in thousands
    differs, by 9e-7 in float32, in bfloat16 by 0.04, which is as far off as it is anyway; on average 2e-10 and 5e-6."""
    luminance = np.random.default_rng(1).uniform(-1, 1, (328, 272)).astype(np.float32)
    copy = luminance[None, :32, :32, None].copy()
    net = network("cpu", dtype)
    want, _ = net.forward(luminance[None, ..., None], copy)
    difference = np.abs(in_tiles(net, luminance, 192, net.global_features(copy)[0]) - want[0])
    assert difference.max() < worst and difference.mean() < mean


def test_the_halo_is_all_that_is_seen_and_no_more_than_needed():
    """Changing one row of the picture changes the chroma of blocks of 8 rows exactly as far off as `halo` says."""
    net = network(dtype="float64", global_size=0)
    luminance = np.random.default_rng(0).uniform(-1, 1, (1, 256, 16, 1))
    chroma, before, after = net.colorize_local(luminance), [], []
    for row in range(96, 104):
        changed = luminance.copy()
        changed[:, row] += 1
        difference = np.abs(net.colorize_local(changed) - chroma)[0].reshape(32, -1).max(1)
        blocks = 8 * np.flatnonzero(difference)
        before.append(blocks.max() - row)
        after.append(row - (blocks.min() + 7))
    assert max(before + after) == tiles.halo(net.settings) == tiles.halo(Settings(classes=("a",))) == 61


@given(st.integers(1, 500), st.integers(192, 900))
def test_cuts_cover_an_axis_once(blocks, side):
    size = 8 * blocks
    cuts = tiles.cut(size, side, 64)
    assert [c.keep.start for c in cuts] == [0, *(c.keep.stop for c in cuts[:-1])] and cuts[-1].keep.stop == size
    for keep, see in cuts:
        assert see.stop - see.start <= side and see.start <= keep.start < keep.stop <= see.stop
        assert keep.start % tiles.STEP == see.start % tiles.STEP == 0
        assert see.start in (0, keep.start - 64) and see.stop in (size, keep.stop + 64)
    assert len(cuts) == 1 or size > side


def test_a_tile_that_is_too_small_is_told():
    with pytest.raises(ValueError, match="tiles: a tile must see at least 192 pixels, got 191"):
        tiles.cut(1000, 191, 64)


def test_a_vector_that_does_not_fit_is_told():
    net = network()
    with pytest.raises(ValueError, match="fusion: "):
        net.colorize_local(np.zeros((1, 32, 32, 1), np.float32), np.zeros((1, 3), np.float32))


def test_bytes_per_pixel_are_those_of_the_table():
    assert tiles.bytes_per_pixel(Settings(classes=("a",)), 4) == 4 * 119.5
    assert tiles.bytes_per_pixel(Settings(classes=("a",), global_size=0), 2) == 2 * 119.5
