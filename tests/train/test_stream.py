"""Batches: an order, crops and flips that are a function of seed, epoch and place alone."""

from itertools import islice

import numpy as np
import pytest
from PIL import Image

from ltbc.train.pictures.folder import scan
from ltbc.train.pictures.stream import RANDOM, batches, make_batch, order, random_bits
from tests.tools.drawn import draw_folder


def take(pictures, number, start=0, batch=3, crop=24, seed=5, workers=2):
    return list(islice(batches(pictures, batch, crop, seed, start, workers), number))


def same(one, other):
    return all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(vars(x).values(), vars(y).values()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_folder(tmp_path_factory.mktemp("photos"), each=4)


def literal_bits(*counters):
    """SplitMix64, one round a counter, in Python's integers."""
    x, mask = 0, 2**64 - 1
    for counter in counters:
        x = (x + 0x9E3779B97F4A7C15 + counter) & mask
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
        x ^= x >> 31
    return x


def test_random_bits_are_splitmix64_of_seed_and_counters():
    got = random_bits(7, 2, np.arange(4)[:, None], np.arange(6))
    assert got.tolist() == [[literal_bits(7, 2, i, j) for j in range(6)] for i in range(4)]
    assert random_bits(0, 0)[0] == literal_bits(0, 0) and random_bits(2**63, 1)[0] == literal_bits(2**63, 1)


USE = {"order": 0, "top": 1, "left": 2, "flip": 3, "shards": 4}  # of the bits; a checkpoint relies on it


@pytest.mark.parametrize("seed", [0, 7, 2**63])
def test_order_crops_and_flips_are_what_a_checkpoint_relies_on(tmp_path, seed):
    """Every pixel of three epochs, from pictures that hold their own coordinates and number."""
    assert RANDOM == "SplitMix64 of seed, use, epoch and place", "another text where another order is made"
    sizes = [(20, 28), (33, 20), (20, 20), (20, 47), (25, 20)]
    (tmp_path / "a").mkdir()
    for k, (height, width) in enumerate(sizes):
        rows, columns = np.mgrid[:height, :width]
        coordinates = np.stack([rows, columns, np.full_like(rows, k)], -1).astype(np.uint8)
        Image.fromarray(coordinates).save(tmp_path / f"a/{k}.png")
    batch = make_batch(scan(tmp_path, 20, near_grey=0), np.arange(15), 16, seed)
    for position in range(15):
        epoch, at = divmod(position, 5)
        k = sorted(range(5), key=lambda i, epoch=epoch: literal_bits(seed, USE["order"], epoch, i))[at]
        top, left = (literal_bits(seed, USE[name], epoch, at) % (size - 15)
                     for name, size in zip(("top", "left"), sizes[k]))
        rows, columns = np.mgrid[top : top + 16, left : left + 16]
        want = np.stack([rows, columns, np.full_like(rows, k)], -1)
        assert np.array_equal(batch.pixels[position], want), position
        assert batch.flip[position] == literal_bits(seed, USE["flip"], epoch, at) % 2


@pytest.mark.parametrize("seed, epoch, shuffle", [(0, 0, 6), (5, 0, 1), (5, 3, 13), (5, 3, 25)])
def test_order_of_shards_is_what_a_checkpoint_relies_on(seed, epoch, shuffle):
    groups, steps = (7, 3, 11, 5), 1 << 20
    shards = sorted(range(4), key=lambda k: literal_bits(seed, USE["shards"], epoch, k))
    reading = [sum(groups[:k]) + i for k in shards for i in range(groups[k])]
    late = [literal_bits(seed, USE["order"], epoch, i) % (shuffle * steps) + i * steps for i in range(26)]
    want = [reading[i] for i in sorted(range(26), key=late.__getitem__)]
    assert order(seed, epoch, groups, shuffle).tolist() == want


def test_random_bits_are_random():
    bits = random_bits(1, 2, np.arange(200)[:, None], np.arange(500))
    assert len(np.unique(bits)) == bits.size
    ones = (bits[..., None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean((0, 1))
    assert np.all(abs(ones - 0.5) < 5 * 0.5 / np.sqrt(bits.size))  # five standard deviations
    counts = np.bincount((bits % np.uint64(29)).ravel().astype(int), minlength=29)
    chi2 = ((counts - bits.size / 29) ** 2 / (bits.size / 29)).sum()
    assert chi2 < 28 + 5 * np.sqrt(2 * 28)


def test_every_epoch_is_another_permutation():
    epochs = [order(3, epoch, (50,), 0) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert tuple(order(4, 0, (50,), 0)) != tuple(epochs[0])


def test_each_picture_once_an_epoch_over_batch_boundaries(folder):
    pictures = scan(folder, 24)
    for crops in pictures.kept.values():
        assert crops.shape == (24, 24, 3)  # so that a crop is the picture, mirrored or not
    seen = []
    for batch in take(pictures, 8):  # 24 pictures: three epochs of 8
        for pixels, label in zip(batch.pixels, batch.labels):
            (i,) = [i for i, kept in pictures.kept.items() if np.array_equal(kept, pixels)]
            assert pictures.labels[i] == label
            seen.append(i)
    assert all(sorted(seen[k : k + 8]) == list(range(8)) for k in (0, 8, 16))
    assert seen[:8] != seen[8:16]


@pytest.mark.parametrize("workers, memory", [(1, 2.0), (3, 2.0), (2, 0.0), (2, 20e-6)])
def test_batches_do_not_depend_on_start_workers_or_memory(folder, workers, memory):
    whole = take(scan(folder, 30), 9)
    pictures = scan(folder, 30, workers=workers, memory=memory)
    in_memory = len(pictures.kept)
    assert in_memory == {2.0: 8, 0.0: 0, 20e-6: 7}[memory]  # 2700 bytes each
    assert same(whole, take(pictures, 9, workers=workers))
    assert same(whole[4:], take(pictures, 5, start=12, workers=workers))
    assert not same(whole, take(pictures, 9, seed=6))


def test_crops_reach_every_corner_and_half_are_mirrored(tmp_path):
    (tmp_path / "a").mkdir()
    rows, columns = np.mgrid[0:20, 0:28]
    Image.fromarray(np.stack([rows, columns, rows], -1).astype(np.uint8)).save(tmp_path / "a/1.png")
    pictures = scan(tmp_path, 20, near_grey=0)
    batch = make_batch(pictures, np.arange(2000), 16, 1)
    top, left = batch.pixels[:, 0, 0, 0].astype(int), batch.pixels[:, 0, 0, 1].astype(int)
    assert set(zip(top, left)) == {(i, j) for i in range(5) for j in range(13)}
    assert (batch.pixels[..., 0] == top[:, None, None] + np.arange(16)[:, None]).all()
    assert (batch.pixels[..., 1] == left[:, None, None] + np.arange(16)).all()
    assert abs(batch.flip.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert abs(np.corrcoef(batch.flip, left)[0, 1]) < 0.12 and abs(np.corrcoef(top, left)[0, 1]) < 0.12
