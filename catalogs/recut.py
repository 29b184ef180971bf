"""How a version that follows another is cut: pixels stay what they were, so that their files can stay too."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from catalogs.keep import Counted
from catalogs.pixels import SKY_ORDER, Pixel, PixelPlan, Stay, Tally, fitting, tally_of, total
from catalogs.sums import total as total_sums

# A changed partition is cut again once it has so many times the rows that fit. It is rewritten anyhow, and
# one of twice its size can still be held in memory: so pixels, and what people know by them, rarely change.
OUTGROWN = 2


def recut(
    digest: str, staged: Tally, stays: Sequence[Counted], widths: Mapping[str, int], target_bytes: int
) -> PixelPlan:
    """The cut of what was staged and what stays, and which partitions can be taken whole.

    `digest` names both, `widths` are the older version's: they never shrink, since every file says them.
    """
    none = np.zeros(0, np.int64)
    tally = total([staged, tally_of(none, none, 0, widths), *(one.tally for one in stays)])
    new = staged.histogram()
    changed = {one.pixel for one in stays if one.leaving or new[one.pixel.cells].any()}
    stay = Stay(
        sums=total_sums(one.sums for one in stays),
        whole=tuple(one.pixel.path for one in stays if one.pixel not in changed),
        parts=tuple(one.pixel.path for one in stays if one.pixel in changed and one.tally.rows),
    )
    pixels = extend(tally, [one.pixel for one in stays], changed, target_bytes)
    return PixelPlan(staged=digest, tally=tally, pixels=pixels, stay=stay)


def extend(
    tally: Tally, pixels: Sequence[Pixel], changed: Collection[Pixel], target_bytes: int
) -> tuple[Pixel, ...]:
    """The older `pixels` that have rows, and new ones, as large as can be, where there were none.

    Of those in which rows `changed`, an outgrown one is cut again; pixels are never joined. `tally` is of all
    rows of the new version.
    """
    threshold, histogram = fitting(tally, target_bytes), tally.histogram()
    rows = {pixel: int(histogram[pixel.cells].sum()) for pixel in pixels}
    outgrown = {p for p in changed if p.order < SKY_ORDER and rows.get(p, 0) > OUTGROWN * threshold}
    stay = [pixel for pixel in pixels if rows[pixel] and pixel not in outgrown]
    taken = np.zeros(len(histogram), bool)
    for pixel in stay:
        taken[pixel.cells] = True
    sky = _Sky(np.where(taken, 0, histogram), taken, threshold)
    new = [pixel for number in range(12) for pixel in sky.largest(Pixel(0, number))]
    return tuple(sorted([*stay, *new], key=lambda pixel: pixel.start))


class _Sky:
    """Rows that have no pixel yet, and what is taken, at every order."""

    def __init__(self, free: np.ndarray, taken: np.ndarray, threshold: int) -> None:
        shapes = [(12 * 4**order, -1) for order in range(SKY_ORDER + 1)]
        self.rows = [np.sum(free.reshape(shape), axis=1) for shape in shapes]
        self.taken = [np.max(taken.reshape(shape), axis=1) for shape in shapes]
        self.threshold = threshold

    def largest(self, pixel: Pixel) -> Iterator[Pixel]:
        """The largest pixels inside that hold at most the threshold and touch nothing that is taken."""
        rows = self.rows[pixel.order][pixel.number]
        if not rows:
            return
        fits = rows <= self.threshold and not self.taken[pixel.order][pixel.number]
        if fits or pixel.order == SKY_ORDER:
            yield pixel
            return
        for child in range(4):
            yield from self.largest(Pixel(pixel.order + 1, 4 * pixel.number + child))
