"""The two sides of a comparison as DuckDB sees them: a catalog of ours, or a table in any format."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import duckdb
import pyarrow as pa

from catalogs.compare.tables import Table, of_table, source_of
from catalogs.layout import MANIFEST
from catalogs.macros import labels_of
from catalogs.read import Catalog
from catalogs.remote import Location, location
from catalogs.sql import MEMORY, name, text
from engine.auxiliary.source import Source
from engine.auxiliary.wanted import key_expression
from engine.errors import InputError
from engine.spec import Auxiliary, Storage

# What catalogs write for "no value" where they cannot write NULL.
MISSING_BELOW = -9998.0

Given: TypeAlias = Catalog | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Where the rows are: `relation` goes after FROM. Only a table has a `source`."""

    given: Given
    relation: str
    source: Source | None = None

    @property
    def title(self) -> str:
        """What people call it."""
        return title_of(self.given)

    @property
    def catalog(self) -> Catalog | None:
        """The catalog, if it is one."""
        return self.given if isinstance(self.given, Catalog) else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns; of a table, those that were asked for."""
        return columns_of(self.given) if self.source is None else tuple(self.source.types)

    def key(self, column: str, kind: pa.DataType) -> str:
        """SQL of an id, as an integer or a text; InputError when the table's is of another kind."""
        if isinstance(self.given, Catalog):
            theirs = self.given.schema.field(column).type
            if pa.types.is_integer(theirs) != pa.types.is_integer(kind):
                raise InputError(f"{column} is {theirs} in {self.title} and {kind} in the first catalog")
            return f"CAST({name(column)} AS {'BIGINT' if pa.types.is_integer(kind) else 'VARCHAR'})"
        assert self.source is not None
        asked = Auxiliary(path=Path(self.title), key=column, match=column, columns={column: column})
        with of_table():
            return key_expression(asked, self.source, kind, "k").rpartition(" AS ")[0]

    def label(self, column: str) -> str:
        """SQL of a label where it can be used, else NULL: good() in a catalog, a number in a table."""
        if self.catalog is not None and column in labels_of(self.columns):
            return f"CASE WHEN good({text(column)}) THEN CAST({name(column)} AS DOUBLE) END"
        return self.number(column)

    def number(self, column: str) -> str:
        """SQL of a column as a number; NULL for what is none, and for -9999."""
        value = f"TRY_CAST({name(column)} AS DOUBLE)"
        return f"CASE WHEN isfinite({value}) AND {value} > {MISSING_BELOW} THEN {value} END"


def title_of(given: Given) -> str:
    """What people call a side."""
    if isinstance(given, Table):
        return given.title
    about = given.manifest["catalog"]
    return f"{about['name']} {about['version']}"


def columns_of(given: Given) -> tuple[str, ...]:
    """The columns that may hold labels."""
    return given.columns if isinstance(given, Table) else tuple(given.schema.names)


def ids_of(given: Given) -> tuple[str, ...]:
    """The columns that may name rows."""
    return given.ids if isinstance(given, Table) else tuple(given.schema.names)


@contextmanager
def opened(
    given: Given, columns: Sequence[str], folder: Path
) -> Iterator[tuple[Side, duckdb.DuckDBPyConnection]]:
    """A side and the connection that knows it; of a table in FITS or CSV only `columns` are there."""
    if isinstance(given, Catalog):
        with given.duckdb() as connection:
            _bound(connection, folder)
            yield Side(given=given, relation="catalog"), connection
        return
    with duckdb.connect() as connection, of_table():
        _bound(connection, folder)
        source = source_of(given, columns, folder, connection)
        yield Side(given=given, relation=source.relation, source=source), connection


def is_catalog(path: Location | str, storage: Storage | None) -> bool:
    """Is this a catalog of ours? Whatever lies in an object store is taken for one."""
    place = location(path, storage)
    return not isinstance(place, Path) or (place / MANIFEST).exists()


def _bound(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Bounded memory; what does not fit goes to `folder`."""
    connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = {text(folder / 'spill')}")
