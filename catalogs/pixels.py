"""Staged files -> which HEALPix pixels the catalog is cut into.

The cut is decided once per set of staged files and saved, so that a resumed commit makes the same files.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalogs.layout import partition_path, sha256_file
from engine.errors import CommitError
from engine.types import Receipt

INDEX_ORDER = 29
SKY_ORDER = 8
GROUP_BYTES = 16 * 2**20
GROUP_FILES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some staged files that are read together: many are tiny, and one by one they would be slow."""

    number: int
    staging: Path
    receipts: tuple[Receipt, ...]

    @property
    def label(self) -> str:
        """A name that another grouping of the same run cannot have."""
        content = "".join(receipt.sha256 for receipt in self.receipts)
        return f"{self.number:06d}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    @property
    def files(self) -> list[Path]:
        """The staged Parquet files."""
        return [self.staging / receipt.file for receipt in self.receipts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Rows per HEALPix pixel of order SKY_ORDER, where there are any, their compressed bytes, and the
    length of the longest text in each text column."""

    indexes: tuple[int, ...]
    counts: tuple[int, ...]
    bytes: int
    widths: Mapping[str, int]

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
    def path(self) -> str:
        """Its file inside the catalog."""
        return partition_path(self.order, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelPlan:
    """The cut. `staged` names the staged bytes that it was made for; pixels follow each other on the sky."""

    staged: str
    tally: Tally
    pixels: tuple[Pixel, ...]

    def to_json(self) -> bytes:
        """The plan as JSON."""
        plain = {
            "staged": self.staged,
            "pixels": [[p.order, p.number] for p in self.pixels],
            "tally": asdict(self.tally),
        }
        return json.dumps(plain).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "PixelPlan":
        """The plan again; ValueError, KeyError or TypeError when `content` is not one."""
        plain = json.loads(content)
        counted = plain["tally"] | {key: tuple(plain["tally"][key]) for key in ("indexes", "counts")}
        return cls(
            staged=plain["staged"],
            tally=Tally(**counted),
            pixels=tuple(Pixel(order, number) for order, number in plain["pixels"]),
        )


def group(staging: Path, receipts: Sequence[Receipt]) -> tuple[Group, ...]:
    """Receipts in groups of bounded bytes and files, in their order."""
    groups: list[list[Receipt]] = [[]]
    size = 0
    for receipt in receipts:
        if groups[-1] and (size + receipt.bytes > GROUP_BYTES or len(groups[-1]) == GROUP_FILES):
            groups.append([])
            size = 0
        groups[-1].append(receipt)
        size += receipt.bytes
    numbered = enumerate(groups)
    return tuple(Group(number=n, staging=staging, receipts=tuple(some)) for n, some in numbered)


def tally(group: Group, schema: pa.Schema) -> Tally:
    """Count a group's rows by pixel; CommitError for a file that is not what its receipt says."""
    index = []
    widths: dict[str, int] = {}
    size = 0
    text = [field.name for field in schema if field.type == pa.string()]
    for receipt, path in zip(group.receipts, group.files, strict=True):
        if sha256_file(path) != receipt.sha256:
            raise CommitError(f"{path} changed after it was staged; delete it and run the same command again")
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise CommitError(f"{path} has other columns: {_difference(file.schema_arrow, schema)}")
            table = file.read(columns=["_healpix_29", *text])
            index.append(table["_healpix_29"].to_numpy() >> 2 * (INDEX_ORDER - SKY_ORDER))
            widths = _wider(widths, {name: _longest(table[name]) for name in text})
            size += _compressed(file.metadata)
    indexes, counts = np.unique(np.concatenate(index), return_counts=True)
    return _tally(indexes, counts, size, widths)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of some tallies."""
    dense = np.zeros(12 * 4**SKY_ORDER, np.int64)
    widths: dict[str, int] = {}
    size = 0
    for one in tallies:
        dense[np.array(one.indexes, np.int64)] += np.array(one.counts, np.int64)
        widths = _wider(widths, one.widths)
        size += one.bytes
    indexes = dense.nonzero()[0]
    return _tally(indexes, dense[indexes], size, widths)


def align(tally: Tally, target_bytes: int) -> tuple[Pixel, ...]:
    """Cut the sky into the largest pixels that hold about `target_bytes` each, empty ones left out.

    A pixel of order SKY_ORDER is never cut: rows without a position all have index 0 and would be in
    one pixel at any order. hats refuses such a pixel, so it is shown at most the threshold.
    """
    from hats.pixel_math.partition_stats import generate_alignment

    threshold = max(1, int(target_bytes * tally.rows / max(1, tally.bytes)))
    histogram = np.minimum(tally.histogram(), threshold)
    order = next(o for o in range(SKY_ORDER + 1) if o == SKY_ORDER or _fits(histogram, o, threshold))
    alignment = generate_alignment(_degrade(histogram, order), highest_order=order, threshold=threshold)
    pixels = {Pixel(int(found[0]), int(found[1])) for found in alignment if found is not None}
    return tuple(sorted(pixels, key=lambda pixel: pixel.start))


def slots(pixels: Sequence[Pixel], index_N: np.ndarray) -> np.ndarray:
    """The position in `pixels`, which follow each other on the sky, of order-29 indices, shape (N,)."""
    starts = np.array([pixel.start for pixel in pixels])
    return np.searchsorted(starts, index_N, side="right") - 1


def _compressed(footer: pq.FileMetaData) -> int:
    groups = (footer.row_group(i) for i in range(footer.num_row_groups))
    return sum(g.column(i).total_compressed_size for g in groups for i in range(footer.num_columns))


def _tally(indexes: np.ndarray, counts: np.ndarray, size: int, widths: Mapping[str, int]) -> Tally:
    return Tally(indexes=tuple(indexes.tolist()), counts=tuple(counts.tolist()), bytes=size, widths=widths)


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    has, needs = ([f"{field.name} {field.type}" for field in one] for one in (found, wanted))
    lacks, besides = [c for c in needs if c not in has], [c for c in has if c not in needs]
    return f"lacks {lacks}, has besides {besides}; staged by another version of the program?"


def _wider(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 1), other.get(name, 1)) for name in sorted({*one, *other})}


def _longest(column: pa.ChunkedArray) -> int:
    return pc.call_function("max", [pc.call_function("utf8_length", [column])]).as_py() or 1


def _degrade(histogram: np.ndarray, order: int) -> np.ndarray:
    return histogram.reshape(12 * 4**order, -1).sum(axis=1)


def _fits(histogram: np.ndarray, order: int, threshold: int) -> bool:
    """Does no pixel of this order hold more? hats' loops are slow, so they start no finer than needed."""
    return bool(_degrade(histogram, order).max() <= threshold)
