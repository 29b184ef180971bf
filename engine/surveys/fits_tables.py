"""Rows of FITS binary tables as native arrays, read straight from the file."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt
from engine.surveys.fits import fill
from engine.surveys.fits_headers import Hdu
from engine.surveys.store import File

# TFORM codes: the numpy type of one element. "A" (text) and "X" (bits) are worked out apart.
TABLE_TYPES = {
    "L": "S1",
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
# The most that the FITS standard allows.
MOST_COLUMNS = 999
# The most that is read at once: rows far longer than any survey's must not cost us the memory.
MOST_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column of a table: its TFIELDS number, first byte in a row, and numpy type in file order."""

    number: int
    offset: int
    kind: np.dtype[Any]


def read_table(
    file: File, hdu: Hdu, columns: Mapping[str, str], start: int, stop: int, *, arrays: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """Rows [start, stop) of those of `columns` that a binary table has: native arrays, text as str.

    `columns` gives the numpy kinds that each may be of; with `arrays` a cell may hold several numbers.
    ShardCorrupt when the rows are not there, a column is of another kind, or the table's layout makes no
    sense.
    """
    if not 0 <= start <= stop <= hdu.rows:
        raise ShardCorrupt(f"HDU {hdu.name}: {hdu.rows} rows, expected rows {start} to {stop}")
    found = {name: place for name, place in places(hdu).items() if name in columns}
    rows = _rows(file, hdu, found, start, stop)
    values = {name: _native(rows[name], hdu, place.number) for name, place in found.items()}
    for name, column in values.items():
        if column.dtype.kind not in columns[name]:
            raise ShardCorrupt(
                f"HDU {hdu.name}: column {name} is {column.dtype}, expected kind {columns[name]!r}"
            )
    if not arrays:
        need(values, hdu, dict.fromkeys(values, ()))
    return values


def need(found: Mapping[str, Any], hdu: Hdu, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ShardCorrupt unless these columns were found, with cells of these shapes."""
    for name, shape in shapes.items():
        if name not in found:
            raise ShardCorrupt(f"HDU {hdu.name}: column {name}: missing, expected one of that name")
        if found[name].shape[1:] != shape:
            raise ShardCorrupt(
                f"HDU {hdu.name}: column {name}: cells of shape {found[name].shape[1:]}, expected {shape}"
            )


def places(hdu: Hdu) -> dict[str, Place]:
    """The columns of a binary table by name in capitals, of several with one name the first.

    ShardCorrupt unless they fill its rows.
    """
    count, width = hdu.value("TFIELDS"), hdu.value("NAXIS1")
    if type(count) is not int or not 0 < count <= MOST_COLUMNS:
        raise ShardCorrupt(f"HDU {hdu.name}: TFIELDS = {count!r}, expected 1 to {MOST_COLUMNS}")
    found: dict[str, Place] = {}
    offset = 0
    for number in range(1, count + 1):
        kind = _column_type(hdu, number)
        name = str(hdu.value(f"TTYPE{number}", "")).strip().upper()
        found.setdefault(name, Place(number=number, offset=offset, kind=kind))
        offset += kind.itemsize
    # Rows of no bytes could claim to be any number.
    if offset != width or offset == 0:
        raise ShardCorrupt(
            f"HDU {hdu.name}: expected columns that fill its rows: they take {offset} bytes of {width!r}"
        )
    return found


def _column_type(hdu: Hdu, number: int) -> np.dtype[Any]:
    """The numpy type of a TFORM, in file order."""
    form = str(hdu.value(f"TFORM{number}"))
    parts = re.match(r"(\d{0,9})([LXBIJKAEDCMPQ])", form)
    if parts is None:
        raise ShardCorrupt(f"HDU {hdu.name}: TFORM{number} = {form!r}, expected the format of a column")
    count, code = int(parts[1] or 1), parts[2]
    try:
        if code == "A":
            return np.dtype(f"S{count}")
        if code == "X":
            return np.dtype(f"V{-(-count // 8)}")
        return np.dtype(f">{TABLE_TYPES[code]}" if count == 1 else f"({count},)>{TABLE_TYPES[code]}")
    except (TypeError, ValueError) as error:
        raise ShardCorrupt(f"HDU {hdu.name}: TFORM{number} = {form!r}, expected shorter cells") from error


def _rows(file: File, hdu: Hdu, found: Mapping[str, Place], start: int, stop: int) -> npt.NDArray[Any]:
    """Rows [start, stop) as they are in the file, of these columns."""
    layout = np.dtype(
        {
            "names": list(found),
            "formats": [place.kind for place in found.values()],
            "offsets": [place.offset for place in found.values()],
            "itemsize": hdu.value("NAXIS1"),
        }
    )
    if not found:
        return np.empty(0, layout)
    if (size := (stop - start) * layout.itemsize) > MOST_BYTES:
        raise ShardCorrupt(
            f"HDU {hdu.name}: {size:,} bytes in {stop - start} rows, expected {MOST_BYTES:,} at most"
        )
    rows = np.empty(stop - start, layout)
    fill(file, hdu.name, hdu.extent.offset + start * layout.itemsize, rows)
    return rows


def _native(column: npt.NDArray[Any], hdu: Hdu, number: int) -> npt.NDArray[Any]:
    """A column in this machine's byte order: text without its padding, numbers by TSCAL and TZERO."""
    if column.dtype.kind == "S":
        return np.char.rstrip(np.char.decode(column, "latin-1"))
    native = column.astype(column.dtype.newbyteorder("="))
    scale, zero = hdu.value(f"TSCAL{number}", 1), hdu.value(f"TZERO{number}", 0)
    if (scale, zero) == (1, 0) or native.dtype.kind not in "iuf":
        return native
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (scale, zero)):
        raise ShardCorrupt(
            f"HDU {hdu.name}: column {number}: TSCAL = {scale!r}, TZERO = {zero!r}, expected finite numbers"
        )
    # int64 holds every unsigned form but that of 64 bits.
    whole = native.dtype.kind in "iu" and scale == 1 and isinstance(zero, int) and abs(zero) < 2**63
    with np.errstate(all="ignore"):
        return native.astype(np.int64 if whole else np.float64) * scale + zero
