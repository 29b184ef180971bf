"""A shard index: what planning must know of every input file, found in parallel and kept in a cache.

An entry holds for as long as the file keeps its relative path, size and modification time, so planning
again costs one `stat` per file.
"""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from engine.types import Extent, Shard

# Part of the cache's file name: raise it when `inspect` of any survey learns to see more.
VERSION = 1

# Threads hide the waiting on a remote file system. On a local disk they only fight for the interpreter:
# 10⁴ files took 17 s in eight threads and 6 s in one. A file of a local disk takes half a millisecond.
THREADS = 16
PROBED = 16
SLOW_S = 0.003

ENTRY = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("rows", pa.int64()),
        ("problem", pa.string()),
        ("extents", pa.string()),
    ]
)

Stamp: TypeAlias = tuple[int, int]
"""Size in bytes and modification time in ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found in one file. A `passing` problem may go away without a trace, so it is not cached."""

    rows: int
    extents: Mapping[str, Extent] = field(default_factory=dict)
    problem: str | None = None
    passing: bool = False


def index_shards(
    survey: str,
    root: Path,
    names: Sequence[str],
    inspect: Callable[[Path], Finding],
    beside: Callable[[Path], Path],
) -> list[Shard]:
    """One Shard for each file, in the order of `names`, which are relative to `root`.

    `beside(path)` is the file that is read together with a spectra file: its size is part of the shard's
    identity, since its content is part of what a task gives.
    """
    stamps = {name: _stamp(root / name) for name in names}
    cache = _cache_path(survey, root)
    known = {name: entry for name, entry in _load(cache).items() if entry[0] == stamps.get(name)}
    fresh = [name for name in names if name not in known]
    findings = _inspect_all(inspect, [root / name for name in fresh])
    entries = known | {name: (stamps[name], finding) for name, finding in zip(fresh, findings, strict=True)}
    if fresh:
        _save(cache, {name: entry for name, entry in entries.items() if not entry[1].passing})
    return [_shard(name, *entries[name], _stamp(beside(root / name))[0]) for name in names]


def _inspect_all(inspect: Callable[[Path], Finding], paths: Sequence[Path]) -> list[Finding]:
    """Inspect the files: in threads where the file system keeps us waiting, as the first files tell."""
    start = time.perf_counter()
    first = [inspect(path) for path in paths[:PROBED]]
    if time.perf_counter() - start < PROBED * SLOW_S:
        return first + [inspect(path) for path in paths[PROBED:]]
    with ThreadPoolExecutor(THREADS) as pool:
        return first + list(pool.map(inspect, paths[PROBED:]))


def _stamp(path: Path) -> Stamp:
    """(0, 0) for a file that cannot be reached; `inspect` says why."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _shard(name: str, stamp: Stamp, finding: Finding, size_beside: int) -> Shard:
    size, rows = stamp[0], finding.rows
    identity = hashlib.sha256(f"{name}\n{size}\n{rows}\n{size_beside}".encode()).hexdigest()[:16]
    return Shard(
        path=name,
        size=size,
        rows=rows,
        shard_id=identity,
        extents=finding.extents,
        problem=finding.problem,
    )


def _cache_path(survey: str, root: Path) -> Path:
    folder = Path(os.environ.get("ABUNDANT_CACHE") or Path.home() / ".cache" / "abundant")
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return folder / f"index-{survey}-{VERSION}-{place}.parquet"


def _load(cache: Path) -> dict[str, tuple[Stamp, Finding]]:
    """The cached entries; none when there is no readable cache, since it can be made again."""
    try:
        rows = pq.read_table(cache).to_pylist() if cache.is_file() else []
        return {row["path"]: ((row["size"], row["mtime_ns"]), _finding(row)) for row in rows}
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}


def _finding(row: Mapping[str, Any]) -> Finding:
    extents = {
        name: Extent(offset=offset, dtype=dtype, shape=tuple(shape))
        for name, offset, dtype, shape in json.loads(row["extents"])
    }
    return Finding(rows=row["rows"], extents=extents, problem=row["problem"])


def _save(cache: Path, entries: Mapping[str, tuple[Stamp, Finding]]) -> None:
    """Write the cache as a whole, so that a reader never sees half of one; without it all still works."""
    rows = [
        {
            "path": name,
            "size": size,
            "mtime_ns": mtime_ns,
            "rows": finding.rows,
            "problem": finding.problem,
            "extents": json.dumps([[n, e.offset, e.dtype, e.shape] for n, e in finding.extents.items()]),
        }
        for name, ((size, mtime_ns), finding) in entries.items()
    ]
    part = cache.with_suffix(f".{os.getpid()}.part")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, ENTRY), part, compression="zstd")
        part.replace(cache)
    except OSError as error:
        warnings.warn(f"the shard index is not cached: {error}; set ABUNDANT_CACHE", stacklevel=2)
