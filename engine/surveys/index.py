"""What planning must know of every input file, found once and kept in a cache.

What a shard is called follows from the content of its file, and of the one that is read beside it: dates
decide only whether to look again.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from engine.surveys.index_cache import Finding, Indexed, cache_path, load, save
from engine.surveys.store import Entry, Store
from engine.types import Shard

# Threads hide the waiting on a remote file system. On a local disk they only fight for the interpreter:
# 10⁴ files took 17 s in eight threads and 6 s in one. A file of a local disk takes half a millisecond.
THREADS = 32
PROBED = 16
SLOW_S = 0.003


def index_files(
    kind: str,
    store: Store,
    entries: Sequence[Entry],
    inspect: Callable[[str], Finding],
    beside: Mapping[str, Entry] | None = None,
) -> list[Indexed]:
    """The files in their order, each with what `inspect(name)` finds in it.

    `kind` names the survey and whatever else decides what is found. `beside` holds, by the name of a file,
    the one that is read together with it: its content is part of what a task gives.
    """
    others = beside or {}
    cache = cache_path(kind, store)
    known = {name: file for name, file in load(cache).items() if file.beside == others.get(name)}
    fresh = [entry for entry in entries if entry.name not in known or known[entry.name].entry != entry]

    def look(entry: Entry) -> Indexed:
        other = others.get(entry.name)
        fingerprints = store.fingerprint(entry), store.fingerprint(other) if other else ""
        return Indexed(entry=entry, beside=other, fingerprints=fingerprints, finding=inspect(entry.name))

    if fresh:
        known |= {file.entry.name: file for file in _look_at_all(look, fresh)}
        save(cache, [known[entry.name] for entry in entries if known[entry.name].lasting])
    return [known[entry.name] for entry in entries]


def _look_at_all(look: Callable[[Entry], Indexed], entries: Sequence[Entry]) -> list[Indexed]:
    """Look at the files: in threads where the store keeps us waiting, as the first files tell."""
    start = time.perf_counter()
    first = [look(entry) for entry in entries[:PROBED]]
    if time.perf_counter() - start < PROBED * SLOW_S:
        return first + [look(entry) for entry in entries[PROBED:]]
    with ThreadPoolExecutor(THREADS) as pool:
        return first + list(pool.map(look, entries[PROBED:]))


def shard_of(file: Indexed) -> Shard:
    """One file as a shard of its own."""
    finding, (own, other) = file.finding, file.fingerprints
    identity = "\n".join((file.entry.name, str(finding.rows), own, finding.headers, other))
    return Shard(
        path=file.entry.name,
        size=file.entry.size,
        rows=finding.rows,
        shard_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        fingerprint=own,
        path_beside=file.beside.name if file.beside else "",
        fingerprint_beside=other,
        extents=finding.extents,
        problem=finding.problem,
    )
