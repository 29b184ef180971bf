"""The lines of a text table: its head, then pieces of whole lines, forward through the file."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import yaml

from engine.errors import ShardCorrupt, ShardError
from engine.surveys.gaia.content import BOM, PIECE_BYTES, Content, Plain
from engine.surveys.store import Store

HEAD_LIMIT = 2**20
LINE_LIMIT = 16 * 2**20


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
        while b"\n" not in self._pending.lstrip(b"\r\n") and self._more():
            pass
        first = self._pending.lstrip(b"\r\n").partition(b"\n")[0].decode(errors="replace")
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
