"""Staged files -> sorted partitions, out of core.

split reads each staged file once and writes one Arrow file per group, one record batch per pixel. reduce
collects a pixel's batches, sorts and writes them. Both skip what is already there, and are functions of
values alone, so that any map can run them anywhere.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from catalogs.files import source
from catalogs.groups import Damage, Group, staged_files
from catalogs.layout import atomic_file, sha256_file, write_atomic, write_partition
from catalogs.pixels import Pixel, slots
from catalogs.remote import Location

SLOTS = b"slots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A group's rows by pixel: batch number i of the file belongs to pixel number `slots[i]`.

    There is no file where `damages` names staged files that changed since the cut was made.
    """

    path: Location
    slots: tuple[int, ...]
    damages: tuple[Damage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What makes one partition: its pixel and where its rows are, as (split file, number of the batch)."""

    pixel: Pixel
    sources: tuple[tuple[Location, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where rows go, in which columns they come and are published, and how they are ordered.

    `done` is scratch: a small record of each partition in `folder`.
    """

    folder: Location
    done: Location
    staged: pa.Schema
    schema: pa.Schema
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition on disk."""

    path: str
    rows: int
    bytes: int
    sha256: str


PARTITION = TypeAdapter(Partition)


def split(group: Group, pixels: Sequence[Pixel], folder: Location, schema: pa.Schema) -> Split:
    """Sort a group's rows by pixel into one file; a file that is there is complete and is kept.

    `schema` is that of the staged files: rows stay whole here, whichever catalogs they go to.
    """
    path = folder / f"{group.label}.arrow"
    if (there := already_split(path)) is not None:
        return there
    files = [file for _, file in staged_files(group, schema)]
    if damages := tuple(file for file in files if isinstance(file, Damage)):
        return Split(path=path, slots=(), damages=damages)
    read = (file.read() for file in files if not isinstance(file, Damage))
    return write_split(path, pa.concat_tables(read).combine_chunks(), pixels)


def already_split(path: Location) -> Split | None:
    """What lies there, if anything does: it is complete."""
    if not path.exists():
        return None
    with pa.ipc.open_file(source(path)) as file:
        return Split(path=path, slots=_slots(file.schema))


def write_split(path: Location, table: pa.Table, pixels: Sequence[Pixel]) -> Split:
    """Write rows, in one chunk, by pixel: a record batch for each that has any."""
    slot_N = slots(pixels, table["_healpix_29"].to_numpy())
    order_N = np.argsort(slot_N, kind="stable")
    found, starts = np.unique(slot_N[order_N], return_index=True)
    table = table.take(order_N).replace_schema_metadata({SLOTS: json.dumps(found.tolist())})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    bounds = [*starts, len(table)]
    with atomic_file(path) as temporary, pa.ipc.new_file(temporary, table.schema, options=options) as writer:
        for start, stop in pairwise(bounds):
            writer.write_table(table.slice(start, stop - start).combine_chunks())
    return Split(path=path, slots=tuple(found.tolist()))


def parts(pixels: Sequence[Pixel], splits: Sequence[Split]) -> tuple[Part, ...]:
    """For every pixel the split files that hold rows of it."""
    sources: list[list[tuple[Location, int]]] = [[] for _ in pixels]
    for one in sorted(splits, key=lambda one: one.path.name):
        for batch, slot in enumerate(one.slots):
            sources[slot].append((one.path, batch))
    return tuple(Part(pixel=p, sources=tuple(found)) for p, found in zip(pixels, sources, strict=True))


def reduce(part: Part, target: Target) -> Partition:
    """Write one partition, sorted by index and keys; kept as it is when its record and bytes agree.

    The order is total because keys are unique, so the bytes do not depend on how rows arrived.
    """
    path = target.folder / part.pixel.path
    record = target.done / f"{part.pixel.order}-{part.pixel.number}.json"
    known = _known(record)
    if known is not None and path.is_file() and known.sha256 == sha256_file(path):
        return known
    rows = _sorted(part, target)
    size, sha256 = write_partition(path, rows)
    made = Partition(path=part.pixel.path, rows=len(rows), bytes=size, sha256=sha256)
    write_atomic(record, json.dumps(asdict(made)).encode())
    return made


def _sorted(part: Part, target: Target) -> pa.Table:
    """A partition's rows in order. Column by column, so that they are in memory once, and not three times."""
    fields = [target.staged.get_field_index(name) for name in target.schema.names]
    rows = pa.Table.from_batches([_batch(*source, fields) for source in part.sources])
    order = row_order(rows.select(["_healpix_29", *target.keys]).combine_chunks(), target.keys)
    columns = rows.columns
    del rows
    for n, column in enumerate(columns):
        columns[n] = column.combine_chunks().take(order)
        del column
    return pa.Table.from_arrays(columns, schema=target.schema)


def row_order(table: pa.Table, keys: Sequence[str]) -> pa.Array:
    """The positions of the rows in a catalog's order: by index, then by keys, NULL last."""
    by = [(name, "ascending") for name in ("_healpix_29", *keys)]
    return pc.call_function("sort_indices", [table], pc.SortOptions(sort_keys=by))


def _known(record: Location) -> Partition | None:
    try:
        return PARTITION.validate_json(record.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _batch(path: Location, number: int, fields: Sequence[int]) -> pa.RecordBatch:
    options = pa.ipc.IpcReadOptions(included_fields=list(fields))
    content = pa.memory_map(str(path)) if isinstance(path, Path) else source(path)
    with pa.ipc.open_file(content, options=options) as file:
        return file.get_batch(number).replace_schema_metadata(None)


def _slots(schema: pa.Schema) -> tuple[int, ...]:
    return tuple(json.loads(schema.metadata[SLOTS]))
