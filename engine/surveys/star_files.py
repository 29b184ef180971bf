"""Surveys whose files hold one star or a few: many tiny files become one shard, and large ones one each.

A survey of this kind says how its files are told, counted and read; the three functions of the contract
follow from that here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from engine.columns import schema
from engine.errors import PlanError, ShardCorrupt, ShardError, ShardUnavailable
from engine.spec import SurveySpec
from engine.surveys.assemble import Found, assemble
from engine.surveys.groups import groups, shard_of_group, together
from engine.surveys.ids import check_selection, selected
from engine.surveys.index import index_files
from engine.surveys.index_cache import Finding
from engine.surveys.store import Store, store_of
from engine.surveys.survey import Facts, Survey
from engine.types import Column, Member, Shard, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How the files of a survey are told, counted and read.

    `count(spec, store, name)` gives the rows of a file by looking at as little as possible of it, and
    `read(spec, store, name, start, stop)` the rows [start, stop) of those; both raise ShardError. A `count`
    that is a number holds for every file, so that none needs to be opened for the plan. `from_name(name)`
    is what a file's name alone says of its rows, for those of a file that cannot be read.

    Where a spectrum lies in several files, `together(name)` is what their names share. The first of them, by
    name, then has the rows, its `read` looks for the others, and they stay in one shard.
    """

    pattern: re.Pattern[str]
    example: str
    count: int | Callable[[SurveySpec, Store, str], int]
    read: Callable[[SurveySpec, Store, str, int, int], Found]
    from_name: Callable[[str], Mapping[str, Any]]
    together: Callable[[str], str] | None = None


def with_files(facts: Facts, files: Files) -> Survey:
    """A survey whose three functions follow from how its files are read."""
    return Survey(
        **{field.name: getattr(facts, field.name) for field in fields(facts)},
        list_shards=partial(list_shards, facts.name, facts.star_key, files),
        read=partial(read, facts.columns, facts.star_key, files),
        read_ids=partial(read_ids, facts.columns, facts.star_key, files),
    )


def list_shards(name: str, star_key: str, files: Files, spec: SurveySpec) -> list[Shard]:
    """One Shard for each large file, each broken one, and each group of tiny ones, by relative path.

    PlanError when there is no file, or the selection cannot be made.
    """
    check_selection(spec, star_key)
    store = store_of(spec.root, spec.storage)
    entries = sorted(store.entries(files.pattern), key=lambda entry: entry.name)
    if not entries:
        raise PlanError(f"survey.root: no {files.example} anywhere under {spec.root}")
    found = index_files(f"{name}-{spec.spectra}", store, entries, partial(_count, files, spec, store))
    return [shard_of_group(group) for group in groups(together(found, files.together))]


def _count(files: Files, spec: SurveySpec, store: Store, name: str) -> Finding:
    if isinstance(files.count, int):
        return Finding(rows=files.count)
    try:
        return Finding(rows=files.count(spec, store, name))
    except ShardError as error:
        return Finding(rows=0, problem=str(error), passing=isinstance(error, ShardUnavailable))


def read(columns: Sequence[Column], star_key: str, files: Files, spec: SurveySpec, task: Task) -> pa.Table:
    """The selected rows of a task, in the order of its files.

    One broken file of several becomes rows with a `read_problem` and no pixels; where it is alone, or its
    ids are not in its name, its ShardError is raised.
    """
    store = store_of(spec.root, spec.storage)
    if task.shard.problem is not None:
        raise ShardCorrupt(f"{store.address(task.shard.path)}: {task.shard.problem}")
    alone = len(task.shard.members) == 1
    beside = _beside(files, task.shard)

    def one(part: tuple[Member, int, int]) -> pa.Table:
        member, start, stop = part
        try:
            for other in beside.get(member.path, ()):
                store.refuse_change(other.path, other.fingerprint)
            return _read_member(columns, files, spec, store, member, start, stop)
        except ShardCorrupt as error:
            if alone:
                raise
            return _unreadable(columns, files, member, stop - start, str(error))

    return _chosen(store.each(one, list(_overlaps(task))), columns, star_key, spec, task)


def read_ids(
    columns: Sequence[Column], star_key: str, files: Files, spec: SurveySpec, task: Task
) -> pa.Table:
    """The same rows without arrays; of unreadable files what their names say. Raises no ShardError."""
    store = store_of(spec.root, spec.storage)
    scalars = [column for column in columns if not isinstance(column.type, pa.FixedShapeTensorType)]
    parts = []
    for member, start, stop in _overlaps(task):
        try:
            whole = _read_member(columns, files, spec, store, member, start, stop)
            parts.append(whole.select([column.name for column in scalars]))
        except ShardError as error:
            parts.append(_unreadable(scalars, files, member, stop - start, str(error)))
    return _chosen(parts, scalars, star_key, spec, task)


def _overlaps(task: Task) -> Iterator[tuple[Member, int, int]]:
    """The files that a task's rows lie in, each with its own range of rows."""
    first = 0
    for member in task.shard.members:
        start, stop = max(task.start - first, 0), min(task.stop - first, member.rows)
        if start < stop:
            yield member, start, stop
        first += member.rows


def _read_member(
    columns: Sequence[Column],
    files: Files,
    spec: SurveySpec,
    store: Store,
    member: Member,
    start: int,
    stop: int,
) -> pa.Table:
    try:
        store.refuse_change(member.path, member.fingerprint)
        found = files.read(spec, store, member.path, start, stop)
        return assemble(columns, found, stop - start)
    except ShardError as error:
        raise type(error)(f"{store.address(member.path)}: {error}") from error


def _beside(files: Files, shard: Shard) -> Mapping[str, Sequence[Member]]:
    """The other files of each spectrum that lies in several, by the path of its first."""
    if files.together is None:
        return {}
    units: dict[str, list[Member]] = {}
    for member in shard.members:
        units.setdefault(files.together(member.path), []).append(member)
    return {first.path: others for first, *others in units.values()}


def _unreadable(columns: Sequence[Column], files: Files, member: Member, rows: int, problem: str) -> pa.Table:
    """Rows of a file that cannot be read: what its name says, and no good pixel."""
    named = {key: [value] * rows for key, value in files.from_name(member.path).items()}
    dark = {
        column.name: np.full((rows, *column.type.shape), 1 if column.name.startswith("mask_") else 0)
        for column in columns
        if isinstance(column.type, pa.FixedShapeTensorType)
    }
    return assemble(columns, {**named, **dark, "read_problem": [problem] * rows}, rows)


def _chosen(
    parts: list[pa.Table], columns: Sequence[Column], star_key: str, spec: SurveySpec, task: Task
) -> pa.Table:
    """The parts as one table, numbered by row, with the rows that the spec selects."""
    table = pa.concat_tables(parts).combine_chunks() if parts else schema(columns).empty_table()
    at = table.schema.get_field_index("row_in_shard")
    numbers = pa.array(np.arange(task.start, task.start + len(table), dtype=np.int32))
    table = table.set_column(at, table.schema.field(at), numbers)
    return selected(table, spec, star_key)
