"""Staged files -> which HEALPix pixels the catalog is cut into.

The cut is decided once per set of staged files and saved, so that a resumed commit makes the same files.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from catalogs.groups import Damage, Group, staged_files
from catalogs.layout import partition_path
from catalogs.sums import COUNTED, Sums
from engine.types import Receipt

INDEX_ORDER = 29
SKY_ORDER = 8
SEQUENCES = ("indexes", "counts", "damages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Rows per HEALPix pixel of order SKY_ORDER, where there are any, their compressed bytes (main or side
    columns, whichever are more), the length of the longest text in each text column, and what must not be
    published."""

    indexes: tuple[int, ...]
    counts: tuple[int, ...]
    bytes: int
    widths: Mapping[str, int]
    damages: tuple[Damage, ...] = ()

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.counts)

    def histogram(self) -> np.ndarray:
        """Rows of every pixel of the sky, shape (12 * 4**SKY_ORDER,)."""
        dense = np.zeros(12 * 4**SKY_ORDER, np.int64)
        dense[np.array(self.indexes, np.int64)] = self.counts
        return dense


@dataclass(frozen=True, slots=True, order=True)
class Pixel:
    """One HEALPix pixel, nested: one partition of the catalog."""

    order: int
    number: int

    @property
    def start(self) -> int:
        """The first order-29 index inside."""
        return self.number << 2 * (INDEX_ORDER - self.order)

    @property
    def cells(self) -> slice:
        """The pixels of order SKY_ORDER inside; it is no finer than they are."""
        width = 4 ** (SKY_ORDER - self.order)
        return slice(self.number * width, (self.number + 1) * width)

    @property
    def path(self) -> str:
        """Its file inside the catalog."""
        return partition_path(self.order, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """What stays of the version that is followed: its rows by outcome, and the paths of partitions.

    Of `whole` ones no row came, went or changed; `parts` are read again, for rows of them that stay.
    """

    sums: Sums
    whole: tuple[str, ...]
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPlan:
    """The cut. `staged` names the staged bytes that it was made for; pixels follow each other on the sky.

    `stay` is None for a catalog that follows none.
    """

    staged: str
    tally: Tally
    pixels: tuple[Pixel, ...]
    stay: Stay | None = None

    @property
    def whole(self) -> frozenset[str]:
        """The paths of partitions that are taken from the followed version as they are."""
        return frozenset() if self.stay is None else frozenset(self.stay.whole)

    def to_json(self) -> bytes:
        """The plan as JSON."""
        plain = {
            "staged": self.staged,
            "pixels": [[p.order, p.number] for p in self.pixels],
            "tally": asdict(self.tally),
        }
        stay = {} if self.stay is None else {"stay": asdict(self.stay)}
        return json.dumps(plain | stay).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "PixelPlan":
        """The plan again; ValueError, KeyError or TypeError when `content` is not one."""
        plain = json.loads(content)
        counted = plain["tally"] | {key: tuple(plain["tally"][key]) for key in SEQUENCES}
        return cls(
            staged=plain["staged"],
            tally=Tally(**counted),
            pixels=tuple(Pixel(order, number) for order, number in plain["pixels"]),
            stay=STAY.validate_python(plain.get("stay")),
        )


STAY: TypeAdapter[Stay | None] = TypeAdapter(Stay | None)


def tally(group: Group, schema: pa.Schema, side: Collection[str] = ()) -> Tally:
    """Count a group's rows by pixel; files that are not what their receipts say are named, not counted.

    `side` names the columns that go to the side catalog.
    """
    text = [field.name for field in schema if field.type == pa.string()]
    index, widths, size, damages = [np.zeros(0, np.int64)], dict[str, int](), 0, list[Damage]()
    for receipt, file in staged_files(group, schema):
        if isinstance(file, Damage):
            damages.append(file)
            continue
        table = file.read(columns=["_healpix_29", *COUNTED, *text])
        if found := _contradictions(table, receipt):
            damages += found
            continue
        index.append(table["_healpix_29"].to_numpy())
        widths = _wider(widths, {name: _longest(table[name]) for name in text})
        size += _compressed(file.metadata, side)
    order_8 = np.concatenate(index) >> 2 * (INDEX_ORDER - SKY_ORDER)
    indexes, counts = np.unique(order_8, return_counts=True)
    return tally_of(indexes, counts, size, widths, damages)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of some tallies."""
    dense = np.zeros(12 * 4**SKY_ORDER, np.int64)
    widths, size, damages = dict[str, int](), 0, list[Damage]()
    for one in tallies:
        dense[np.array(one.indexes, np.int64)] += np.array(one.counts, np.int64)
        widths = _wider(widths, one.widths)
        size += one.bytes
        damages += one.damages
    indexes = dense.nonzero()[0]
    return tally_of(indexes, dense[indexes], size, widths, damages)


def align(tally: Tally, target_bytes: int) -> tuple[Pixel, ...]:
    """Cut the sky into the largest pixels that hold about `target_bytes` each, empty ones left out.

    A pixel of order SKY_ORDER is never cut: rows without a position all have index 0 and would be in
    one pixel at any order. hats refuses such a pixel, so it is shown at most the threshold.
    """
    from hats.pixel_math.partition_stats import generate_alignment

    threshold = fitting(tally, target_bytes)
    histogram = np.minimum(tally.histogram(), threshold)
    order = next(o for o in range(SKY_ORDER + 1) if o == SKY_ORDER or _fits(histogram, o, threshold))
    alignment = generate_alignment(_degrade(histogram, order), highest_order=order, threshold=threshold)
    pixels = {Pixel(int(found[0]), int(found[1])) for found in alignment if found is not None}
    return tuple(sorted(pixels, key=lambda pixel: pixel.start))


def fitting(tally: Tally, target_bytes: int) -> int:
    """How many rows make about `target_bytes`."""
    return max(1, int(target_bytes * tally.rows / max(1, tally.bytes)))


def slots(pixels: Sequence[Pixel], index_N: np.ndarray) -> np.ndarray:
    """The position in `pixels`, which follow each other on the sky, of order-29 indices, shape (N,)."""
    starts = np.array([pixel.start for pixel in pixels])
    return np.searchsorted(starts, index_N, side="right") - 1


def _compressed(footer: pq.FileMetaData, side: Collection[str]) -> int:
    """Bytes of the columns of the main or of the side catalog, whichever has more: both are cut alike."""
    groups = (footer.row_group(i) for i in range(footer.num_row_groups))
    columns = [group.column(i) for group in groups for i in range(footer.num_columns)]
    every = sum(column.total_compressed_size for column in columns)
    wide = (column for column in columns if column.path_in_schema.partition(".")[0] in side)
    beside = sum(column.total_compressed_size for column in wide)
    return max(every - beside, beside)


def _contradictions(table: pa.Table, receipt: Receipt) -> list[Damage]:
    """What staged rows say against their receipt."""
    claimed, found = Sums.claimed(receipt), Sums.of(table)
    index_N = table["_healpix_29"].to_numpy()
    said = []
    if claimed != found:
        said.append(f"the receipt says {_counts(claimed)}; the file holds {_counts(found)}")
    if np.any((index_N < 0) | (index_N >= 12 * 4**INDEX_ORDER)):
        said.append("positions lie outside the sky")
    return [Damage(task_id=receipt.task_id, what=what) for what in said]


def _counts(sums: Sums) -> str:
    bits = ", ".join(f"{bit}: {rows}" for bit, rows in sums.flag_counts.items())
    kinds = f"{sums.ok} ok, {sums.flagged} flagged, {sums.no_result} without result"
    return f"{sums.rows} rows ({kinds}; flag bits {bits or 'none'})"


def tally_of(
    indexes: np.ndarray,
    counts: np.ndarray,
    size: int,
    widths: Mapping[str, int],
    damages: Iterable[Damage] = (),
) -> Tally:
    """A tally from arrays."""
    return Tally(
        indexes=tuple(indexes.tolist()),
        counts=tuple(counts.tolist()),
        bytes=size,
        widths=widths,
        damages=tuple(damages),
    )


def _wider(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 1), other.get(name, 1)) for name in sorted({*one, *other})}


def _longest(column: pa.ChunkedArray) -> int:
    return pc.call_function("max", [pc.call_function("utf8_length", [column])]).as_py() or 1


def _degrade(histogram: np.ndarray, order: int) -> np.ndarray:
    return histogram.reshape(12 * 4**order, -1).sum(axis=1)


def _fits(histogram: np.ndarray, order: int, threshold: int) -> bool:
    """Does no pixel of this order hold more? hats' loops are slow, so they start no finer than needed."""
    return bool(_degrade(histogram, order).max() <= threshold)
