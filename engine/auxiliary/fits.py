"""FITS binary tables -> Parquet, a piece at a time: FITS has no other way into DuckDB.

With astropy, whose arrays are bounded by the file: CFITSIO writes beyond its memory on some broken tables.
"""

import gzip
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from engine.auxiliary.content import check_columns
from engine.broken import BROKEN_BYTES
from engine.errors import PlanError

PIECE_BYTES = 32 * 2**20
MOST_ROWS = 65_536
GZIP = b"\x1f\x8b"

# The tables of DESI's mwsall are one table in several HDUs, row by row; these name its rows.
LENDERS = ("RVTAB", "FIBERMAP", "GAIA")
# What tables that belong together agree in.
SAME = "TARGETID"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsTable:
    """A binary table of a file: its HDU, its own columns, and the HDUs of those that others lend it."""

    hdu: int
    name: str
    columns: tuple[str, ...]
    lent: Mapping[str, int]

    @property
    def title(self) -> str:
        """The HDU's name, its number where it has none."""
        return self.name or str(self.hdu)


def fits_to_parquet(path: Path, columns: list[str], out: Path, table: FitsTable | None = None) -> Path:
    """Copy `columns` of a table, the file's first one unless another is given, to a Parquet file.

    PlanError when the file cannot be read, or lacks a column. NULL are an integer column's TNULL and arrays
    of variable length that are empty.
    """
    with _opened(path) as file:
        hdu = _first(file, path) if table is None else file[table.hdu]
        lent = (
            {} if table is None else {name: file[table.lent[name]] for name in columns if name in table.lent}
        )
        for lender in {other.name: other for other in lent.values()}.values():
            _check_match(path, hdu, lender)
        check_columns(path, columns, [*hdu.columns.names, *lent])
        if not _rows(hdu):
            what = "the first binary table" if table is None else f"the table {table.title}"
            raise PlanError(f"auxiliary: {what} of {path} has no rows; is it the right table?")
        _copy({name: lent.get(name, hdu) for name in columns}, out)
    return out


def fits_columns(path: Path) -> list[str]:
    """The columns of the first binary table; PlanError when the file cannot be read."""
    with _opened(path) as file:
        return list(_first(file, path).columns.names)


def fits_tables(path: Path) -> tuple[FitsTable, ...]:
    """Every binary table, at least one; PlanError when the file cannot be read.

    RVTAB, FIBERMAP and GAIA lend the columns that a table of as many rows lacks.
    """
    with _opened(path) as file:
        _first(file, path)
        tables: dict[int, Any] = {n: hdu for n, hdu in enumerate(file) if isinstance(hdu, fits.BinTableHDU)}
        return tuple(
            FitsTable(hdu=number, name=hdu.name, columns=tuple(hdu.columns.names), lent=_lent(hdu, tables))
            for number, hdu in tables.items()
        )


def find_table(tables: Sequence[FitsTable], wanted: str) -> FitsTable | None:
    """The table of that name, whatever its capitals, or of that number, counted from 0."""
    named = (one for one in tables if one.name.casefold() == wanted.strip().casefold())
    numbered = (one for one in tables if str(one.hdu) == wanted.strip())
    return next(numbered if wanted.strip().isdecimal() else named, None)


def unpacked(path: Path, folder: Path) -> Path:
    """The file itself, or of a gzipped one a copy in `folder` that is not; PlanError for a broken one."""
    try:
        with path.open("rb") as file:
            if file.read(len(GZIP)) != GZIP:
                return path
        with gzip.open(path, "rb") as packed, (folder / "unpacked.fits").open("wb") as copy:
            shutil.copyfileobj(packed, copy, 2**20)
    except BROKEN_BYTES as error:
        raise PlanError(f"auxiliary.path: {path} cannot be unpacked: {error}") from error
    return folder / "unpacked.fits"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open file; PlanError for whatever goes wrong as long as it is read."""
    try:
        with path.open("rb") as start:
            # Whatever begins otherwise, astropy takes for a packed file of the kind its first bytes name.
            if start.read(9) != b"SIMPLE  =":
                raise ValueError("it does not begin like a FITS file")
        with fits.open(path, memmap=True) as file:
            yield file
    except BROKEN_BYTES as error:
        raise PlanError(f"auxiliary.path: {path} cannot be read as a FITS table: {error}") from error


def _first(file: Any, path: Path) -> Any:
    """The first binary table."""
    for hdu in file:
        if isinstance(hdu, fits.BinTableHDU):
            return hdu
    raise PlanError(f"auxiliary.path: {path} has no binary table; expected one with the id column")


def _lent(hdu: Any, tables: Mapping[int, Any]) -> dict[str, int]:
    """The columns that tables of as many rows have and this one lacks, with their HDUs."""
    found: dict[str, int] = {}
    for name in LENDERS:
        for number, other in tables.items():
            if other.name == name and other is not hdu and _rows(other) == _rows(hdu):
                found = dict.fromkeys(_lacking(hdu.columns.names, other), number) | found
    return found


def _lacking(names: Collection[str], other: Any) -> list[str]:
    have = {name.casefold() for name in names}
    return [name for name in other.columns.names if name.casefold() not in have]


def _rows(hdu: Any) -> int:
    return int(hdu.header["NAXIS2"])


def _check_match(path: Path, hdu: Any, lender: Any) -> None:
    """PlanError where two tables that should have the same rows name them differently."""
    if SAME not in hdu.columns.names or SAME not in lender.columns.names:
        return
    if not np.array_equal(hdu.data[SAME], lender.data[SAME]):
        raise PlanError(
            f"auxiliary: {path}: the rows of {lender.name} are not those of {hdu.name}: their {SAME} differ"
        )


def _copy(sources: Mapping[str, Any], out: Path) -> None:
    """Write columns, each from its HDU; all have the same rows."""
    hdus = {id(hdu): hdu for hdu in sources.values()}.values()
    rows = min(len(hdu.data) for hdu in hdus)
    widest = sum(hdu.data.dtype.itemsize for hdu in hdus)
    step = int(np.clip(PIECE_BYTES // max(1, widest), 1, MOST_ROWS))
    with ExitStack() as stack:
        writer = None
        for start in range(0, rows, step):
            piece = {id(hdu): hdu.data[start : start + step] for hdu in hdus}
            table = pa.table(
                {name: _arrow(piece[id(hdu)][name], hdu.columns[name]) for name, hdu in sources.items()}
            )
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(out, table.schema, compression="zstd"))
            writer.write_table(table)


def _arrow(values: np.ndarray, column: Any) -> pa.Array:
    if values.dtype.kind == "O":
        # Each array has the type that it needs; 1PE(55) means single precision.
        kind = np.dtype(np.float32 if "E" in str(column.format) else np.float64)
        rows = [np.asarray(row).reshape(-1).astype(kind) if np.size(row) else None for row in values]
        return pa.array(rows, pa.list_(pa.from_numpy_dtype(kind)))
    if values.dtype.kind == "U":
        # FITS pads text with spaces, which mean nothing.
        return pa.array(np.char.rstrip(values).tolist(), pa.string())
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if native.ndim > 1:
        flat = pa.array(native.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(native.shape[1:])))
    null = _null(column) if native.dtype.kind in "iu" else None
    return pa.array(native, mask=None if null is None else native == null)


def _null(column: Any) -> int | None:
    """What TNULL makes of a column's values once they are shifted; None where it has none."""
    return None if column.null is None else int(column.null) + int(column.bzero or 0)
