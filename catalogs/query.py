"""SQL on a catalog, read-only; and one row by its key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalogs.layout import ID_COLUMNS
from catalogs.read import Catalog, open_catalog
from catalogs.sql import SHOWN, name, slashed, text
from engine.errors import InputError

# EXPLAIN ANALYZE runs what it explains, a COPY too: only SELECT reads and nothing else.
READING = (duckdb.StatementType.SELECT,)


def query(path: Path | str, sql: str) -> pa.Table:
    """The rows that one SQL statement selects from the view `catalog`.

    The statement sees the catalog's own files and nothing else, and can write nothing. InputError with
    DuckDB's first line when it is wrong.
    """
    with _locked(open_catalog(path)) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in READING:
                raise InputError("give one SELECT statement; the view is named `catalog`")
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise InputError(f"SQL: {str(error).splitlines()[0]}") from error


def find(path: Path | str, key: Sequence[str]) -> dict[str, Any]:
    """One row, column name -> value, by its full key ("NULL" = no value) or by its id alone.

    InputError when there is no such row, or when an id alone names several: they are listed.
    """
    catalog = open_catalog(path)
    keys: list[str] = catalog.manifest["keys"]
    wanted = _wanted(keys, key)
    types = {field.name: _sql_type(field.type) for field in catalog.schema}
    where = " AND ".join(
        f"{name(k)} IS NULL" if value == "NULL" else f"{name(k)} = CAST(? AS {types[k]})"
        for k, value in wanted.items()
    )
    values = [value for value in wanted.values() if value != "NULL"]
    asked = "/".join(wanted.values())
    with catalog.duckdb() as connection:
        try:
            found = connection.execute(
                f"SELECT {slashed(keys)} FROM catalog WHERE {where} ORDER BY 1", values
            ).fetchall()
            if len(found) == 1:
                rows = connection.sql(f"FROM catalog WHERE {where}", params=values).to_arrow_table()
                return rows.to_pylist()[0]
        except duckdb.Error as error:
            raise InputError(f"{asked} is no key ({'/'.join(keys)}): {str(error).splitlines()[0]}") from error
    if not found:
        raise InputError(f"no row with {'/'.join(wanted)} = {asked} in {catalog.path}")
    more = [f"  … and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    matches = "\n".join([*(f"  {row[0]}" for row in found[:SHOWN]), *more])
    raise InputError(f"{len(found)} rows have {'/'.join(wanted)} = {asked}; give the full key:\n{matches}")


def _locked(catalog: Catalog) -> duckdb.DuckDBPyConnection:
    """A connection that can open the catalog's files only. allowed_paths would still let COPY write to
    them: the statement's type is checked as well."""
    connection = catalog.duckdb()
    files = ", ".join(text(file) for file in catalog.files)
    connection.execute(f"SET allowed_paths = [{files}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _wanted(keys: Sequence[str], given: Sequence[str]) -> Mapping[str, str]:
    if len(given) == len(keys):
        return dict(zip(keys, given, strict=True))
    if len(given) == 1:
        return {next((key for key in keys if key in ID_COLUMNS), keys[-1]): given[0]}
    raise InputError(f"{'/'.join(given)} has {len(given)} parts; a full key is {'/'.join(keys)}")


def _sql_type(kind: pa.DataType) -> str:
    names = {pa.string(): "VARCHAR", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT"}
    return names.get(kind, "DOUBLE")
