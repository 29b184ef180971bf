"""CSV and ECSV tables, read forward in pieces of whole lines, so that memory stays bounded.

A task of a bulk file (65,000 rows and 1.5 GB of text in one gzip stream) cannot begin in its middle. One
stream is therefore kept open per process: it goes forward from task to task, lines in between are counted
and not parsed, and only rows that it has passed make it begin again.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.csv

from engine.errors import ShardCorrupt
from engine.surveys.gaia.content import Content
from engine.surveys.gaia.contract import Kind, Values
from engine.surveys.gaia.lines import Lines
from engine.surveys.gaia.text_arrays import parse_arrays
from engine.surveys.store import Store

NULLS = ["", "null", "NULL", "nan", "NaN", "NAN"]


@contextmanager
def text_table(store: Store, name: str, content: Content) -> Iterator["TextTable"]:
    """A text table; its stream is kept for the next rows unless reading failed."""
    table = TextTable(store, name, content)
    with ExitStack() as failed:
        # Asked for when it is needed: reading may have begun again with another stream.
        failed.callback(lambda: table.lines.close())
        yield table
        failed.pop_all()
    _keep(table)


class TextTable:
    """A CSV or ECSV file; see `tables.Table`."""

    def __init__(self, store: Store, name: str, content: Content) -> None:
        self.place = (store, name, content)
        # Popped, so that no two threads read one stream.
        self.lines = _kept.pop(self.place, None) or Lines(*self.place)
        self.names, self.units = self.lines.head.names, self.lines.head.units

    def holds_arrays(self, column: str) -> bool:
        fields = dict(zip(self.names, self.lines.head.first, strict=False))
        return fields.get(column, "").strip().startswith(("[", "("))

    def rows(self) -> int:
        for _ in self.lines.pieces(self.lines.row, None):
            pass
        return self.lines.row

    def read(self, wanted: Mapping[str, Kind], start: int, stop: int) -> Values:
        self._back_to(start)
        parts = [self._parse(lines, piece, wanted) for lines, piece in self.lines.pieces(start, stop)]
        if self.lines.row != stop or not parts:
            raise ShardCorrupt(f"ends after row {self.lines.row}, expected rows {start} to {stop}")
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted}

    def _back_to(self, start: int) -> None:
        if self.lines.row > start:
            self.lines.close()
            self.lines = Lines(*self.place)

    def _parse(self, lines: int, piece: bytes, wanted: Mapping[str, Kind]) -> Values:
        types = {name: _type(kind) for name, kind in wanted.items()}
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(piece),
                pyarrow.csv.ReadOptions(
                    column_names=list(self.names), use_threads=False, block_size=len(piece) + 1
                ),
                pyarrow.csv.ParseOptions(delimiter=self.lines.head.delimiter),
                pyarrow.csv.ConvertOptions(
                    include_columns=list(wanted),
                    column_types=types,
                    null_values=NULLS,
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowException as error:
            raise ShardCorrupt(f"expected rows of {len(self.names)} columns: {error}") from error
        if len(table) != lines:
            raise ShardCorrupt(f"{lines} lines hold {len(table)} rows, expected a row on each line")
        return {name: _numpy(table[name].combine_chunks(), name, kind) for name, kind in wanted.items()}


def _type(kind: Kind) -> pa.DataType:
    if isinstance(kind, int):
        return pa.string()
    return pa.int64() if kind == "id" else pa.float64()


def _numpy(column: pa.Array, name: str, kind: Kind) -> np.ndarray:
    if isinstance(kind, int):
        return parse_arrays(column, name, kind)
    if kind == "number":
        return column.fill_null(np.nan).to_numpy(zero_copy_only=False)
    if column.null_count:
        raise ShardCorrupt(f"column {name}: {column.null_count} rows have none, expected an integer in each")
    return column.to_numpy(zero_copy_only=False)


_kept: dict[tuple[Store, str, Content], Lines] = {}
"""The one stream that waits in this process for the rows after those it gave."""


def _keep(table: TextTable) -> None:
    for place in list(_kept):
        if (other := _kept.pop(place, None)) is not None:
            other.close()
    _kept[table.place] = table.lines
