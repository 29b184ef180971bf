"""SQL on a catalog, read-only; and one row by its key."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from catalogs.guard import check, lock
from catalogs.macros import mistaken
from catalogs.read import Catalog, damaged, open_catalog
from catalogs.remote import Location
from catalogs.sql import SHOWN, name, slashed
from engine.errors import AbundantError, InputError
from engine.spec import Storage

BATCH_ROWS = 10_000


def query(path: Location | str, sql: str, storage: Storage | None = None) -> pa.Table:
    """The rows that one SQL statement selects from the view `catalog`; `macros.py` says what it may call.

    `path` and `storage` as `open_catalog`. The statement sees the catalog's own files and nothing else, and
    can write nothing. InputError with DuckDB's first line when it is wrong; VerifyError when the catalog is
    damaged.
    """
    with stream(path, sql, storage) as rows:
        return rows.read_all()


@contextmanager
def stream(path: Location | str, sql: str, storage: Storage | None = None) -> Iterator[pa.RecordBatchReader]:
    """As `query`, a batch at a time: memory does not grow with the number of rows.

    Columns that share a name are told apart: a, a_1.
    """
    catalog = open_catalog(path, storage)
    with TemporaryDirectory(prefix="abundant-") as spill, catalog.duckdb() as connection:
        lock(connection, catalog.files, spill)
        try:
            check(connection, sql)
            yield _distinct(connection.sql(sql).to_arrow_reader(BATCH_ROWS))
        except (duckdb.ParserException, duckdb.BinderException) as error:
            said = mistaken(str(error), catalog.manifest, catalog.schema.names) or _first(error)
            raise InputError(f"SQL: {said}") from error
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            # DuckDB's errors while rows are streamed arrive as an OSError without a number.
            if isinstance(error, OSError) and error.errno:
                raise
            raise _blame(catalog, f"SQL: {_first(error)}") from error


def find(path: Location | str, key: Sequence[str], storage: Storage | None = None) -> dict[str, Any]:
    """One row, column name -> value, by its full key ("NULL" = no value) or by its id alone.

    `path` and `storage` as `open_catalog`. InputError when there is no such row, or when an id alone names
    several: they are listed. VerifyError when the catalog is damaged.
    """
    catalog = open_catalog(path, storage)
    keys: list[str] = catalog.manifest["keys"]
    wanted = _wanted(catalog, key)
    types = {field.name: _sql_type(field.type) for field in catalog.schema}
    where = " AND ".join(
        f"{name(k)} IS NULL" if value == "NULL" else f"{name(k)} = CAST(? AS {types[k]})"
        for k, value in wanted.items()
    )
    with catalog.duckdb() as connection:
        _check_key(connection, wanted, types)
        values = [value for value in wanted.values() if value != "NULL"]
        try:
            found = connection.execute(
                f"SELECT {slashed(keys)} FROM catalog WHERE {where} ORDER BY 1", values
            ).fetchall()
            if len(found) == 1:
                rows = connection.sql(f"FROM catalog WHERE {where}", params=values).to_arrow_table()
                return rows.to_pylist()[0]
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # The question is sound, so the fault is the catalog's.
            raise damaged(catalog.path, catalog.broken() or _first(error)) from error
    raise _not_one(catalog, wanted, [row[0] for row in found])


def _check_key(
    connection: duckdb.DuckDBPyConnection, wanted: Mapping[str, str], types: Mapping[str, str]
) -> None:
    """InputError for a part of a key that is not of its column's type; looks into no file."""
    for key, value in wanted.items():
        try:
            connection.execute(f"SELECT CAST(? AS {types[key]})", ["0" if value == "NULL" else value])
        except duckdb.Error as error:
            raise InputError(f"{value} is no {key}: {_first(error)}") from error


def _not_one(catalog: Catalog, wanted: Mapping[str, str], found: Sequence[str]) -> InputError:
    asked = f"{'/'.join(wanted)} = {'/'.join(wanted.values())}"
    if not found:
        return InputError(f"no row with {asked} in {catalog.path}")
    more = [f"  … and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    matches = "\n".join([*(f"  {key}" for key in found[:SHOWN]), *more])
    return InputError(f"{len(found)} rows have {asked}; give the full key:\n{matches}")


def _distinct(rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same rows, with no name twice."""
    names: list[str] = []
    for one in rows.schema.names:
        taken = {*names, *rows.schema.names}
        others = (f"{one}_{number}" for number in count(1))
        names.append(one if one not in names else next(new for new in others if new not in taken))
    wanted = pa.schema([field.with_name(new) for field, new in zip(rows.schema, names, strict=True)])
    return pa.RecordBatchReader.from_batches(
        wanted, (pa.RecordBatch.from_arrays(batch.columns, schema=wanted) for batch in rows)
    )


def _blame(catalog: Catalog, what: str) -> AbundantError:
    """What DuckDB stumbled over: the catalog where a quick look finds it damaged, else the question."""
    broken = catalog.broken()
    if broken is not None:
        return damaged(catalog.path, broken)
    return InputError(f"{what} (if that is no mistake in the question: `abundant verify {catalog.path}`)")


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _wanted(catalog: Catalog, given: Sequence[str]) -> Mapping[str, str]:
    keys: list[str] = catalog.manifest["keys"]
    if len(given) == len(keys):
        return dict(zip(keys, given, strict=True))
    if len(given) == 1:
        return {next((key for key in keys if _is_main(catalog.schema.field(key))), keys[-1]): given[0]}
    raise InputError(f"{'/'.join(given)} has {len(given)} parts; a full key is {'/'.join(keys)}")


def _is_main(field: pa.Field) -> bool:
    """Is this the id that the survey itself calls the main one, by its UCD?"""
    return b"meta.main" in (field.metadata or {}).get(b"ucd", b"")


def _sql_type(kind: pa.DataType) -> str:
    names = {pa.string(): "VARCHAR", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT"}
    return names.get(kind, "DOUBLE")
