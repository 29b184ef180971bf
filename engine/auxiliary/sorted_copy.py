"""A table -> a copy sorted by key, in small row groups: made once, out of core, in one stream."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.auxiliary.clean import clean
from engine.auxiliary.source import CONVERTED, open_source
from engine.auxiliary.wanted import Wanted, expression, key_expression, wanted_columns
from engine.columns import schema
from engine.errors import PlanError
from engine.spec import Auxiliary

KEY = "_key"
INDEX_FILE = "index.parquet"

# DuckDB spills to disk beyond this.
MEMORY = "2GB"
# Of one file: its footer must stay small, since it is parsed at every opening.
PART_ROWS = 65_536
# A batch whose ids lie anywhere reads a whole row group for each of them. Of 14 columns a small one takes
# 0.5 ms, whatever its size; with 110 coefficients a row, 1 MiB takes three times as long as this.
GROUP_BYTES = 128 * 2**10
LEAST_ROWS, MOST_ROWS = 256, 2048
LISTED = 5


def write_sorted(spec: Auxiliary, key_type: pa.DataType, folder: Path) -> None:
    """Fill a folder with part-00000.parquet … and their index; PlanError for a table that cannot be joined.

    Columns have our names and types, beside the key in `_key`. Rows without a key are left out.
    """
    spill = folder / "spill"
    with duckdb.connect() as database:
        database.execute(f"SET memory_limit = '{MEMORY}'")
        database.execute("SET temp_directory = ?", [str(spill)])
        try:
            _write_sorted(spec, key_type, folder, database)
        except (duckdb.Error, pa.ArrowException) as error:
            found = str(error).partition("\n")[0]
            raise PlanError(f"auxiliary: {spec.path} cannot be read as asked: {found}") from error
    shutil.rmtree(spill, ignore_errors=True)
    (folder / CONVERTED).unlink(missing_ok=True)


def _write_sorted(
    spec: Auxiliary, key_type: pa.DataType, folder: Path, database: duckdb.DuckDBPyConnection
) -> None:
    source = open_source(spec.path, [spec.key, *spec.columns.values()], folder, database)
    wanted = wanted_columns(spec, source, database)
    asked = [key_expression(spec, source, key_type, KEY), *(expression(each, source) for each in wanted)]
    query = f"SELECT {', '.join(asked)} FROM {source.relation}"
    ordered = database.sql(f"SELECT * FROM ({query}) WHERE {KEY} IS NOT NULL ORDER BY {KEY}")
    pieces = _checked(spec, key_type, wanted, ordered.to_arrow_reader(PART_ROWS))
    if not write_parts(pieces, folder):
        raise PlanError(f"auxiliary: {spec.path} has no row with a {spec.key}; is it the right table?")


def write_parts(pieces: Iterable[pa.Table], folder: Path) -> bool:
    """Write tables, sorted by `_key` over all of them, as parts and an index; False when there is none."""
    firsts = []
    for part, table in enumerate(pieces):
        path, rows = part_path(folder, part), group_rows(table.schema)
        pq.write_table(table, path, row_group_size=rows, compression="zstd", use_dictionary=False)
        firsts.append(_first_keys(table, part, rows))
    if firsts:
        pq.write_table(pa.concat_tables(firsts), folder / INDEX_FILE)
    return bool(firsts)


def group_rows(table: pa.Schema) -> int:
    """Rows of a row group, by how wide a row is."""
    kinds = [field.type for field in table]
    values = [(k.value_type, k.shape[0]) if isinstance(k, pa.FixedShapeTensorType) else (k, 1) for k in kinds]
    width = sum(8 if pa.types.is_string(kind) else kind.bit_width // 8 * n for kind, n in values)
    return int(np.clip(GROUP_BYTES // width, LEAST_ROWS, MOST_ROWS))


def _first_keys(table: pa.Table, part: int, rows: int) -> pa.Table:
    """Where each row group of a part begins."""
    first = table[KEY].take(pa.array(np.arange(0, len(table), rows)))
    groups = np.arange(len(first), dtype=np.int32)
    return pa.table({"part": np.full(len(first), part, np.int32), "group": groups, "first": first})


def part_path(folder: Path, part: int) -> Path:
    """One of the files of a copy."""
    return folder / f"part-{part:05d}.parquet"


def _checked(
    spec: Auxiliary, key_type: pa.DataType, wanted: list[Wanted], pieces: pa.RecordBatchReader
) -> Iterator[pa.Table]:
    """The sorted rows in pieces, each key once, cleaned."""
    target = pa.schema([pa.field(KEY, key_type), *schema(each.column for each in wanted)])
    last = None
    for piece in pieces:
        if len(piece):
            keys = piece.column(0).cast(key_type)
            _refuse_duplicates(spec, keys, last)
            last = keys[-1].as_py()
            cleaned = [clean(piece.column(i), each, spec) for i, each in enumerate(wanted, start=1)]
            yield pa.table([keys, *cleaned], schema=target)


def _refuse_duplicates(spec: Auxiliary, keys: pa.Array, last: int | str | None) -> None:
    values = keys.to_numpy(zero_copy_only=False)
    doubled = set(values[1:][values[1:] == values[:-1]].tolist())
    if last is not None and values[0] == last:
        doubled.add(last)
    if doubled:
        some = ", ".join(str(key) for key in sorted(doubled)[:LISTED])
        raise PlanError(
            f"auxiliary.key: {spec.path} has several rows for one {spec.key}, such as {some}: keep one"
        )
