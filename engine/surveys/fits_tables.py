"""Rows of FITS binary tables as native arrays, read straight from the file."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt
from engine.surveys.fits import FitsFile, fill
from engine.surveys.fits_headers import Hdu

# TFORM codes of binary tables: the numpy type of one element ("X", bits, is worked out apart).
TABLE_TYPES = {
    "L": "i1",
    "B": "u1",
    "I": "i2",
    "J": "i4",
    "K": "i8",
    "E": "f4",
    "D": "f8",
    "C": "c8",
    "M": "c16",
    "P": "V8",
    "Q": "V16",
}


def read_table(
    file: FitsFile, hdu: Hdu, columns: Mapping[str, str], start: int, stop: int
) -> dict[str, npt.NDArray[Any]]:
    """Rows [start, stop) of those of `columns` that a binary table has: native arrays, text as str.

    `columns` gives the numpy kinds that each may be of. ShardCorrupt when the rows are not there, a column
    is of another kind, or the table's layout makes no sense.
    """
    if not 0 <= start <= stop <= hdu.rows:
        raise ShardCorrupt(f"HDU {hdu.name}: {hdu.rows} rows, expected rows {start} to {stop}")
    try:
        layout, numbers = _layout(hdu, columns)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ShardCorrupt(f"HDU {hdu.name}: expected columns that fill its rows: {error}") from error
    block = np.empty(stop - start, layout)
    fill(file, hdu.name, hdu.extent.offset + start * layout.itemsize, block)
    found = {name: _native(block[name], hdu, number) for name, number in numbers.items()}
    for name, values in found.items():
        if values.dtype.kind not in columns[name] or values.ndim != 1:
            raise ShardCorrupt(
                f"HDU {hdu.name}: column {name} is {values.dtype}, expected kind {columns[name]!r}"
            )
    return found


def _layout(hdu: Hdu, columns: Collection[str]) -> tuple[np.dtype[Any], dict[str, int]]:
    """A row of a table with those of `columns` it has, in file order; and the TFIELDS number of each."""
    kinds, offsets, numbers, offset = [], [], {}, 0
    for number in range(1, hdu.value("TFIELDS") + 1):
        kind = _column_type(str(hdu.value(f"TFORM{number}")))
        name = str(hdu.value(f"TTYPE{number}", "")).strip().upper()
        if name in columns:
            kinds.append(kind)
            offsets.append(offset)
            numbers[name] = number
        offset += np.dtype(kind).itemsize
    width = hdu.value("NAXIS1")
    if offset != width:
        raise ValueError(f"they take {offset} bytes of {width}")
    layout = {"names": list(numbers), "formats": kinds, "offsets": offsets, "itemsize": width}
    return np.dtype(layout), numbers  # type: ignore[arg-type]


def _column_type(form: str) -> str:
    """The numpy type of a TFORM, in file order."""
    if (parts := re.match(r"(\d*)([LXBIJKAEDCMPQ])", form)) is None:
        raise ValueError(f"TFORM {form!r}")
    count, code = int(parts[1] or 1), parts[2]
    if code == "A":
        return f"S{count}"
    if code == "X":
        return f"V{-(-count // 8)}"
    return f">{TABLE_TYPES[code]}" if count == 1 else f"{count}>{TABLE_TYPES[code]}"


def _native(column: npt.NDArray[Any], hdu: Hdu, number: int) -> npt.NDArray[Any]:
    if column.dtype.kind == "S":
        return np.char.rstrip(np.char.decode(column, "latin-1"))
    native = column.astype(column.dtype.newbyteorder("="))
    scale, zero = hdu.value(f"TSCAL{number}", 1), hdu.value(f"TZERO{number}", 0)
    if (scale, zero) == (1, 0):
        return native
    # int64 holds every unsigned form but that of 64 bits.
    unsigned = scale == 1 and isinstance(zero, int) and zero < 2**63
    return native.astype(np.int64 if unsigned else np.float64) * scale + zero
