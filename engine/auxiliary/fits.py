"""A FITS binary table -> Parquet, a piece at a time: FITS has no other way into DuckDB."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.auxiliary.content import check_columns
from engine.errors import PlanError

PIECE_BYTES = 32 * 2**20
MOST_ROWS = 65_536


def fits_to_parquet(path: Path, columns: list[str], out: Path) -> Path:
    """Copy those of `columns` that the table has; PlanError when the file cannot be read.

    NULL are an integer column's TNULL and arrays of variable length that are empty.
    """
    try:
        with fitsio.FITS(str(path)) as file:
            _copy(_table(file, path), path, columns, out)
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise PlanError(f"auxiliary.path: {path} cannot be read as a FITS table: {error}") from error
    return out


def _table(file: Any, path: Path) -> Any:
    for hdu in file:
        if hdu.get_exttype() == "BINARY_TBL":
            return hdu
    raise PlanError(f"auxiliary.path: {path} has no binary table; expected one with the id column")


def _copy(hdu: Any, path: Path, columns: list[str], out: Path) -> None:
    rows, header, names = hdu.get_nrows(), hdu.read_header(), hdu.get_colnames()
    check_columns(path, columns, names)
    if not rows:
        raise PlanError(f"auxiliary: the first binary table of {path} has no rows; is it the right table?")
    wanted = sorted(set(columns), key=names.index)
    step = int(np.clip(PIECE_BYTES // max(1, header["NAXIS1"]), 1, MOST_ROWS))
    with ExitStack() as stack:
        writer = None
        for start in range(0, rows, step):
            numbers = np.arange(start, min(start + step, rows))
            piece = hdu.read(columns=wanted, rows=numbers, vstorage="object")
            table = pa.table({n: _arrow(piece[n], header, names.index(n) + 1) for n in wanted})
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(out, table.schema, compression="zstd"))
            writer.write_table(table)


def _arrow(values: np.ndarray, header: Any, number: int) -> pa.Array:
    if values.dtype.kind == "O":
        # Each array has the type that it needs; 1PE(55) means single precision.
        single = "E" in str(header[f"TFORM{number}"])
        kind = np.dtype(np.float32 if single else np.float64)
        rows = [np.asarray(row).reshape(-1).astype(kind) if np.size(row) else None for row in values]
        return pa.array(rows, pa.list_(pa.from_numpy_dtype(kind)))
    if values.dtype.kind in "SU" and values.ndim > 1:
        raise ValueError("a column of several texts in a row")
    if values.dtype.kind in "SU":
        return pa.array([str(v, "latin-1").rstrip() if isinstance(v, bytes) else v.rstrip() for v in values])
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    if native.ndim > 1:
        flat = pa.array(native.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(native.shape[1:])))
    null = _null(header, number) if native.dtype.kind in "iu" else None
    return pa.array(native, mask=None if null is None else native == null)


def _null(header: Any, number: int) -> int | None:
    """What TNULL makes of a column's values once they are scaled; None where it has none."""
    raw = header.get(f"TNULL{number}")
    return None if raw is None else int(raw) + int(header.get(f"TZERO{number}", 0))
