"""A shard index: what planning must know of every input file, found in parallel and kept in a cache.

What a shard is called follows from the content of its file, and of the one that is read beside it: dates
decide only whether to look again.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.surveys.fingerprint import fingerprint
from engine.surveys.index_cache import Entry, Finding, Stamp, cache_path, load, save
from engine.types import Shard

# Threads hide the waiting on a remote file system. On a local disk they only fight for the interpreter:
# 10⁴ files took 17 s in eight threads and 6 s in one. A file of a local disk takes half a millisecond.
THREADS = 16
PROBED = 16
SLOW_S = 0.003


def index_shards(
    survey: str,
    root: Path,
    names: Sequence[str],
    inspect: Callable[[Path], Finding],
    beside: Callable[[Path], Path],
) -> list[Shard]:
    """One Shard for each file, in the order of `names`, which are relative to `root`.

    `beside(path)` is the file that is read together with a spectra file: its content is part of the shard's
    identity, since it is part of what a task gives.
    """
    pairs = {name: (root / name, beside(root / name)) for name in names}
    stamps = {name: (_stamp(path), _stamp(other)) for name, (path, other) in pairs.items()}
    cache = cache_path(survey, root)
    known = {name: entry for name, entry in load(cache).items() if entry.stamps == stamps.get(name)}
    fresh = [name for name in names if name not in known]

    def look(name: str) -> Entry:
        path, other = pairs[name]
        fingerprints = fingerprint(path), fingerprint(other)
        return Entry(stamps=stamps[name], fingerprints=fingerprints, finding=inspect(path))

    entries = known | dict(zip(fresh, _look_at_all(look, fresh), strict=True))
    if fresh:
        save(cache, {name: entry for name, entry in entries.items() if entry.lasting})
    return [_shard(name, entries[name]) for name in names]


def _look_at_all(look: Callable[[str], Entry], names: Sequence[str]) -> list[Entry]:
    """Look at the files: in threads where the file system keeps us waiting, as the first files tell."""
    start = time.perf_counter()
    first = [look(name) for name in names[:PROBED]]
    if time.perf_counter() - start < PROBED * SLOW_S:
        return first + [look(name) for name in names[PROBED:]]
    with ThreadPoolExecutor(THREADS) as pool:
        return first + list(pool.map(look, names[PROBED:]))


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _shard(name: str, entry: Entry) -> Shard:
    finding, (own, beside) = entry.finding, entry.fingerprints
    identity = "\n".join((name, str(finding.rows), own, finding.headers, beside))
    return Shard(
        path=name,
        size=entry.stamps[0][0],
        rows=finding.rows,
        shard_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        fingerprint=own,
        fingerprint_beside=beside,
        extents=finding.extents,
        problem=finding.problem,
    )
