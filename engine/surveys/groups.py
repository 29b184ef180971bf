"""Files of one star or a few -> shards: tiny ones in groups, large and broken ones alone."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from engine.surveys.index_cache import Indexed
from engine.types import Member, Shard

# A group ends after a file whose hashed name says so, one in 256: then a file that is added or lost changes
# its own group and no other. And it ends before it holds more rows than these.
GROUP_OF = 256
GROUP_ROWS = 1024


def together(files: Sequence[Indexed], key: Callable[[str], str] | None) -> list[list[Indexed]]:
    """The files of each spectrum, by what their names share; only the first of them has rows."""
    if key is None:
        return [[file] for file in files]
    found: dict[str, list[Indexed]] = {}
    for file in files:
        unit = found.setdefault(key(file.entry.name), [])
        unit.append(replace(file, finding=replace(file.finding, rows=0)) if unit else file)
    return list(found.values())


def groups(units: Sequence[list[Indexed]]) -> Iterator[list[Indexed]]:
    """Files in order, cut into groups by their names and rows; a broken file stands alone."""
    group: list[Indexed] = []
    rows = 0
    for unit in units:
        first = unit[0]
        broken = first.finding.problem is not None
        if group and (broken or rows + first.finding.rows > GROUP_ROWS):
            yield group
            group, rows = [], 0
        group.extend(unit)
        rows += first.finding.rows
        if broken or _ends_group(first.entry.name):
            yield group
            group, rows = [], 0
    if group:
        yield group


def _ends_group(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % GROUP_OF == 0


def shard_of_group(group: Sequence[Indexed]) -> Shard:
    """Some files as one shard; a problem is that of the first, which then stands alone."""
    members = tuple(
        Member(
            path=file.entry.name,
            size=file.entry.size,
            rows=file.finding.rows,
            fingerprint=file.fingerprints[0],
        )
        for file in group
    )
    identity = "\n".join(f"{m.path}\n{m.rows}\n{m.fingerprint}" for m in members)
    return Shard(
        path=members[0].path,
        size=sum(member.size for member in members),
        rows=sum(member.rows for member in members),
        shard_id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        problem=group[0].finding.problem,
        members=members,
    )
