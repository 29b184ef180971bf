"""Cells of binary tables, arrays among them, read straight from the file: mwmStar, mwmVisit, aspcapStar."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt
from engine.surveys.fits_headers import Hdu
from engine.surveys.store import File

# Bytes of one element, and numpy's type for those that anybody reads.
WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
TYPES = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
# Six arrays of 8575 pixels take 206 kB: rows far beyond that are none of APOGEE's.
ROW_BYTES = 2**22


def cells(
    file: File, hdu: Hdu, wanted: Mapping[str, str], start: int, stop: int
) -> dict[str, npt.NDArray[Any]]:
    """Rows [start, stop) of those of the `wanted` columns that a table has, in numpy's native types.

    `wanted` gives the numpy kinds that a column may be of. Text comes without its padding. ShardCorrupt when
    the rows are not there, a column is of another kind, or the table's layout makes no sense.
    """
    if not 0 <= start < stop <= hdu.rows:
        raise ShardCorrupt(f"HDU {hdu.name}: {hdu.rows} rows, expected rows {start} to {stop}")
    layout = _layout(hdu, wanted)
    count = (stop - start) * layout.itemsize
    found = file.fetch(hdu.extent.offset + start * layout.itemsize, count)
    if len(found) != count:
        raise ShardCorrupt(f"HDU {hdu.name}: ends after {len(found)} of {count} bytes; copy it again")
    rows = np.frombuffer(found, layout)
    return {name: _native(rows[name], hdu, name, wanted[name]) for name in rows.dtype.names or ()}


def need(found: Mapping[str, Any], hdu: Hdu, names: Mapping[str, tuple[int, ...]]) -> None:
    """ShardCorrupt unless these columns were found, with arrays of these shapes."""
    for name, shape in names.items():
        if name not in found:
            raise ShardCorrupt(f"HDU {hdu.name}: column {name}: missing, expected one of that name")
        if found[name].shape[1:] != shape:
            raise ShardCorrupt(
                f"HDU {hdu.name}: column {name}: cells of shape {found[name].shape[1:]}, expected {shape}"
            )


def _layout(hdu: Hdu, wanted: Mapping[str, str]) -> np.dtype[Any]:
    """A row of the table as numpy sees it, with only the wanted columns."""
    names, forms, offsets, offset = [], [], [], 0
    for k in range(1, _count(hdu) + 1):
        parts = re.match(r"(\d{0,9})([LXBIJKAEDCMPQ])", str(hdu.value(f"TFORM{k}")).strip())
        if parts is None:
            raise ShardCorrupt(f"HDU {hdu.name}: TFORM{k} = {hdu.value(f'TFORM{k}')!r}, expected a format")
        repeat, code = int(parts[1] or 1), parts[2]
        name = str(hdu.value(f"TTYPE{k}", "")).strip().upper()
        if name in wanted and name not in names:
            names.append(name)
            offsets.append(offset)
            forms.append(_form(hdu, k, repeat, code))
        offset += -(-repeat // 8) if code == "X" else repeat * WIDTHS[code]
    if offset != hdu.value("NAXIS1") or not 0 < offset <= ROW_BYTES:
        raise ShardCorrupt(
            f"HDU {hdu.name}: columns of {offset} bytes in rows of {hdu.value('NAXIS1')!r}, "
            f"expected the same, up to {ROW_BYTES}"
        )
    return np.dtype({"names": names, "formats": forms, "offsets": offsets, "itemsize": offset})


def _count(hdu: Hdu) -> int:
    count = hdu.value("TFIELDS")
    if not isinstance(count, int) or not 0 < count < 1000:
        raise ShardCorrupt(f"HDU {hdu.name}: TFIELDS = {count!r}, expected 1 to 999")
    return count


def _form(hdu: Hdu, k: int, repeat: int, code: str) -> Any:
    scaled = hdu.value(f"TSCAL{k}", 1) != 1 or hdu.value(f"TZERO{k}", 0) != 0
    if scaled or repeat * WIDTHS.get(code, 1) > ROW_BYTES or code not in {*TYPES, "A"}:
        raise ShardCorrupt(
            f"HDU {hdu.name}: column {k}: {hdu.value(f'TFORM{k}')!r}, scaled: {scaled}; "
            "expected plain numbers or text"
        )
    if code == "A":
        return f"S{max(repeat, 1)}" if repeat else "S1"
    return TYPES[code] if repeat == 1 else (TYPES[code], (repeat,))


def _native(values: npt.NDArray[Any], hdu: Hdu, name: str, kinds: str) -> npt.NDArray[Any]:
    if values.dtype.kind not in kinds:
        raise ShardCorrupt(f"HDU {hdu.name}: column {name} is {values.dtype}, expected kind {kinds!r}")
    if values.dtype.kind == "S":
        return np.char.strip(np.char.decode(values, "latin-1"))
    return values.astype(values.dtype.newbyteorder("="))
