"""The shard index on disk: one row for each input file.

An entry holds for as long as the file, and the one that is read beside it, keep relative path, size and
modification time: so planning again costs two `stat`s per file.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from engine.types import Extent

# Part of the cache's file name: raise it when `inspect` of any survey learns to see more.
VERSION = 2

ENTRY = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("size_beside", pa.int64()),
        ("mtime_ns_beside", pa.int64()),
        ("fingerprint", pa.string()),
        ("fingerprint_beside", pa.string()),
        ("headers", pa.string()),
        ("rows", pa.int64()),
        ("problem", pa.string()),
        ("extents", pa.string()),
    ]
)

Stamp: TypeAlias = tuple[int, int]
"""Size in bytes and modification time in ns; (0, 0) of what cannot be reached."""


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
class Entry:
    """What the cache keeps of a file: stamps and fingerprints of it and of the one beside it, the finding."""

    stamps: tuple[Stamp, Stamp]
    fingerprints: tuple[str, str]
    finding: Finding

    @property
    def lasting(self) -> bool:
        """Whether it may be cached: not where a file is there and could not be read."""
        pairs = zip(self.stamps, self.fingerprints, strict=True)
        return not self.finding.passing and all(found or stamp == (0, 0) for stamp, found in pairs)


def cache_path(survey: str, root: Path) -> Path:
    """The cache of a root: under $ABUNDANT_CACHE, else under the user's own cache."""
    folder = Path(os.environ.get("ABUNDANT_CACHE") or Path.home() / ".cache" / "abundant")
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return folder / f"index-{survey}-{VERSION}-{place}.parquet"


def load(cache: Path) -> dict[str, Entry]:
    """The cached entries; none when there is no readable cache, since it can be made again."""
    try:
        rows = pq.read_table(cache).to_pylist() if cache.is_file() else []
        return {row["path"]: _entry(row) for row in rows}
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}


def _entry(row: Mapping[str, Any]) -> Entry:
    extents = {
        name: Extent(offset=offset, dtype=dtype, shape=tuple(shape))
        for name, offset, dtype, shape in json.loads(row["extents"])
    }
    return Entry(
        stamps=((row["size"], row["mtime_ns"]), (row["size_beside"], row["mtime_ns_beside"])),
        fingerprints=(row["fingerprint"], row["fingerprint_beside"]),
        finding=Finding(rows=row["rows"], headers=row["headers"], extents=extents, problem=row["problem"]),
    )


def _row(name: str, entry: Entry) -> dict[str, Any]:
    (size, mtime_ns), (size_beside, mtime_ns_beside) = entry.stamps
    own, beside = entry.fingerprints
    extents = [[n, e.offset, e.dtype, e.shape] for n, e in entry.finding.extents.items()]
    return {
        "path": name,
        "size": size,
        "mtime_ns": mtime_ns,
        "size_beside": size_beside,
        "mtime_ns_beside": mtime_ns_beside,
        "fingerprint": own,
        "fingerprint_beside": beside,
        "headers": entry.finding.headers,
        "rows": entry.finding.rows,
        "problem": entry.finding.problem,
        "extents": json.dumps(extents),
    }


def save(cache: Path, entries: Mapping[str, Entry]) -> None:
    """Write the cache as a whole, so that a reader never sees half of one; without it all still works."""
    rows = [_row(name, entry) for name, entry in entries.items()]
    part = cache.with_suffix(f".{os.getpid()}.part")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, ENTRY), part, compression="zstd")
        part.replace(cache)
    except OSError as error:
        warnings.warn(f"the shard index is not cached: {error}; set ABUNDANT_CACHE", stacklevel=2)
