"""FITS and VOTable tables through astropy, as the columns of `tables.Table`."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.tree import TableElement

from engine.broken import BROKEN_BYTES
from engine.errors import ShardCorrupt
from engine.surveys.fits_headers import walk
from engine.surveys.gaia.content import Content, plain_bytes, plain_path
from engine.surveys.gaia.contract import Kind, Values
from engine.surveys.store import Folder, Store

# astropy parses a VOTable as a whole. The archive gives 5,000 sources at once: 90 MB of coefficients.
VOTABLE_LIMIT = 256 * 2**20
# astropy makes room for as many rows as a table says it has, before it reads one.
NROWS = re.compile(rb"(<TABLE\b[^>]*?)\bnrows\s*=\s*[\"'][^\"'>]*[\"']")
# The most that the FITS standard allows.
COLUMN_LIMIT = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryTable:
    """See `tables.Table`. `fetch(column, start, stop)` gives rows as astropy has them."""

    units: Mapping[str, str]
    arrays: Mapping[str, bool]
    length: int
    fetch: Callable[[str, int, int], Any]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    def holds_arrays(self, column: str) -> bool:
        return self.arrays.get(column, False)

    def rows(self) -> int:
        return self.length

    def read(self, wanted: Mapping[str, Kind], start: int, stop: int) -> Values:
        if not 0 <= start < stop <= self.length:
            raise ShardCorrupt(f"{self.length} rows, expected rows {start} to {stop}")
        found = {}
        for name, kind in wanted.items():
            with _corrupt(f"column {name}: expected values that astropy can read"):
                found[name] = _native(self.fetch(name, start, stop), name, kind)
        return found


@contextmanager
def _corrupt(expected: str) -> Iterator[None]:
    """What astropy raises over broken bytes, as ShardCorrupt."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except BROKEN_BYTES as error:
        raise ShardCorrupt(f"{expected}: {type(error).__name__}: {str(error)[:200]}") from error


@contextmanager
def fits_table(store: Store, name: str, content: Content) -> Iterator[BinaryTable]:
    """The first table of a FITS file, read from disk as its rows are asked for."""
    with plain_path(store, name, content) as path:
        _check_headers(path)
        with _corrupt("expected a FITS table"):
            hdus = fits.open(path, memmap=True)
        with hdus:
            with _corrupt("expected a FITS table"):
                table = _first_table(hdus)
            yield table


def _check_headers(path: Path) -> None:
    """ShardCorrupt for data beyond the file's end, or headers that would cost astropy its memory."""
    with Folder(path.parent).open(path.name) as file:
        for hdu in walk(file.fetch, file.size):
            columns = hdu.value("TFIELDS", 1)
            if not (isinstance(columns, int) and 0 < columns <= COLUMN_LIMIT):
                raise ShardCorrupt(f"HDU {hdu.name}: TFIELDS = {columns}, expected 1 to {COLUMN_LIMIT}")


def _first_table(hdus: fits.HDUList) -> BinaryTable:
    hdu = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
    if hdu is None:
        raise ShardCorrupt("no binary table, expected one")
    header: Any = hdu.header
    data: Any = lambda: hdu.data  # noqa: E731 - read when it is first asked for
    real: dict[str, Any] = {str(column.name).lower(): column for column in cast(Any, hdu.columns)}
    return BinaryTable(
        units={name: column.unit for name, column in real.items() if column.unit},
        arrays={name: _is_array(column) for name, column in real.items()},
        length=int(header["NAXIS2"]),
        fetch=lambda name, start, stop: _field(_rows(data(), start, stop), real[name]),
    )


def _rows(data: Any, start: int, stop: int) -> Any:
    """Rows of a table. Where its header gives them no width (NAXIS1 = 0) astropy finds fewer than it says."""
    rows = data[start:stop]
    if len(rows) != stop - start:
        raise ShardCorrupt(f"{len(data)} rows, expected rows {start} to {stop}: its header is broken")
    return rows


def _field(rows: Any, column: Any) -> Any:
    """Rows of a column. Arrays of variable length that lie outside of the heap come as shorter ones."""
    values = rows.field(column.name)
    if column.format.format in "PQ":
        lengths_N, offsets_N = np.recarray.field(rows, column.name).T
        if [np.size(array) for array in values] != lengths_N.tolist() or (offsets_N < 0).any():
            raise ShardCorrupt(f"column {column.name}: its arrays lie outside of the table's heap")
    return values


def _is_array(column: Any) -> bool:
    return column.format.format in "PQ" or (column.format.repeat != 1 and column.format.format != "A")


@contextmanager
def votable(store: Store, name: str, content: Content) -> Iterator[BinaryTable]:
    """The first table of a VOTable, parsed whole and kept for its next rows."""
    yield _parsed(store, name, content)


@lru_cache(maxsize=1)
def _parsed(store: Store, name: str, content: Content) -> BinaryTable:
    with plain_bytes(store, name, content.packed) as plain:
        text = plain.read(VOTABLE_LIMIT + 1)
    if len(text) > VOTABLE_LIMIT:
        raise ShardCorrupt(f"a VOTable of more than {VOTABLE_LIMIT} bytes: convert it to FITS or CSV")
    text = NROWS.sub(rb"\1", text, count=1)
    with _corrupt("expected a VOTable"):
        table = parse(io.BytesIO(text), verify="ignore").get_first_table()
        return _from_votable(table)


def _from_votable(table: TableElement) -> BinaryTable:
    array: Any = table.array
    real = {str(f.name).lower(): column for f, column in zip(table.fields, array.dtype.names, strict=True)}
    return BinaryTable(
        units={str(f.name).lower(): f.unit.to_string() for f in table.fields if f.unit is not None},
        arrays={
            name: array[column].dtype.kind == "O" or array[column].ndim > 1 for name, column in real.items()
        },
        length=len(array),
        fetch=lambda name, start, stop: array[real[name]][start:stop],
    )


def _native(values: Any, name: str, kind: Kind) -> np.ndarray:
    if isinstance(kind, int):
        return _arrays(values, name, kind)
    allowed = "iu" if kind == "id" else "fiu"
    if values.dtype.kind not in allowed or values.ndim != 1:
        raise ShardCorrupt(f"column {name}: {values.dtype} of {values.ndim} axes, expected one {kind} a row")
    if kind == "number":
        return np.ma.filled(np.ma.asarray(values, np.float64), np.nan)
    if np.ma.is_masked(values):
        raise ShardCorrupt(f"column {name}: rows have none, expected an integer in each")
    return np.asarray(values, np.int64)


def _arrays(values: Any, name: str, pixels: int) -> np.ndarray:
    """Arrays of a fixed or a variable length, shape (N, pixels); an empty one is missing, so NaN."""
    if values.dtype.kind != "O" and values.ndim == 1:
        raise ShardCorrupt(f"column {name}: one {values.dtype} a row, expected arrays of {pixels} numbers")
    found_NP = np.full((len(values), pixels), np.nan)
    for row, array in enumerate(values):
        numbers = np.ma.filled(np.ma.asarray(array, np.float64), np.nan).reshape(-1)
        if numbers.size not in (0, pixels):
            raise ShardCorrupt(f"column {name}: an array of {numbers.size} numbers, expected {pixels}")
        if numbers.size:
            found_NP[row] = numbers
    return found_NP
