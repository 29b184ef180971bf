"""A table in any of its formats as something that DuckDB reads: FROM what, and which columns it has."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from engine.auxiliary.content import check_columns, files_of
from engine.auxiliary.fits import fits_columns, fits_to_parquet
from engine.auxiliary.text import csv_to_parquet, head
from engine.errors import PlanError

Kind: TypeAlias = Literal["integer", "number", "text", "array", "any", "other"]
"""Of a column; "any" is what CSV has: text that may be read as each of them."""

INTEGERS = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
)
# FITS and CSV are copied to this file first.
CONVERTED = "converted.parquet"
SUFFIXES = ("*.parquet", "*.fits", "*.fit", "*.csv", "*.csv.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`relation` goes after FROM; `types` are DuckDB's, by column name."""

    relation: str
    types: Mapping[str, str]
    is_text: bool

    def kind(self, name: str) -> Kind:
        """What a column holds."""
        return "any" if self.is_text else _kind(self.types[name])


def _kind(sql_type: str) -> Kind:
    element = sql_type.partition("[")[0]
    numeric = element in INTEGERS or element in ("FLOAT", "DOUBLE") or element.startswith("DECIMAL")
    if sql_type.count("[") > 1 or not (numeric or sql_type == "VARCHAR"):
        return "other"
    if "[" in sql_type:
        return "array" if numeric else "other"
    return "text" if sql_type == "VARCHAR" else "integer" if element in INTEGERS else "number"


def columns_of(path: Path) -> list[str]:
    """The columns of a table in any of its formats; PlanError when it cannot be read."""
    files, name = files_of(path), path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            return head(path)[1]
        if name.endswith((".fits", ".fit")):
            return fits_columns(path)
        return pq.read_schema(files[0]).names
    except (OSError, EOFError, ValueError, csv.Error, pa.ArrowException) as error:
        raise PlanError(f"auxiliary.path: {path} cannot be read: {error}") from error


def open_source(path: Path, columns: list[str], folder: Path, database: duckdb.DuckDBPyConnection) -> Source:
    """The table of a spec; FITS and CSV are first copied to Parquet in `folder`, only these columns.

    PlanError for a format we do not read, and for a column that is not there. duckdb.Error where the file is
    not what its name says.
    """
    files, name = files_of(path), path.name.lower()
    is_text = name.endswith((".csv", ".csv.gz"))
    if is_text:
        files = [csv_to_parquet(path, columns, folder / CONVERTED)]
    elif name.endswith((".fits", ".fit")):
        files = [fits_to_parquet(path, columns, folder / CONVERTED)]
    elif not files[0].name.lower().endswith(".parquet"):
        raise PlanError(
            f"auxiliary.path: {path} is none of {', '.join(SUFFIXES)}, nor a folder; convert or unpack it"
        )
    listed = ", ".join(quoted(str(file)) for file in files)
    relation = f"read_parquet([{listed}], hive_partitioning = false)"
    described = database.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    types = {row[0]: row[1] for row in described}
    check_columns(path, columns, types)
    return Source(relation=relation, types=types, is_text=is_text)


def quoted(text: str) -> str:
    """Text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A column's name as SQL wants it."""
    return '"' + name.replace('"', '""') + '"'
