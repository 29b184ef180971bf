"""A FITS binary table -> Parquet, a piece at a time: FITS has no other way into DuckDB.

With astropy, whose arrays are bounded by the file: CFITSIO writes beyond its memory on some broken tables.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


def fits_to_parquet(path: Path, columns: list[str], out: Path) -> Path:
    """Copy those of `columns` that the table has; PlanError when the file cannot be read.

    NULL are an integer column's TNULL and arrays of variable length that are empty.
    """
    with _opened(path) as hdu:
        _copy(hdu, path, columns, out)
    return out


def fits_columns(path: Path) -> list[str]:
    """The columns of the table; PlanError when the file cannot be read."""
    with _opened(path) as hdu:
        return list(hdu.columns.names)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The first binary table; PlanError for whatever goes wrong as long as it is read."""
    try:
        with path.open("rb") as start:
            # Whatever begins otherwise, astropy takes for a packed file of the kind its first bytes name.
            if start.read(9) != b"SIMPLE  =":
                raise ValueError("it does not begin like a FITS file")
        with fits.open(path, memmap=True) as file:
            yield _table(file, path)
    except BROKEN_BYTES as error:
        raise PlanError(f"auxiliary.path: {path} cannot be read as a FITS table: {error}") from error


def _table(file: Any, path: Path) -> Any:
    for hdu in file:
        if isinstance(hdu, fits.BinTableHDU):
            return hdu
    raise PlanError(f"auxiliary.path: {path} has no binary table; expected one with the id column")


def _copy(hdu: Any, path: Path, columns: list[str], out: Path) -> None:
    check_columns(path, columns, hdu.columns.names)
    rows = len(hdu.data)
    if not rows:
        raise PlanError(f"auxiliary: the first binary table of {path} has no rows; is it the right table?")
    step = int(np.clip(PIECE_BYTES // max(1, hdu.data.dtype.itemsize), 1, MOST_ROWS))
    with ExitStack() as stack:
        writer = None
        for start in range(0, rows, step):
            piece = hdu.data[start : start + step]
            table = pa.table({name: _arrow(piece[name], hdu.columns[name]) for name in set(columns)})
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
