"""Keys that occur more than once, wherever the files are."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.files import each, source
from catalogs.remote import Location
from catalogs.sql import Duplicates, duplicates


def duplicate_keys(files: Sequence[Location], keys: Sequence[str], spill: Location) -> Duplicates:
    """As `sql.duplicates`. Of objects in a store the keys alone are fetched, once, into a temporary file."""
    here = [file for file in files if isinstance(file, Path)]
    if isinstance(spill, Path) and len(here) == len(files):
        return duplicates(here, keys, spill)
    with tempfile.TemporaryDirectory(prefix="abundant-keys-") as folder:
        copied = Path(folder) / "keys.parquet"
        columns = [*keys, "task_id"]
        with _written(copied) as write:
            for rows in each(partial(_columns, names=columns), files[0], files):
                write(rows)
        return duplicates([copied], keys, Path(folder))


def _columns(file: Location, names: Sequence[str]) -> pa.Table:
    with pq.ParquetFile(source(file)) as opened:
        return opened.read(columns=list(names)).replace_schema_metadata(None)


@contextmanager
def _written(path: Path) -> Iterator["partial[None]"]:
    """A function that appends tables to a Parquet file."""
    writers: list[pq.ParquetWriter] = []

    def write(rows: pa.Table) -> None:
        if not writers:
            writers.append(pq.ParquetWriter(path, rows.schema, compression="zstd"))
        writers[0].write_table(rows)

    try:
        yield partial(write)
    finally:
        for writer in writers:
            writer.close()
