"""Gaia's tables as text: CSV and ECSV, arrays as lists of numbers, gzipped as in the bulk downloads.

Legend: N rows, P numbers of an array.
"""

import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from engine.simulate.surveys.driver import replacing

Style: TypeAlias = Literal["[]", "()"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaiaColumn:
    """A column: its name, its ECSV datatype ("float32[]" for arrays of them) and its unit."""

    name: str
    kind: str
    unit: str = ""


def write_text(
    path: Path,
    columns: Sequence[GaiaColumn],
    values: Mapping[str, Any],
    *,
    ecsv: bool = True,
    style: Style = "[]",
    null: str = "null",
) -> None:
    """Write rows of text; gzipped where the path ends in .gz. `null` stands for what a row lacks.

    `values` holds a sequence for each column: numbers, or arrays (one may be None); NaN in an array is "NaN".
    """
    texts = [_texts(column, values[column.name], style, null) for column in columns]
    buffer = io.StringIO()
    if ecsv:
        buffer.write(_header(columns))
    buffer.write(",".join(column.name for column in columns) + "\n")
    buffer.writelines(",".join(row) + "\n" for row in zip(*texts, strict=True))
    content = buffer.getvalue().encode()
    if path.name.endswith(".gz"):
        # Without a time in the header the same table is the same file.
        content = gzip.compress(content, compresslevel=4, mtime=0)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _texts(column: GaiaColumn, values: Any, style: Style, null: str) -> list[str]:
    if column.kind.endswith("[]"):
        return [null if row is None else f'"{_array(row, column.kind, style)}"' for row in values]
    kind = np.dtype(column.kind)
    return [null if value is None or value != value else str(kind.type(value)) for value in values]


def _array(row_P: Any, kind: str, style: Style) -> str:
    """Numbers in their shortest form, as in a JSON list or a Python tuple."""
    # Arrow prints the shortest text that gives a number back.
    texts = pa.array(np.asarray(row_P, dtype=kind.removesuffix("[]"))).cast(pa.string()).to_pylist()
    return f"({', '.join(texts)})" if style == "()" else f"[{','.join(texts).replace('nan', 'NaN')}]"


def _header(columns: Sequence[GaiaColumn]) -> str:
    lines = ["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:"]
    for column in columns:
        lines += ["# -", f"#   name: {column.name}"]
        if column.kind.endswith("[]"):
            lines += ["#   datatype: string", f"#   subtype: '{column.kind[:-2]}[null]'"]
        else:
            lines += [f"#   datatype: {column.kind}"]
        if column.unit:
            lines += [f"#   unit: {column.unit}"]
    return "\n".join(lines) + "\n"


def bulk_name(table: str, pixel: int) -> str:
    """The name of a bulk file that holds one pixel of nside 64: it says its pixels of nside 256."""
    return f"{table}_{16 * pixel:06d}-{16 * pixel + 15:06d}.csv.gz"
