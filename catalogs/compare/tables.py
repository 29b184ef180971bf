"""A table of anybody's to compare with: Parquet, CSV, or one of the tables of a FITS file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from catalogs.compare.names import find, find_error, listed
from engine.auxiliary.fits import FitsTable, find_table, fits_tables, fits_to_parquet, unpacked
from engine.auxiliary.source import Source, columns_of, open_source
from engine.errors import InputError, PlanError

ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The file to read, what people call it, its columns, and besides these the ids that others lend it."""

    path: Path
    title: str
    columns: tuple[str, ...]
    ids: tuple[str, ...]
    fits: FitsTable | None = None


def table_of(path: Path, labels: Mapping[str, str], hdu: str | None, folder: Path) -> Table:
    """A table in any format; what is gzipped is unpacked in `folder`. InputError when it cannot be read.

    Of a FITS file the HDU that is named, else the one with the most labels, of these with the most errors, of
    these the first. `labels` are ours with the names under which they are looked for.
    """
    if not (path.name.lower().endswith(ENDINGS) and path.is_file()):
        if hdu is not None:
            raise InputError(f"--hdu {hdu}: {path} is no FITS file; leave it out")
        with of_table():
            columns = tuple(columns_of(path))
        return Table(path=path, title=path.name, columns=columns, ids=columns)
    with of_table():
        file = unpacked(path, folder)
        tables = fits_tables(file)
    chosen = _best(tables, labels) if hdu is None else _named(tables, hdu, path)
    title = path.name if len(tables) == 1 else f"{path.name}[{chosen.title}]"
    ids = (*chosen.columns, *chosen.lent)
    return Table(path=file, title=title, columns=chosen.columns, ids=ids, fits=chosen)


def source_of(
    table: Table, columns: Sequence[str], folder: Path, connection: duckdb.DuckDBPyConnection
) -> Source:
    """The table as DuckDB reads it; of FITS and CSV only these columns are there."""
    wanted = list(dict.fromkeys(columns))
    if table.fits is None:
        return open_source(table.path, wanted, folder, connection)
    copied = fits_to_parquet(table.path, wanted, folder / "copied.parquet", table.fits)
    return open_source(copied, wanted, folder, connection)


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


def _named(tables: Sequence[FitsTable], hdu: str, path: Path) -> FitsTable:
    if (found := find_table(tables, hdu)) is None:
        known = listed([f"{one.hdu} {one.name}".strip() for one in tables])
        raise InputError(f"--hdu {hdu}: {path} has no such table; its tables are {known}")
    return found


def _best(tables: Sequence[FitsTable], labels: Mapping[str, str]) -> FitsTable:
    def richness(table: FitsTable) -> tuple[int, int, int]:
        found = {ours: find(theirs, table.columns) for ours, theirs in labels.items()}
        there = {ours: theirs for ours, theirs in found.items() if theirs is not None}
        errors = sum(find_error(ours, theirs, table.columns) is not None for ours, theirs in there.items())
        return len(there), errors, -table.hdu

    return max(tables, key=richness)
