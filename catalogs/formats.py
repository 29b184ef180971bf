"""Rows as text: a table to look at, CSV, or JSON. Integers are exact in all of them."""

import io
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table

from engine.errors import InputError


def render(rows: pa.Table, form: str) -> str:
    """`rows` as "table", "csv" or "json" text; InputError for another form."""
    if form not in FORMATS:
        raise InputError(f"format {form!r} is unknown; known: {', '.join(FORMATS)}")
    return FORMATS[form](rows)


def as_table(rows: pa.Table) -> str:
    """A table as wide as it needs to be; numbers to the right, NULL where there is no value."""
    shown = Table()
    for field in rows.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(field.name, justify="right" if numeric else "left", no_wrap=True)
    for row in zip(*(_values(column) for column in rows.columns), strict=True):
        shown.add_row(*("NULL" if value is None else str(value) for value in row))
    console = Console(file=io.StringIO(), width=32 * (rows.num_columns + 1), color_system=None)
    with console.capture() as capture:
        console.print(shown, highlight=False, markup=False, emoji=False)
    return capture.get()


def as_csv(rows: pa.Table) -> str:
    """CSV with a header; NULL is empty, an empty text is quoted."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue().to_pybytes().decode()


def as_json(rows: pa.Table) -> str:
    """A JSON array of objects; NULL, NaN and infinities are null."""
    columns = [_values(column) for column in rows.columns]
    objects = [dict(zip(rows.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(objects, indent=1, default=str, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[pa.Table], str]] = {"table": as_table, "csv": as_csv, "json": as_json}


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Plain Python values; float32 with the digits it has (5777.1, not 5777.10009765625)."""
    values = column.to_pylist()
    if column.type == pa.float32():
        values = [None if value is None else float(str(np.float32(value))) for value in values]
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    return value
