"""CSV and ECSV tables, read forward in pieces of whole lines, so that memory stays bounded.

A task of a bulk file (65,000 rows and 1.5 GB of text in one gzip stream) cannot begin in its middle. One
stream is therefore kept open per process: it goes forward from task to task, lines in between are counted
and not parsed, and only rows that it has passed make it begin again.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import yaml

from engine.errors import ShardCorrupt, ShardError
from engine.surveys.gaia.content import BOM, PIECE_BYTES, Content, Plain
from engine.surveys.gaia.contract import Kind, Values
from engine.surveys.gaia.text_arrays import parse_arrays
from engine.surveys.store import Store

HEAD_LIMIT = 2**20
LINE_LIMIT = 16 * 2**20
NULLS = ["", "null", "NULL", "nan", "NaN", "NAN"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands above the rows, and the fields of the first one."""

    names: tuple[str, ...]
    units: Mapping[str, str]
    delimiter: str
    first: tuple[str, ...]


class Lines:
    """The lines of a file, in pieces, from the first one under its head to the last."""

    def __init__(self, store: Store, name: str, content: Content) -> None:
        self._plain = Plain(store, name, content.packed)
        self._ended, self.row = False, 0
        try:
            self._pending = self._plain.read(PIECE_BYTES).removeprefix(BOM)
            self.head = self._take_head()
        except ShardError:
            self.close()
            raise

    def pieces(self, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
        """Lines [start, stop), or all from `start` on, as counts of lines with their bytes."""
        while stop is None or self.row < stop:
            ends = _line_ends(self._pending)
            if len(ends) == 0:
                if not self._more():
                    return
                continue
            first = min(max(start - self.row, 0), len(ends))
            last = len(ends) if stop is None else min(stop - self.row, len(ends))
            piece = self._pending[ends[first - 1] if first else 0 : ends[last - 1]]
            self._pending, self.row = self._pending[ends[last - 1] :], self.row + last
            if first < last:
                yield last - first, piece

    def close(self) -> None:
        """Let go of the file."""
        self._plain.close()

    def _more(self) -> bool:
        """Read on; False at the end of the file, where a last line gets the newline that it lacks."""
        if self._ended:
            return False
        if len(self._pending) > LINE_LIMIT:
            raise ShardCorrupt(f"a line of more than {LINE_LIMIT} bytes, expected one row of a Gaia table")
        found = self._plain.read(PIECE_BYTES)
        self._ended = not found
        self._pending += found or (b"\n" if self._pending.strip() else b"")
        return bool(found or self._pending.strip())

    def _take_head(self) -> Head:
        """The head; it and the first row must end within HEAD_LIMIT and LINE_LIMIT."""
        comments: list[str] = []
        while (line := self._take_line()).startswith("#"):
            comments.append(line.lstrip("#"))
            if sum(map(len, comments)) > HEAD_LIMIT:
                raise ShardCorrupt(f"comments of more than {HEAD_LIMIT} bytes, expected a table's header")
        delimiter, units = _ecsv(comments)
        names = [name.strip().lower() for name in _fields(line, delimiter)]
        if len(set(names)) < len(names) or not all(names):
            raise ShardCorrupt(f"the header is {line[:80]!r}, expected names of columns, each once")
        ends = _line_ends(self._pending)
        while len(ends) == 0 and self._more():
            ends = _line_ends(self._pending)
        first = self._pending[: ends[0]].decode(errors="replace") if len(ends) else ""
        return Head(
            names=tuple(names), units=units, delimiter=delimiter, first=tuple(_fields(first, delimiter))
        )

    def _take_line(self) -> str:
        while (end := self._pending.find(b"\n")) < 0:
            if not self._more():
                raise ShardCorrupt("no rows, expected a line of column names and rows under it")
        line, self._pending = self._pending[:end], self._pending[end + 1 :]
        return line.decode(errors="replace").rstrip("\r")


def _line_ends(text: bytes) -> npt.NDArray[np.intp]:
    """Where the lines of a text end, behind their newlines; blank lines belong to the line after them."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    return ends[np.diff(ends, prepend=0) > 1]


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.strip("\r\n")], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error as error:
        raise ShardCorrupt(f"a line begins with {line[:40]!r}, expected a row of a table: {error}") from error


def _ecsv(comments: list[str]) -> tuple[str, dict[str, str]]:
    """Delimiter and units from the header of an ECSV file; those of plain CSV for any other comments."""
    if not comments or not comments[0].strip().startswith("%ECSV"):
        return ",", {}
    try:
        about = yaml.safe_load("\n".join(line.removeprefix(" ") for line in comments[1:]))
        units = {str(c["name"]).lower(): str(c["unit"]) for c in about["datatype"] if "unit" in c}
        delimiter = about.get("delimiter", " ")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ShardCorrupt(f"expected the header of an ECSV table: {error}") from error
    if delimiter not in (",", " "):
        raise ShardCorrupt(f"the ECSV delimiter is {delimiter!r}, expected a comma or a blank")
    return delimiter, units


@contextmanager
def text_table(store: Store, name: str, content: Content) -> Iterator["TextTable"]:
    """A text table; its stream is kept for the next rows unless reading failed."""
    table = TextTable(store, name, content)
    try:
        yield table
    except BaseException:
        table.lines.close()
        raise
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
        self._back_to(0)
        return sum(count for count, _ in self.lines.pieces(0, None))

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
