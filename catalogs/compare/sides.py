"""The two sides of a comparison as DuckDB sees them: a catalog of ours, or a table in any format."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from catalogs.layout import MANIFEST
from catalogs.macros import labels_of
from catalogs.read import Catalog, open_catalog
from catalogs.sql import MEMORY, name, text
from engine.auxiliary.source import Source, columns_of, open_source
from engine.auxiliary.wanted import key_expression
from engine.errors import InputError, PlanError
from engine.spec import Auxiliary

# What catalogs write for "no value" where they cannot write NULL.
MISSING_BELOW = -9998.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Where the rows are: `relation` goes after FROM. Of `catalog` and `source` one is there."""

    path: Path | str
    title: str
    relation: str
    columns: tuple[str, ...]
    catalog: Catalog | None = None
    source: Source | None = None

    @property
    def labels(self) -> list[str]:
        """The labels of a catalog."""
        return labels_of(self.columns)

    def key(self, column: str, kind: pa.DataType) -> str:
        """SQL of an id, as an integer or a text; InputError when the table's is of another kind."""
        if self.catalog is not None:
            theirs = self.catalog.schema.field(column).type
            if pa.types.is_integer(theirs) != pa.types.is_integer(kind):
                raise InputError(f"{column} is {theirs} in {self.title} and {kind} in the first catalog")
            return f"CAST({name(column)} AS {'BIGINT' if pa.types.is_integer(kind) else 'VARCHAR'})"
        assert self.source is not None
        asked = Auxiliary(path=Path(self.path), key=column, match=column, columns={column: column})
        with of_table():
            return key_expression(asked, self.source, kind, "k").rpartition(" AS ")[0]

    def label(self, column: str) -> str:
        """SQL of a label where it can be used, else NULL: good() in a catalog, a number in a table."""
        if self.catalog is not None and column in self.labels:
            return f"CASE WHEN good({text(column)}) THEN CAST({name(column)} AS DOUBLE) END"
        return self.number(column)

    def number(self, column: str) -> str:
        """SQL of a column as a number; NULL for what is none, and for -9999."""
        value = f"TRY_CAST({name(column)} AS DOUBLE)"
        return f"CASE WHEN isfinite({value}) AND {value} > {MISSING_BELOW} THEN {value} END"


@contextmanager
def opened(
    path: Path | str, columns: Sequence[str], folder: Path
) -> Iterator[tuple[Side, duckdb.DuckDBPyConnection]]:
    """A side and the connection that knows it; of a table in FITS or CSV only `columns` are there."""
    if is_catalog(path):
        catalog = open_catalog(path)
        about = catalog.manifest["catalog"]
        side = Side(
            path=path,
            title=f"{about['name']} {about['version']}",
            relation="catalog",
            columns=tuple(catalog.schema.names),
            catalog=catalog,
        )
        with catalog.duckdb() as connection:
            _bound(connection, folder)
            yield side, connection
        return
    with duckdb.connect() as connection, of_table():
        _bound(connection, folder)
        source = open_source(Path(path), list(dict.fromkeys(columns)), folder, connection)
        relation, title = source.relation, Path(path).name
        yield (
            Side(path=path, title=title, relation=relation, columns=tuple(source.types), source=source),
            connection,
        )


def names_of(path: Path | str) -> tuple[str, ...]:
    """The columns of a catalog or a table."""
    if is_catalog(path):
        return tuple(open_catalog(path).schema.names)
    with of_table():
        return tuple(columns_of(Path(path)))


def is_catalog(path: Path | str) -> bool:
    """Is this a catalog of ours? Whatever lies in an object store is taken for one."""
    return "://" in str(path) or (Path(path) / MANIFEST).exists()


@contextmanager
def of_table() -> Iterator[None]:
    """What goes wrong with a table, without the words of a run's spec."""
    try:
        yield
    except PlanError as error:
        said = str(error)
        for word in ("auxiliary.path: ", "auxiliary.key: ", "auxiliary: "):
            said = said.removeprefix(word)
        raise InputError(said) from error
    except (duckdb.Error, pa.ArrowException) as error:
        raise InputError(f"the table cannot be read as asked: {str(error).partition(chr(10))[0]}") from error


def _bound(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Bounded memory; what does not fit goes to `folder`."""
    connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = {text(folder / 'spill')}")
