"""What a version takes from the one that it follows: whole partitions as they are, or some rows of one.

On a disk a partition is linked, so that it takes no room and outlives the older version; where links are not
possible, and in an object store, it is copied there. Whatever is read is held against the older manifest.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalogs.follow import Old
from catalogs.layout import TEMPORARY, atomic_file, sha256_file, sync
from catalogs.pixels import INDEX_ORDER, SKY_ORDER, Pixel, Tally, tally_of
from catalogs.remote import Location, Remote
from catalogs.shuffle import Partition, Split, already_split, write_split
from catalogs.sums import COUNTED, Sums
from engine.errors import CommitError

SAME = ("_healpix_29", "task_id", "row_in_shard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many rows of an older partition stay and leave, and what those that stay are.

    `keys` is a file with the keys of all that stay: the partition itself where no row leaves, else one of its
    own; None where nothing stays.
    """

    pixel: Pixel
    leaving: int
    tally: Tally
    sums: Sums
    keys: Location | None


def count(old: Old, kept: Collection[str], keys: Sequence[str], folder: Location) -> Counted:
    """What of a partition stays. CommitError unless its bytes, in both catalogs, are the published ones.

    `folder` is scratch.
    """
    for file, said in list(zip(old.files, old.said, strict=True))[1:]:
        if sha256_file(file) != said.sha256:
            raise _damaged(file)
    rows = _read(old.files[0], old.said[0], [*SAME, *COUNTED, *keys])
    stay = rows.filter(_staying(rows, kept))
    order_8 = stay["_healpix_29"].to_numpy() >> 2 * (INDEX_ORDER - SKY_ORDER)
    size = max(said.bytes for said in old.said) * len(stay) // max(1, len(rows))
    return Counted(
        pixel=old.pixel,
        leaving=len(rows) - len(stay),
        tally=tally_of(*np.unique(order_8, return_counts=True), size, {}),
        sums=Sums.of(stay),
        keys=_keys(old, rows, stay.select([*keys, "task_id"]), folder),
    )


def split_old(
    old: Old, pixels: Sequence[Pixel], kept: Collection[str], folder: Location, schema: pa.Schema
) -> Split:
    """The rows of a partition that stay, by pixel, in the columns of staged files. CommitError if damaged."""
    path = folder / f"old-{old.pixel.order}-{old.pixel.number}.arrow"
    if (there := already_split(path)) is not None:
        return there
    main, *side = (_read(file, said, None) for file, said in zip(old.files, old.said, strict=True))
    columns = {name: main[name] for name in main.column_names}
    for beside in side:
        if not beside.select(SAME).equals(main.select(SAME)):
            raise _damaged(old.files[1])
        columns |= {name: beside[name] for name in beside.column_names if name not in columns}
    whole = pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
    return write_split(path, whole.filter(_staying(main, kept)).combine_chunks(), pixels)


def take(file: Location, said: Partition, target: Location) -> Partition:
    """Give a new version a file of the older one, unless it has it."""
    place = target / said.path
    if isinstance(file, Remote) and isinstance(place, Remote):
        if not (place.is_file() and place.stat() == file.stat()):
            file.copy_to(place)
    elif isinstance(file, Path) and isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not (place.exists() and place.samefile(file)):
            _link(file, place)
    return said


def _link(file: Path, place: Path) -> None:
    """Link durably, under a name of its own at first; copy where the disk knows no links."""
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        os.link(file, temporary)
    except FileNotFoundError:
        raise
    except OSError:
        with atomic_file(place) as copied:
            shutil.copyfile(file, copied)
        return
    try:
        temporary.replace(place)
        sync(place.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _read(file: Location, said: Partition, names: Sequence[str] | None) -> pa.Table:
    """Columns of a partition, read whole and once; CommitError unless its bytes are the published ones."""
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != said.sha256:
        raise _damaged(file)
    columns = None if names is None else list(dict.fromkeys(names))
    return pq.ParquetFile(pa.BufferReader(content)).read(columns=columns)


def _damaged(file: Location) -> CommitError:
    return CommitError(
        f"{file}, of the version that is followed, is not what its manifest says; nothing was published and "
        "the staging is kept: mend it from a copy, then run the same command again, or leave "
        "[catalog] follows out to label everything"
    )


def _staying(rows: pa.Table, kept: Collection[str]) -> pa.ChunkedArray:
    """Which rows are of tasks that are kept."""
    known = pc.SetLookupOptions(pa.array(sorted(kept), pa.string()))
    return pc.call_function("is_in", [rows["task_id"]], known)


def _keys(old: Old, rows: pa.Table, stay: pa.Table, folder: Location) -> Location | None:
    if len(stay) in (0, len(rows)):
        return old.files[0] if len(stay) else None
    path = folder / f"{old.pixel.order}-{old.pixel.number}.parquet"
    with atomic_file(path) as temporary:
        pq.write_table(stay.replace_schema_metadata(None), temporary, compression="zstd")
    return path
