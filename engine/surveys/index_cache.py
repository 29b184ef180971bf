"""The index of a survey's files on disk: one row for each file.

An entry holds for as long as the file, and the one that is read beside it, keep name, size and stamp: so
planning again opens none of them.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.surveys.store import Entry, Store
from engine.types import Extent

# Part of the cache's file name: raise it when `inspect` of any survey learns to see more.
VERSION = 4

ROW = pa.schema(
    [
        ("name", pa.string()),
        ("size", pa.int64()),
        ("stamp", pa.string()),
        ("name_beside", pa.string()),
        ("size_beside", pa.int64()),
        ("stamp_beside", pa.string()),
        ("fingerprint", pa.string()),
        ("fingerprint_beside", pa.string()),
        ("headers", pa.string()),
        ("rows", pa.int64()),
        ("problem", pa.string()),
        ("extents", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found in one file. A `passing` problem may go away without a trace, so it is not cached.

    `headers` is a digest of whatever the format says of its content: checksums, where it has them.
    """

    rows: int
    headers: str = ""
    extents: Mapping[str, Extent] = field(default_factory=dict)
    problem: str | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """A file, the one that is read beside it, the fingerprints of both, and what was found."""

    entry: Entry
    beside: Entry | None
    fingerprints: tuple[str, str]
    finding: Finding

    @property
    def lasting(self) -> bool:
        """Whether it may be cached: not where a file is there and could not be read."""
        own, other = self.fingerprints
        return not self.finding.passing and bool(own) and (self.beside is None or bool(other))


def cache_path(kind: str, store: Store) -> Path:
    """The cache of a root: under $ABUNDANT_CACHE, else under the user's own cache."""
    folder = Path(os.environ.get("ABUNDANT_CACHE") or Path.home() / ".cache" / "abundant")
    place = hashlib.sha256(repr(store).encode()).hexdigest()[:16]
    return folder / f"index-{kind}-{VERSION}-{place}.parquet"


def load(cache: Path) -> dict[str, Indexed]:
    """The cached entries; none when there is no readable cache, since it can be made again."""
    try:
        return _entries(pq.read_table(cache)) if cache.is_file() else {}
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}


def _entries(table: pa.Table) -> dict[str, Indexed]:
    """The rows of a cache: a million of them in some seconds."""
    columns = [table[name].to_pylist() for name in ROW.names]
    # Files of one layout, of which a survey has many, share what says so.
    layouts = {text: _extents(text) for text in set(columns[-1])}
    columns[-1] = [layouts[text] for text in columns[-1]]
    return dict(zip(columns[0], map(_indexed, *columns), strict=True))


def _extents(text: str | None) -> Mapping[str, Extent]:
    return {
        name: Extent(offset=offset, dtype=dtype, shape=tuple(shape))
        for name, offset, dtype, shape in json.loads(text or "[]")
    }


def _indexed(
    name: str,
    size: int,
    stamp: str,
    name_beside: str | None,
    size_beside: int,
    stamp_beside: str,
    fingerprint: str,
    fingerprint_beside: str,
    headers: str,
    rows: int,
    problem: str | None,
    extents: Mapping[str, Extent],
) -> Indexed:
    beside = None
    if name_beside is not None:
        beside = Entry(name=name_beside, size=size_beside, stamp=stamp_beside)
    return Indexed(
        entry=Entry(name=name, size=size, stamp=stamp),
        beside=beside,
        fingerprints=(fingerprint, fingerprint_beside),
        finding=Finding(rows=rows, headers=headers, extents=extents, problem=problem),
    )


def _row(file: Indexed) -> dict[str, Any]:
    entry, other, finding = file.entry, file.beside, file.finding
    extents = [[n, e.offset, e.dtype, e.shape] for n, e in finding.extents.items()]
    return {
        "name": entry.name,
        "size": entry.size,
        "stamp": entry.stamp,
        "name_beside": other and other.name,
        "size_beside": other and other.size,
        "stamp_beside": other and other.stamp,
        "fingerprint": file.fingerprints[0],
        "fingerprint_beside": file.fingerprints[1],
        "headers": finding.headers,
        "rows": finding.rows,
        "problem": finding.problem,
        "extents": json.dumps(extents) if extents else "",
    }


def save(cache: Path, files: Iterable[Indexed]) -> None:
    """Write the cache as a whole, so that a reader never sees half of one; without it all still works."""
    part = cache.with_suffix(f".{os.getpid()}.part")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([_row(file) for file in files], ROW)
        pq.write_table(table, part, compression="zstd")
        part.replace(cache)
    except OSError as error:
        warnings.warn(f"the index of files is not cached: {error}; set ABUNDANT_CACHE", stacklevel=2)
