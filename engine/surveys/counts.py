"""How many rows files of one star or a few hold: found in parallel, and kept in a cache.

An entry holds for as long as the file keeps its name, size and stamp: then planning again opens none.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import ShardError, ShardUnavailable
from engine.spec import SurveySpec
from engine.surveys.store import Entry, Folder, Store

# Part of the cache's file name: raise it when counting learns to see more.
VERSION = 1
REMOTE_THREADS = 32

ROW = pa.schema(
    [
        ("name", pa.string()),
        ("size", pa.int64()),
        ("stamp", pa.string()),
        ("rows", pa.int64()),
        ("fingerprint", pa.string()),
        ("problem", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A file with its rows. A `passing` problem may go away without a trace, so it is not cached."""

    entry: Entry
    rows: int
    fingerprint: str
    problem: str | None = None
    passing: bool = False


def count_files(
    kind: str,
    spec: SurveySpec,
    store: Store,
    entries: Sequence[Entry],
    count: int | Callable[[SurveySpec, Store, str], int],
) -> list[Counted]:
    """The entries in their order, counted. A file that cannot be counted has a problem and no rows."""
    cache = _cache_path(kind, spec)
    known = _load(cache)
    fresh = [entry for entry in entries if entry not in known]

    def look(entry: Entry) -> Counted:
        return _look(spec, store, entry, count)

    if fresh:
        with ThreadPoolExecutor(1 if isinstance(store, Folder) else REMOTE_THREADS) as pool:
            known |= dict(zip(fresh, pool.map(look, fresh), strict=True))
        _save(cache, [known[entry] for entry in entries if not known[entry].passing])
    return [known[entry] for entry in entries]


def _look(
    spec: SurveySpec, store: Store, entry: Entry, count: int | Callable[[SurveySpec, Store, str], int]
) -> Counted:
    rows, problem, passing = 0, None, False
    try:
        rows = count if isinstance(count, int) else count(spec, store, entry.name)
    except ShardError as error:
        problem, passing = str(error), isinstance(error, ShardUnavailable)
    return Counted(
        entry=entry, rows=rows, fingerprint=store.fingerprint(entry), problem=problem, passing=passing
    )


def _cache_path(kind: str, spec: SurveySpec) -> Path:
    folder = Path(os.environ.get("ABUNDANT_CACHE") or Path.home() / ".cache" / "abundant")
    place = hashlib.sha256(f"{spec.root} {spec.storage.endpoint}".encode()).hexdigest()[:16]
    return folder / f"counts-{kind}-{VERSION}-{place}.parquet"


def _load(cache: Path) -> dict[Entry, Counted]:
    """The cached entries; none when there is no readable cache, since it can be made again."""
    try:
        rows = pq.read_table(cache).to_pylist() if cache.is_file() else []
        return dict(map(_counted, rows))
    except (OSError, pa.ArrowException, KeyError, TypeError):
        return {}


def _counted(row: Mapping) -> tuple[Entry, Counted]:
    entry = Entry(name=row["name"], size=row["size"], stamp=row["stamp"])
    return entry, Counted(
        entry=entry, rows=row["rows"], fingerprint=row["fingerprint"], problem=row["problem"]
    )


def _save(cache: Path, counted: Sequence[Counted]) -> None:
    """Write the cache as a whole, so that a reader never sees half of one; without it all still works."""
    columns = {
        "name": [file.entry.name for file in counted],
        "size": [file.entry.size for file in counted],
        "stamp": [file.entry.stamp for file in counted],
        "rows": [file.rows for file in counted],
        "fingerprint": [file.fingerprint for file in counted],
        "problem": [file.problem for file in counted],
    }
    part = cache.with_suffix(f".{os.getpid()}.part")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, ROW), part, compression="zstd")
        part.replace(cache)
    except OSError as error:
        warnings.warn(f"the counts of files are not cached: {error}; set ABUNDANT_CACHE", stacklevel=2)
