"""The cut of a version that follows another: older pixels stay, new ones cover what is new."""

import numpy as np
import pytest

from catalogs.pixels import SKY_ORDER, Pixel, Tally, align, tally_of
from catalogs.recut import OUTGROWN, extend

CELLS = 12 * 4**SKY_ORDER


def tally(dense: np.ndarray, bytes_per_row: int = 100) -> Tally:
    """Rows by cell, each of so many bytes."""
    indexes = dense.nonzero()[0]
    return tally_of(indexes, dense[indexes], int(dense.sum()) * bytes_per_row, {})


def sky(seed: int, regions: int, rows: int = 40) -> np.ndarray:
    """Rows in some regions of the sky."""
    rng = np.random.default_rng(seed)
    dense = np.zeros(CELLS, np.int64)
    for start in rng.integers(0, CELLS - 4000, regions):
        dense[start + rng.integers(0, 4000, 30)] += rng.integers(1, rows, 30)
    return dense


def coverage(pixels: tuple[Pixel, ...]) -> np.ndarray:
    """How many pixels each cell lies in."""
    covered = np.zeros(CELLS, int)
    for pixel in pixels:
        covered[pixel.cells] += 1
    return covered


@pytest.mark.parametrize("seed", range(4))
def test_without_older_pixels_it_is_the_cut_of_a_first_version(seed: int) -> None:
    dense = sky(seed, regions=seed + 1)
    for target in (20_000, 50_000, 10**9):
        assert extend(tally(dense), (), (), target) == align(tally(dense), target)


@pytest.mark.parametrize("seed", range(4))
def test_every_row_has_one_pixel_and_older_ones_stay(seed: int) -> None:
    before = sky(seed, regions=5)
    old = align(tally(before), 20_000)
    after = before + sky(seed + 100, regions=3)
    after[: CELLS // 3] = 0
    changed = [pixel for pixel in old if (before != after)[pixel.cells].any()]
    new = extend(tally(after), old, changed, 20_000)
    assert (coverage(new)[after > 0] == 1).all()
    assert coverage(new).max() == 1
    assert all(after[pixel.cells].any() for pixel in new)
    assert list(new) == sorted(new, key=lambda pixel: pixel.start)
    for pixel in {*old} - {*new}:
        rows = after[pixel.cells].sum()
        assert rows == 0 or (pixel in changed and rows > OUTGROWN * 200)
    for pixel in {*new} - {*old}:
        assert pixel.order == SKY_ORDER or after[pixel.cells].sum() <= 200


def test_only_what_changed_and_outgrew_twice_the_target_is_cut_again() -> None:
    dense = np.zeros(CELLS, np.int64)
    dense[:: 4**SKY_ORDER // 16] = 10  # 16 cells of each base pixel
    base = tuple(Pixel(0, number) for number in range(12))
    assert extend(tally(dense), base, base, 100 * 80) == base  # 160 rows are twice 80
    cut = extend(tally(dense), base, [base[3]], 100 * 79)
    assert {*base} - {*cut} == {base[3]}
    assert {*cut} - {*base} == {Pixel(1, 12 + child) for child in range(4)}
