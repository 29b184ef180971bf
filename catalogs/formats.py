"""Rows as text: a table to look at, CSV, or JSON. Integers are exact in all of them."""

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table

from engine.errors import InputError

TABLE_ROWS = 200
WIDEST_TABLE = 100_000


def write(rows: pa.RecordBatchReader, form: str, to: TextIO) -> None:
    """Write `rows` as "table", "csv" or "json" text, a batch at a time; InputError for another form."""
    if form not in FORMATS:
        raise InputError(f"format {form!r} is unknown; known: {', '.join(FORMATS)}")
    to.writelines(FORMATS[form](rows))


def render(rows: pa.Table, form: str) -> str:
    """All of `rows` as text."""
    text = io.StringIO()
    write(rows.to_reader(), form, text)
    return text.getvalue()


def as_table(rows: pa.RecordBatchReader) -> Iterator[str]:
    """A table of the first TABLE_ROWS rows, as wide as it needs to be; NULL where there is no value."""
    shown = Table()
    for field in rows.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(field.name, justify="right" if numeric else "left", no_wrap=True)
    more = 0
    for batch in rows:
        head = batch.slice(0, TABLE_ROWS - shown.row_count)
        more += len(batch) - len(head)
        for row in _rows(head):
            shown.add_row(*("NULL" if value is None else str(value) for value in row))
    console = Console(file=io.StringIO(), width=WIDEST_TABLE, color_system=None)
    with console.capture() as capture:
        console.print(shown, highlight=False, markup=False, emoji=False)
    yield capture.get()
    if more:
        yield f"… and {more:,} more rows; --format csv or json gives all\n"


def as_csv(rows: pa.RecordBatchReader) -> Iterator[str]:
    """CSV with a header; NULL is empty, an empty text is quoted, what is nested is JSON."""
    header = True
    for batch in _with_one(rows):
        flat = [column if _is_flat(column.type) else _texts(column) for column in batch.columns]
        sink = pa.BufferOutputStream()
        options = pyarrow.csv.WriteOptions(include_header=header, quoting_style="needed")
        plain = pa.RecordBatch.from_arrays(flat, names=batch.schema.names)
        pyarrow.csv.write_csv(plain, sink, options)
        yield sink.getvalue().to_pybytes().decode()
        header = False


def as_json(rows: pa.RecordBatchReader) -> Iterator[str]:
    """A JSON array of objects, one per line; NULL, NaN and infinities are null."""
    start = "["
    for batch in rows:
        for row in _rows(batch):
            yield f"{start}\n {_json(dict(zip(batch.schema.names, row, strict=True)))}"
            start = ","
    yield "[]\n" if start == "[" else "\n]\n"


FORMATS: Mapping[str, Callable[[pa.RecordBatchReader], Iterator[str]]] = {
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
}


def _with_one(rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches; an empty one where there is none."""
    yield pa.RecordBatch.from_pylist([], schema=rows.schema)
    yield from rows


def _is_flat(kind: pa.DataType) -> bool:
    """Can pyarrow write it as CSV?"""
    return any(
        check(kind)
        for check in (pa.types.is_primitive, pa.types.is_decimal, pa.types.is_string, pa.types.is_null)
    ) and not pa.types.is_interval(kind)


def _texts(column: pa.Array) -> pa.Array:
    texts = (value if value is None or isinstance(value, str) else _json(value) for value in _values(column))
    return pa.array(list(texts), pa.string())


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(_values(column) for column in batch.columns), strict=True)


def _values(column: pa.Array) -> list[Any]:
    """Plain Python values."""
    return [_plain(_shortened(value, column.type)) for value in column.to_pylist()]


def _shortened(value: Any, kind: pa.DataType) -> Any:
    """float32, in lists too, with the digits it has (5777.1, not 5777.10009765625)."""
    if isinstance(value, list):
        nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
        return [_shortened(one, kind.value_type) for one in value] if nested else value
    return float(str(np.float32(value))) if kind == pa.float32() and value is not None else value


def _plain(value: Any) -> Any:
    """A value that JSON knows, nested ones too; bytes in hex."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
