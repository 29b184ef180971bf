"""Parquet and Arrow (Feather 2, IPC) files as pieces of bounded size, read where they lie.

Of Parquet, pages are decoded as they come: a row range costs its row groups up to its last row, so row groups
of a few thousand rows serve best. Of Arrow, one record batch is held at a time, which `RECORD_BATCH_BYTES`
bounds.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import ShardCorrupt, ShardUnavailable
from engine.spec import SurveySpec, TableColumns
from engine.surveys.store import File, Store

ENDINGS = ("parquet", "arrow", "feather", "ipc")
PIECE_BYTES = 8 * 2**20
RECORD_BATCH_BYTES = 2**30
BUFFER_BYTES = 2**20


class Seekable(io.RawIOBase):
    """A File as Arrow reads it: by offset. A failing disk stays apart from a broken format."""

    def __init__(self, file: File) -> None:
        self.file, self.offset = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.offset, io.SEEK_END: self.file.size}[whence]
        self.offset = max(0, base + offset)
        return self.offset

    def read(self, count: int = -1) -> bytes:
        left = max(0, self.file.size - self.offset)
        count = left if count < 0 else min(count, left)
        try:
            found = self.file.fetch(self.offset, count)
        except OSError as error:
            raise ShardUnavailable(f"{error.strerror or error}; expected a readable file") from error
        self.offset += len(found)
        return found


@contextmanager
def understood() -> Iterator[None]:
    """Whatever Arrow says of bytes that it cannot read, as ShardCorrupt."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise ShardCorrupt(f"expected a whole Parquet or Arrow file: {error}") from error
    except MemoryError as error:
        raise ShardCorrupt(f"more memory than there is for one piece: {error}") from error


def count(_spec: SurveySpec, store: Store, name: str) -> int:
    """The rows of a file, from its metadata."""
    with store.open(name) as file, understood():
        if name.endswith(".parquet"):
            return _rows_of_groups(_parquet(file).metadata)
        return sum(_rows_of_batches(file))


def pieces(
    file: File, name: str, table: TableColumns, wanted: Sequence[str], start: int, stop: int
) -> Iterator[pa.RecordBatch]:
    """Rows [start, stop) of those of the columns `wanted` that a file has, in pieces, in order."""
    if name.endswith(".parquet"):
        yield from _parquet_pieces(_parquet(file), table, wanted, start, stop)
    else:
        yield from _arrow_pieces(file, table, wanted, start, stop)


def schema_of(file: File, name: str) -> pa.Schema:
    """The Arrow schema of a file."""
    return _parquet(file).schema_arrow if name.endswith(".parquet") else _arrow(file).schema


def _parquet(file: File) -> pq.ParquetFile:
    source = pa.PythonFile(Seekable(file), mode="r")
    return pq.ParquetFile(source, pre_buffer=False, buffer_size=BUFFER_BYTES)


def _rows_of_groups(metadata: pq.FileMetaData) -> int:
    rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    if sum(rows) != metadata.num_rows or min(rows, default=0) < 0:
        raise ShardCorrupt(f"row groups of {sum(rows)} rows, expected the {metadata.num_rows} of the file")
    return sum(rows)


def _parquet_pieces(
    parquet: pq.ParquetFile, table: TableColumns, wanted: Sequence[str], start: int, stop: int
) -> Iterator[pa.RecordBatch]:
    groups, first, skip = [], 0, 0
    for index in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(index).num_rows
        if first < stop and first + rows > start:
            _refuse_long_rows(parquet, index, table)
            skip = start - first if not groups else skip
            groups.append(index)
        first += rows
    names = [name for name in wanted if name in parquet.schema_arrow.names]
    size = max(1, PIECE_BYTES // (8 * table.pixels))
    found = parquet.iter_batches(size, row_groups=groups, columns=names, use_threads=False)
    yield from _cut(found, skip, stop - start)


def _refuse_long_rows(parquet: pq.ParquetFile, index: int, table: TableColumns) -> None:
    """ShardCorrupt where the metadata say that arrays hold more values than the spec allows for."""
    arrays = (table.flux, table.ivar, table.error, table.mask, table.wave)
    names = [parquet.schema.column(leaf).path.partition(".")[0] for leaf in range(len(parquet.schema))]
    leaves = [leaf for leaf, name in enumerate(names) if name in arrays]
    # `column()` below ends the process when a leaf's metadata are broken (pyarrow 26: it lets a C++ exception
    # through). A batch of no rows meets the same exception first, and raises it as an error.
    reader: Any = parquet.reader
    list(reader.iter_batches(0, row_groups=[index], column_indices=leaves, use_threads=False))
    group = parquet.metadata.row_group(index)
    for leaf in leaves:
        values = group.column(leaf).num_values
        if values > group.num_rows * table.pixels:
            raise ShardCorrupt(
                f"column {names[leaf]}: {values} values in {group.num_rows} rows, expected arrays of "
                f"{table.pixels} (survey.table.pixels)"
            )


def _arrow(file: File, fields: list[int] | None = None) -> Any:
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    return pa.ipc.open_file(pa.PythonFile(Seekable(file), mode="r"), options=options)


def _rows_of_batches(file: File) -> list[int]:
    """Rows of each record batch; of the batches only one column without arrays is read."""
    schema = _arrow(file).schema
    flat = [k for k, field in enumerate(schema) if not pa.types.is_nested(field.type)]
    plain = [k for k in flat if not isinstance(schema.field(k).type, pa.BaseExtensionType)]
    reader = _arrow(file, plain[:1] or None)
    return [reader.get_batch(index).num_rows for index in range(reader.num_record_batches)]


def _arrow_pieces(
    file: File, table: TableColumns, wanted: Sequence[str], start: int, stop: int
) -> Iterator[pa.RecordBatch]:
    rows = _rows_of_batches(file)
    schema = _arrow(file).schema
    reader = _arrow(file, [k for k, name in enumerate(schema.names) if name in wanted])
    first = 0
    for index, count_of in enumerate(rows):
        if first < stop and first + count_of > start:
            if count_of * table.pixels * 16 > RECORD_BATCH_BYTES:
                raise ShardCorrupt(
                    f"a record batch of {count_of} rows of {table.pixels} pixels takes more than "
                    f"{RECORD_BATCH_BYTES >> 20} MiB; write smaller ones, or Parquet"
                )
            batch = reader.get_batch(index)
            batch.validate(full=True)
            low, high = max(start - first, 0), min(stop - first, count_of)
            yield batch.slice(low, high - low)
        first += count_of


def _cut(found: Iterator[pa.RecordBatch], skip: int, rows: int) -> Iterator[pa.RecordBatch]:
    """The next `rows` rows after the first `skip`."""
    for batch in found:
        taken = batch.slice(skip, rows)
        skip = max(0, skip - len(batch))
        rows -= len(taken)
        if len(taken):
            yield taken
        if rows <= 0:
            return
