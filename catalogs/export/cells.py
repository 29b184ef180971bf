"""Arrow columns as FITS stores them: big-endian cells of a fixed width, NULL by the rules of each type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.export.rows import Measured, Stats
from engine.errors import InputError

# Arrow type -> TFORM's letter, numpy type.
NUMBERS: Mapping[pa.DataType, tuple[str, str]] = {
    pa.int16(): ("I", ">i2"),
    pa.int32(): ("J", ">i4"),
    pa.int64(): ("K", ">i8"),
    pa.float32(): ("E", ">f4"),
    pa.float64(): ("D", ">f8"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How one column is stored; `null` is TNULL, the number for NULL, where integers need one."""

    field: pa.Field
    form: str
    kind: np.dtype[Any]
    null: int | None
    fill: Callable[[pa.Array], np.ndarray]


def cells_of(fields: Sequence[pa.Field], measured: Measured) -> list[Cell]:
    """How each column is stored, given what was measured of it."""
    return [_cell(field, measured.columns[field.name], measured.rows) for field in fields]


def row_type(cells: Sequence[Cell]) -> np.dtype[Any]:
    """One row, without gaps."""
    return np.dtype([(f"c{number}", cell.kind) for number, cell in enumerate(cells)])


def packed(batch: pa.RecordBatch, cells: Sequence[Cell]) -> np.ndarray:
    """The rows of a batch as FITS stores them."""
    made = np.empty(len(batch), row_type(cells))
    for number, cell in enumerate(cells):
        made[f"c{number}"] = cell.fill(batch.column(number))
    return made


def _cell(field: pa.Field, stats: Stats, rows: int) -> Cell:
    kind = field.type
    if kind == pa.string():
        width = max(1, stats.width)
        return Cell(field=field, form=f"{width}A", kind=np.dtype(f"S{width}"), null=None, fill=_texts)
    if kind == pa.bool_():
        return Cell(field=field, form="L", kind=np.dtype("S1"), null=None, fill=_truths)
    if pa.types.is_fixed_size_list(kind) and kind.value_type in (pa.float32(), pa.float64()):
        letter, number = NUMBERS[kind.value_type]
        size = kind.list_size
        shaped = np.dtype((number, (size,)))
        fill = lambda column: _lists(column, size)  # noqa: E731
        return Cell(field=field, form=f"{size}{letter}", kind=shaped, null=None, fill=fill)
    if kind not in NUMBERS:
        raise InputError(
            f"column {field.name} is {kind}, which has no place in FITS; leave it out by --columns"
        )
    letter, number = NUMBERS[kind]
    null = _null(field, stats) if pa.types.is_integer(kind) and stats.known < rows else None
    missing = np.nan if null is None else null
    fill = lambda column: _numbers(column, missing)  # noqa: E731
    return Cell(field=field, form=letter, kind=np.dtype(number), null=null, fill=fill)


def _null(field: pa.Field, stats: Stats) -> int:
    """A number that no row has: the type's least, else its greatest."""
    about = np.iinfo(field.type.to_pandas_dtype())
    free = [value for value in (about.min, about.max) if value not in (stats.low, stats.high)]
    if not free:
        raise InputError(f"column {field.name} uses all of {field.type}: no number is left for NULL")
    return int(free[0])


def _numbers(column: pa.Array, missing: float) -> np.ndarray:
    if column.null_count:
        column = column.fill_null(pa.scalar(missing, column.type))
    return column.to_numpy(zero_copy_only=False)


def _truths(column: pa.Array) -> np.ndarray:
    """T, F, and a zero byte for NULL, as FITS has it."""
    truth = column.fill_null(False).to_numpy(zero_copy_only=False)
    return np.where(column.is_valid().to_numpy(zero_copy_only=False), np.where(truth, b"T", b"F"), b"\0")


def _texts(column: pa.Array) -> np.ndarray:
    """ASCII, other characters as Python escapes them. NULL is a zero byte; an empty text is a blank."""
    coded = column.dictionary_encode()
    words = [(text or " ").encode("ascii", "backslashreplace") for text in coded.dictionary.to_pylist()]
    places = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    return np.array([*words, b"\0"])[places]


def _lists(column: pa.Array, size: int) -> np.ndarray:
    """A row of numbers for each list, NaN where there is none."""
    made = np.full((len(column), size), np.nan)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    made[valid] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    return made
